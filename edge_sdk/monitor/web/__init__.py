"""The monitor's web page and REST API."""
