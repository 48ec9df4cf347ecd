"""Monitor: the program at the centre."""
