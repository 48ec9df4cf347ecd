"""City air: PM2.5 without a PM sensor, from a gas model and a weather model."""
