"""What commands do before the slow part: check where they will write, and keep libraries from fighting or
talking."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bridge_stg.errors import InputError


def check_writable(folder: Path) -> None:
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
        raise InputError(f"{folder}: cannot write here ({problem.strerror}); give another --out") from problem


def quiet_threads() -> None:
    """Let idle threads sleep instead of spin, so that two processes on the same cores do not fight.

    Works until torch is loaded; what the caller's environment says stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def quiet_libraries() -> None:
    """No warnings and no progress bars of the libraries: what matters is said by this program."""
    import logging

    from transformers.utils.logging import disable_progress_bar

    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    disable_progress_bar()
