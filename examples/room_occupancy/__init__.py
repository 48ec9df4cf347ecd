"""Room occupancy from temperature, light, sound, CO2 and motion."""
