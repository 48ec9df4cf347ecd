"""Sensors: whatever measures, as plug-ins of ``edge_sdk.sensors``."""
