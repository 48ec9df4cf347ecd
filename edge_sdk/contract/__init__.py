"""Floor 1: frozen values that cross a border: between rooms, to disk, onto the wire."""
