"""Checkpoints: put together from start weights, read from the published layout, and handed back in it."""
