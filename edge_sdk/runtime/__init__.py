"""Runtime: the pure pipeline and the async shell around it."""
