"""The version of keras_bt; setup.py reads it from here."""

__version__ = "0.1.0"
