While many files were stored, each waited twice for the database's disk; now trackers
record uploads ahead of time, many at once, and a put costs PostgreSQL half as much. With
MogileFS's trackers on the same database nothing changed.
