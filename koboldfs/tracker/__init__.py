"""The front doors of a tracker: the MogileFS text protocol and the native one."""
