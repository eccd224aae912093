"""Pickle files that hold nothing but lists, dicts, text and numbers.

A pickle is a program: reading one of unknown origin the ordinary way can run anything. This reader refuses
every pickle that names a function or class, before it is looked up.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from bridge_stg.errors import DataError, unreadable


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, reference: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to things outside of itself")


def read_plain_pickle(path: Path) -> Any:
    """The value in a pickle of plain data, also one written by Python 2.

    Raises:
        DataError: it holds anything else, is cut off, or is not a pickle.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise unreadable(path, problem) from problem

    try:
        try:
            return _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()
        except UnicodeDecodeError:
            # Python 2 wrote bytes for text without saying which; what is not UTF-8 was Latin-1.
            return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as problem:
        raise DataError(
            f"{path}: not a pickle of plain lists and dicts ({problem}); it was not run, download it again"
        ) from problem
    except (EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, MemoryError) as problem:
        raise DataError(f"{path}: cut off or not a pickle; download it again") from problem
