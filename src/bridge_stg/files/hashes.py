"""Which file is this? The hash that records of runs hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bridge_stg.errors import InputError


def file_hash(*files: Path) -> str:
    """SHA-256 over the bytes of files in a row.

    Raises:
        InputError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as handle:
                while block := handle.read(1 << 20):
                    digest.update(block)
        except OSError as problem:
            raise InputError(
                f"{path}: cannot be read ({problem.strerror}); give the path of a file"
            ) from problem
    return digest.hexdigest()
