"""Patient-level differential privacy: sampling, clipping, noise, accounting."""
