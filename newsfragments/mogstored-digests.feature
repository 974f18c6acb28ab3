Checksums of files on nodes of MogileFS were computed by its storage daemon, beside the
disk, where that answers on port 7501. The setting ``skip_mkcol`` was honoured.
