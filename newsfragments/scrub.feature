The scrub: every 30 days (``kobold_scrub_days``) each device's copies were read again and
compared with their checksums; bad copies went into a quarantine and were replaced from
good ones, which were read back, and files that no row knows were put aside. ``koboldfs
scrub status``, ``start`` and ``lost`` (and the tracker commands ``scrub_status``,
``scrub_start``, ``scrub_lost``) tell of it.
