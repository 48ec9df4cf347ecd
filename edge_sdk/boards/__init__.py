"""Boards: what this machine is and has."""
