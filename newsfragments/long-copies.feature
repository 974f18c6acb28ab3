Copies of long files leave the system's memory to others once they are on the disk, and are made up to twice as fast.
