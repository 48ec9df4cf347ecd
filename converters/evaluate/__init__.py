"""Evaluation: every variant on the runtime that will serve it, beside the float source."""
