"""Remote: commands over MQTT, each with an id, an expiry and an answer; off unless the configuration allows them."""
