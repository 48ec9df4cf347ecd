"""The status endpoint: what the station says of itself on 127.0.0.1, to a person, a program, or Prometheus."""
