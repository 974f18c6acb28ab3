"""Mutated inputs for everything that parses bytes from outside; see doc/testing."""
