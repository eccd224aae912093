"""The examples in docstrings say what the code does."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import bridge_stg

MODULES = [
    found.name
    for found in pkgutil.walk_packages(bridge_stg.__path__, "bridge_stg.")
    if not found.name.endswith("__main__")
]
# Needs a model and a video, and has a test of its own.
ELSEWHERE = "bridge_stg.model.processing.BridgeSTGProcessor"


def test_there_are_modules() -> None:
    assert len(MODULES) > 200


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    runner = doctest.DocTestRunner(verbose=False)
    for example in doctest.DocTestFinder().find(importlib.import_module(name)):
        if example.name != ELSEWHERE:
            runner.run(example)
    assert runner.failures == 0
