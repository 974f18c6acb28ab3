``koboldfs status`` told what the scrub found on each device, how many files have no good
copy now, and which quarantine is full; why a node does not trust a disk, and which one is
slow; and it fits on one screen with three nodes. Metrics got counts of lost devices, lost
files and quarantines.
