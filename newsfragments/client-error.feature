``koboldfs.ClientError`` could be imported beside ``koboldfs.Client``, to catch what that
raises.
