Fetching a small file by the native protocol takes about half the processor time that it
took: connections to storage nodes are kept, and replies leave at once. A node of ours
proves with the MD5 of a small upload that it has its bytes, in place of being asked.
