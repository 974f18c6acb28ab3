"""Real processes, real databases, real clients, on this machine's loopback."""
