"""The parent, its children, and what they say to each other."""
