"""The whole cluster in one process: seeded, under a clock, with faults."""
