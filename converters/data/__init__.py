"""Data in files that need a library of their own: each in the file that is named after it."""
