Trackers check files: ``fsck_start`` and its kin, with MogileFS's codes, log and settings,
also for one domain, class or beginning of keys, and with KoboldFS's own checksums; some
thousand files a second. ``koboldfs fsck wait`` waits for the end and shows what was found.
