"""Smartwatch exercises: which one a person does, from an accelerometer and a gyroscope."""
