"""Our own disks and their doors to the street: HTTP and the side channel."""
