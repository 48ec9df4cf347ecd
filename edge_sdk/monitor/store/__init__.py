"""The monitor's store: every result once, and what is known of every station."""
