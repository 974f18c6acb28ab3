A host or device that is away for longer than ``kobold_lost_after_seconds`` (an hour; off on
a database of MogileFS) is treated as lost: its files are copied elsewhere, nothing is
forgotten, and what is too much goes when it is back. Never when half of the cluster is away.
