"""Station: the program on the board with the sensors."""
