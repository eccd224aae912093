"""Folders that a run of the tests makes once, however many processes share its tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of this run, made by the process that asks for it first; tests must not change it.

    ``make`` gets the path of a folder that does not exist yet; what it leaves unfinished is never used.
    """
    base = factory.getbasetemp()
    # A worker of xdist has a folder of its own below that of the run.
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = run / f"shared-{name}"
    with FileLock(run / f"shared-{name}.lock"):
        if not folder.exists():
            unfinished = run / f"shared-{name}-{os.getpid()}"
            make(unfinished)
            unfinished.rename(folder)
    return folder
