"""Encoders to train, the projector, and the import of PyTorch weights."""
