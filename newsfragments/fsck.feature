Trackers check files: ``fsck_start`` and its kin, with MogileFS's codes, log and settings,
also for one domain, class or beginning of keys, and with KoboldFS's own checksums.
