"""What all tests of the trainer share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

# The tiny folders in the hub's format that the tests of the model make.
sys.path.append(str(Path(__file__).parents[1] / "model"))


@pytest.fixture(autouse=True, scope="module")
def _fresh_precision() -> None:
    """accelerate keeps one precision for as long as a process lives; another file may have had another."""
    AcceleratorState._reset_state()


@pytest.fixture(autouse=True)
def _own_precision() -> Iterator[None]:
    """And so may other tests of a file."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()
