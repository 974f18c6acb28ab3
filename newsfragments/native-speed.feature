The native protocol takes about half the processor time for a small file: connections to
storage nodes are kept, replies leave at once, and a node of ours proves with the MD5 of a
small upload that it has its bytes, in place of being asked afterwards.
