"""Commands to stations: given on the page, written down with their answers."""
