"""The settings of a run: recipes by name and by rules."""
