"""Demo: the main job, end to end, on real recordings."""
