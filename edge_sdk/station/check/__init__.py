"""``station check``: everything short of starting, each finding with its remedy."""
