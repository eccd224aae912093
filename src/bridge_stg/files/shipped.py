"""The checkpoints that are part of this package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SHIPPED = ("shapes", "shapes-direct")


def shipped_folder(name: str) -> Path:
    """Where the checkpoint of that name lies that comes with the package."""
    return Path(str(resources.files("bridge_stg"))) / "checkpoints" / name


def unless_shipped(name: str | Path) -> str:
    """The folder of a shipped checkpoint, or ``name`` as it is."""
    return str(shipped_folder(str(name))) if str(name) in SHIPPED else str(name)
