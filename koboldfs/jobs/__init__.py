"""Background work: each job is a Worker that does small idempotent units."""
