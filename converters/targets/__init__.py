"""Targets: what runtimes, delegates and boards can take of a model."""
