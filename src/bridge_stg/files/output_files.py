"""Files that commands write: whole or not at all, and never over what the same command reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bridge_stg.errors import InputError


def check_output(path: Path, inputs: Iterable[Path | None] = ()) -> None:
    """See that ``path`` may be written or replaced; changes nothing.

    Args:
        inputs: files that are read for it; None is none.

    Raises:
        InputError: it is a folder, a device or a pipe, or one of ``inputs``, under whatever name.
    """
    # os.path says False where a Path raises, such as for a name that is too long.
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder; give --out the name of a file")
    if not os.path.exists(path):
        return
    # Replacing /dev/null by a file would break the machine for everybody.
    if not os.path.isfile(path):
        raise InputError(f"{path}: is a device or a pipe; give --out the name of a file")
    for other in inputs:
        if other is not None and os.path.exists(other) and path.samefile(other):
            raise InputError(f"{path}: is read by this command; give another --out")


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file that appears whole or not at all; a link stays one, and what it leads to is written.

    Raises:
        InputError: it cannot be written; nothing is left behind.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        target = path.resolve()
        # The number of the process, so that two that write the same file do not mix their bytes.
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(data)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror}); give another --out") from problem
