"""The workshop's commands besides ``convert``: loaded when named, light until then."""
