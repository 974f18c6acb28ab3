"""Tests without sockets and without waiting; the folders mirror koboldfs/."""
