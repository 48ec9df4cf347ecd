"""Config: strict structs, read by programs only."""
