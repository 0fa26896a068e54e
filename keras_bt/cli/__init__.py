"""The command line `keras-bt`: one file per command."""
