"""Encoders to train, the projector, and weights from PyTorch."""
