"""Real tasks, whole: from the data to quantized models in the station's own pipeline."""
