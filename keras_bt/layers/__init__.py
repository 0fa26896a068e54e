"""Keras layers: views and synchronized batch normalization."""
