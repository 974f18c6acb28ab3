"""Real faults, longer than the suite has time for: see `test.torture.__main__`."""
