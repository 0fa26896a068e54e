"""Makes the scripts of docs/ and the modules of this folder importable."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parents[1] / "docs")]
