"""The workshop: trained models become bundles. Never needed on a device."""
