"""What commands do before the slow part: look where they will write, and keep the libraries quiet."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bridge_stg.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress


# What a method loads when no checkpoint is named; the constant answers load none.
_STOCK = "Qwen/Qwen3-VL-4B-Instruct"
DEFAULT_CHECKPOINTS = {"bridge-stg": "shapes", "qwen3-vl": _STOCK, "compose": _STOCK}
CHECKPOINT_HELP = (
    "A checkpoint's folder or a hub id; default: 'shapes' (shipped), "
    f"with --method qwen3-vl or compose {_STOCK}."
)
CAREFUL_HELP = "Look several times and take what half of them agree on; slower."
DETECTOR_HELP = "Of compose: a folder or hub id of an MM-Grounding-DINO."

# Whether this process runs one command and ends, as ``bridge-stg`` does: what it leaves out nobody else misses.
one_command_process = False


def check_writable(folder: Path, cure: str = "give another --out") -> None:
    """See that files can be written into ``folder``, which need not exist yet. Nothing is left behind.

    Raises:
        InputError: it cannot be made or written to.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        # Asking the permissions is not enough: they do not know of read-only or full file systems.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as problem:
        raise InputError(f"{folder}: cannot write here ({problem.strerror}); {cure}") from problem


def check_box_fps(box_fps: float | None) -> None:
    """Raise InputError when nothing can be sampled at the rate of ``--box-fps``; None is the model's own."""
    # Here only: it loads what reads videos, which the help of a command does not need.
    from bridge_stg.video.sampling import MAX_FPS

    if box_fps is not None and not 0 < box_fps <= MAX_FPS:
        raise InputError(f"--box-fps must be a positive number up to {MAX_FPS:.0f}, got {box_fps}")


def quiet_threads() -> None:
    """Let idle threads sleep instead of spin, so that two processes on the same cores do not fight.

    Works until torch is loaded; what the caller's environment says stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def without_optional_imports() -> Iterator[None]:
    """Inside, transformers does not find SciPy and accelerate, which it imports wherever they are installed.

    One model on one device uses neither (SciPy is for the losses of detectors), and they take a tenth of the
    time of a short command. Only in a process of its own: transformers remembers what it did not find.
    """
    unwanted = ("scipy", "accelerate")
    hidden = [name for name in unwanted if one_command_process and name not in sys.modules]
    # The import system takes None for: there is no such package.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def quiet_libraries(checkpoint: str | None = None) -> bool:
    """No warnings of the libraries: what matters is said by this program.

    Their progress bars go too, unless ``checkpoint`` is a hub id: a download of gigabytes must be seen.

    Returns:
        True when the checkpoint comes from the hub.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    from transformers.utils.logging import disable_progress_bar

    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if checkpoint is not None:
        from bridge_stg.weights.locate import checkpoint_folder

        if not Path(checkpoint_folder(checkpoint)).is_dir():
            print(f"downloading {checkpoint} from the hub, unless its cache has it", file=sys.stderr)
            return True
    disable_progress_bar()
    return False


def progress_bar() -> Progress:
    """A bar on stderr for a person at a terminal; nothing in a pipe, where it would be a stray line."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
