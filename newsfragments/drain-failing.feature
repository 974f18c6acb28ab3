A device whose disk fails its writes could not be drained; now its files are copied
elsewhere and its rows go, while the bytes stay. ``koboldfs status`` told how many copies
a draining device has left.
