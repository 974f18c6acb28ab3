On a database that MogileFS made, jobs took the advisory locks that MogileFS's trackers
take, so that both could run at once.
