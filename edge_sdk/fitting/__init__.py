"""Fitting: on a workstation, from what models said on known data to a fusion file, and how well it does."""
