"""The parts of `fetch.py`: contenders, the scenarios that they meet in, what a run costs, and the table of it all."""

import sys
from pathlib import Path

# The nginx of the tests serves here, too.
sys.path.append(str(Path(__file__).parent.parent.parent / "tests"))
