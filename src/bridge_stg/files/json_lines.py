"""Files with one JSON object a line, read with the number of each line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from bridge_stg.errors import DataError, unreadable, unwritable
from bridge_stg.files.output_files import write_whole

# How files that a program has packed begin; the name says how to unpack them.
_PACKED = {
    b"\x1f\x8b": "gunzip",
    b"PK\x03\x04": "unzip",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"\xfd7zXZ\x00": "unxz",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What PowerShell writes for ">", in either order of bytes.
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """(line number, text) of each line that is not blank.

    Raises:
        DataError: the file cannot be read, is compressed, or is UTF-16.
    """
    path = Path(path)
    try:
        handle = path.open("rb")
    except OSError as problem:
        raise DataError(
            f"{path}: cannot be read ({problem.strerror}); give the path of a .jsonl file"
        ) from problem

    with handle:
        for number, text in enumerate(handle, start=1):
            if number == 1:
                refuse_packed(path, text)
                if text.startswith(_UTF_16):
                    raise DataError(f"{path}: is text in UTF-16; save it as UTF-8")
                # Some editors begin a file with a mark that says it is UTF-8.
                text = text.removeprefix(_BYTE_ORDER_MARK)
            if text.strip():
                yield number, text


def refuse_packed(path: Path, content: bytes) -> None:
    """Raise DataError when a file, by how its content begins, was packed by a program; the line names it."""
    for opening, tool in _PACKED.items():
        if content.startswith(opening):
            raise DataError(f"{path}: is compressed; unpack it first, with {tool}")


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line; a malformed line is a DataError that names it."""
    for number, text in read_lines(path):
        try:
            yield number, parse_object(text)
        except ValueError as problem:
            raise DataError(f"{path}:{number}: {problem}") from problem


def parse_object(text: bytes) -> dict[str, Any]:
    """The JSON object of one line; ValueError saying what it is instead."""
    try:
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        reason = str(problem)
        if isinstance(problem, json.JSONDecodeError):
            # Its own text says "line 1", which beside the number of the line would mislead.
            reason = f"{problem.msg} (column {problem.colno})"
        raise ValueError(f"not one JSON object (cut off, or on several lines?): {reason}") from problem

    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def to_line(value: dict[str, Any]) -> str:
    """An object as one line, with its line end."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def begin_lines(path: Path, lines: Iterable[str]) -> TextIO:
    """A file that holds ``lines``, open for more: they replace what was there whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(lines))
        return path.open("a", encoding="utf-8")
    except OSError as problem:
        raise unwritable(path, problem) from problem


def read_whole_lines(path: Path) -> tuple[list[bytes], bytes]:
    """The lines of a file that a kill may have cut, with their ends, and the beginning of a last one.

    A last line that only lacks its end is whole. A file that is not there has no lines.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], b""
    except OSError as problem:
        raise unreadable(path, problem) from problem

    if tail:
        try:
            parse_object(tail)
        except ValueError:
            pass
        else:
            lines, tail = [*lines, tail], b""
    return [line + b"\n" for line in lines if line.strip()], tail
