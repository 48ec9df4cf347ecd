"""Commands that belong to no program: bundles, keys, this machine."""
