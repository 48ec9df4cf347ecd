"""Inference: from a window to a prediction, on whichever runtime the bundle and board name."""
