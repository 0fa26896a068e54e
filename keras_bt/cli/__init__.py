"""The command line `keras-bt`: one file a command."""
