"""Setting a station up: ``station init`` writes a configuration, ``station install`` makes it a service."""
