"""The checkpoints that are part of this package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from bridge_stg.errors import CheckpointError, did_you_mean

SHIPPED = ("shapes",)
# What was shipped once, and what to give instead.
_FORMER = {
    "shapes-direct": "shapes holds both styles of answer now: give shapes with --answer direct (Python: "
    "answer='direct')"
}


def shipped_folder(name: str) -> Path:
    """Where the checkpoint of that name lies that comes with the package."""
    return Path(str(resources.files("bridge_stg"))) / "checkpoints" / name


def unless_shipped(name: str | Path) -> str:
    """The folder of a shipped checkpoint, or ``name`` as it is.

    Raises:
        CheckpointError: as :func:`check_place`, or a folder without a configuration.
    """
    if str(name) in SHIPPED:
        return str(shipped_folder(str(name)))
    check_place(str(name))
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise CheckpointError(f"{name}: not a checkpoint folder (no config.json); give a checkpoint's folder")
    return str(name)


def check_place(name: str) -> None:
    """Refuse what is no folder and cannot be a hub id, before a library asks the hub for it.

    Raises:
        CheckpointError: with the shipped names, and the one that may have been meant or takes its place.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return
    if path.exists():
        raise CheckpointError(f"{name}: is a file; give the checkpoint's folder")

    if name in _FORMER:
        raise CheckpointError(f"{name}: is not shipped any more; {_FORMER[name]}")

    # A hub id is "owner/name"; nothing else is asked for there, nor a missing folder beside existing ones.
    if len(path.parts) != 2 or path.is_absolute() or name.startswith((".", "~")) or path.parent.is_dir():
        raise CheckpointError(
            f"{name}: no such folder{did_you_mean(name, SHIPPED)}; give {', '.join(SHIPPED)}, "
            "a checkpoint's folder or a hub id owner/name"
        )
