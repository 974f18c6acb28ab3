"""One mixin for each port, run against each of its providers."""
