"""Quantizing: from a loaded model to one format at one precision."""
