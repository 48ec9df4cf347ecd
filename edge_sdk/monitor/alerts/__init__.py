"""Alerts: rules over the fleet, their state, and where they are sent."""
