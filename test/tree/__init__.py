"""The source tree polices itself: floors, sizes, bans, documentation."""
