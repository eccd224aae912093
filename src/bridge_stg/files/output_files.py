"""Files that commands write: whole or not at all, and never over what the same command reads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge_stg.errors import InputError, unwritable


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
        with whole_file(path) as unfinished:
            unfinished.write_bytes(data)
    except OSError as problem:
        raise unwritable(path, problem) from problem


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when the block ends without an error; else nothing is left.

    A link stays one, and what it leads to is replaced.
    """
    target = path.resolve()
    unfinished = _beside(target)
    try:
        yield unfinished
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path, replaces: Collection[str] = ()) -> Iterator[Path]:
    """A folder to write into, which becomes ``out`` when the block ends without an error; else nothing is left.

    Args:
        out: not there yet, or an empty folder, or one that holds nothing but files named in ``replaces``.

    Raises:
        InputError: something else lies there, or it cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give --out a new folder")
    if out.is_dir() and not {path.name for path in out.iterdir()} <= set(replaces):
        raise InputError(f"{out}: exists and is not an empty folder; give a new one")

    unfinished = _beside(out)
    try:
        unfinished.mkdir(parents=True)
    except OSError as problem:
        raise unwritable(out, problem, "give a folder you can write to") from problem
    try:
        yield unfinished
        shutil.rmtree(out, ignore_errors=True)
        os.replace(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _beside(target: Path) -> Path:
    # The number of the process, so that two that write the same place do not mix their bytes.
    return target.with_name(f".{target.name}.{os.getpid()}.partial")
