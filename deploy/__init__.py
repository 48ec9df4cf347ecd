"""What brings Edge SDK onto a board: locks of what is installed there, and the proofs that it runs."""
