"""Merging: several models that look at the same window, and their fusion, become one model."""
