"""Support code without Barlow Twins: files, errors, settings, start-up, private API."""
