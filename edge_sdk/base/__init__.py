"""Floor 0: errors, clock, ids, back-off, plug-ins, lifecycle. Knows nothing of the domain."""
