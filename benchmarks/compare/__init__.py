"""Against the libraries that a user would take instead."""
