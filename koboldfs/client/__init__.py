"""Other nodes, as a tracker sees them."""
