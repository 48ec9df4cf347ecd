"""Windowing: from readings to windows on a model's grid, in event time."""
