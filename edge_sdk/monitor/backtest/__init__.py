"""Back-test: a new bundle through the station's own pipeline code, over samples from the archive."""
