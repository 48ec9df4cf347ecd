"""Fusion: several predictions become one calibrated answer."""
