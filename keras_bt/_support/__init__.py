"""Helpers that know nothing of the field: files, errors, settings, private APIs."""
