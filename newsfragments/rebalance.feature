Trackers move files between devices: ``rebalance_start`` and its kin, with MogileFS's
policies and states. A device in state ``drain`` is emptied, and copies beyond what a
policy wants are removed once the others were seen to be good.
