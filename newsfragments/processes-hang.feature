With ``--processes``, a child that hangs (nothing was heard of it for a minute) is killed and started anew.
