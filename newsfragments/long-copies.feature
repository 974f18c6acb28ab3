Copies of files of a GiB and more leave the system's memory to others once they are on the disk. Of 10 GiB they took half the
time.
