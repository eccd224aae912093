"""Where a checkpoint is found: a shipped name, a folder, or a hub id."""

from __future__ import annotations

from pathlib import Path

from bridge_stg.errors import CheckpointError
from bridge_stg.files.shipped import SHIPPED, check_place, shipped_folder

# The file that says what LoRA tuning learned and on which base.
ADAPTER_FILE = "adapter.json"
# In the folder of a run: the checkpoint that it finished with, and the best one by its validation.
FINISHED, BEST = "checkpoint", "best"


def checkpoint_folder(name: str | Path) -> str:
    """The folder of a shipped checkpoint or of a path, or the name itself when it is a hub id.

    A shipped name always means the shipped checkpoint; a folder that happens to be called so is ``./shapes``.

    Raises:
        CheckpointError: the shipped checkpoint is not installed, a path leads nowhere, or to something else
            that training writes.
    """
    name = str(name)
    if name in SHIPPED:
        folder = shipped_folder(name)
        if not folder.is_dir():
            raise CheckpointError(
                f"the shipped checkpoint {name!r} is not part of this installation; reinstall it"
            )
        return str(folder)

    path = Path(name).expanduser()
    if path.is_dir():
        check_whole_model(path, name)
        return str(path)
    check_place(name)
    return name


def check_whole_model(folder: Path, name: str) -> None:
    """Refuse what training writes beside whole checkpoints; ``name`` is what the message calls the folder.

    Raises:
        CheckpointError: the folder of a run, or one of what LoRA tuning learned.
    """
    if (inner := checkpoint_of_run(folder)) is not None:
        raise CheckpointError(f"{name}: is the folder of a run; give {inner}")
    if is_adapter_folder(folder):
        raise CheckpointError(
            f"{name}: holds what LoRA tuning learned, without its base; merge both first: "
            f"bridge-stg merge {folder} --out FOLDER"
        )


def finished_checkpoint(run: str | Path) -> Path:
    """Where a training run writes the checkpoint that it finishes with."""
    return Path(run) / FINISHED


def best_checkpoint(run: str | Path) -> Path:
    """Where a training run keeps the checkpoint that validation found best."""
    return Path(run) / BEST


def checkpoint_of_run(folder: str | Path) -> Path | None:
    """The checkpoint inside the folder of a training run; None if the folder is not one."""
    inner = finished_checkpoint(folder)
    return inner if (inner / "config.json").is_file() else None


def is_adapter_folder(folder: str | Path) -> bool:
    """Whether LoRA tuning wrote it (``save_adapters``)."""
    return (Path(folder) / ADAPTER_FILE).is_file()


def adapters_to_merge(run: str | Path) -> Path:
    """The folder of adapters that ``run`` means: itself, or the finished checkpoint of a training run.

    Raises:
        CheckpointError: it is a whole checkpoint, or holds nothing that LoRA tuning finished.
    """
    for folder in (Path(run), finished_checkpoint(run)):
        if is_adapter_folder(folder):
            return folder
        if (folder / "model.safetensors").is_file():
            raise CheckpointError(f"{run}: is a whole checkpoint already, there is nothing to merge")

    best = best_checkpoint(run)
    hint = f"; there is {best}" if is_adapter_folder(best) else ""
    raise CheckpointError(f"{run}: no finished checkpoint of LoRA tuning here{hint}")
