"""In-memory providers of the ports, for tests of the floors above them."""
