"""MQTT: the bridge from the outbox to the broker, and subscribers."""
