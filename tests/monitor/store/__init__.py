"""The monitor's store."""
