"""City hall: the live picture, the name space, the administration, joining."""
