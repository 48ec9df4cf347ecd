"""Loading: from a model file of any kind to something that answers and can be written."""
