"""Outbox: accepted results, on disk until the monitor has them."""
