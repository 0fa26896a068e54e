"""`python -m keras_bt` is the command line `keras-bt`."""

import sys

from keras_bt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
