``twistd koboldfs`` raises its soft limit of open descriptors to the hard one, and its
native port takes 10,000 connections at once, as the others do.
