"""The tiny folders in the hub's format that the tests of the model make are for the trainer's tests too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "model"))
