"""Several processes that are one installation: a parent that serves nobody, and
children that share its ports and the work."""
