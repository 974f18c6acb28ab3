``twistd koboldfs`` ran trackers and storage nodes that store, find, replicate and
delete files, on SQLite and PostgreSQL, for clients of MogileFS and for its own.
