"""What all tests of the trainer share: accelerate keeps one precision for as long as a process lives."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


def _forget_precision() -> None:
    # Tests that never load accelerate do not pay for it.
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state()


@pytest.fixture(autouse=True, scope="module")
def _fresh_precision() -> None:
    """Another file may have had another precision."""
    _forget_precision()


@pytest.fixture(autouse=True)
def _own_precision() -> Iterator[None]:
    """And so may other tests of a file."""
    _forget_precision()
    yield
    _forget_precision()
