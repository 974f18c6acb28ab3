A device whose disk fails its writes, flushes or reads is set ``readonly`` by a tracker, with
the reason in the log; one that is far slower than the others gets new files, and is read,
after all others.
