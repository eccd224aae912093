"""The JSON file of a folder that says what the folder holds, or what is being made in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bridge_stg.errors import DataError, InputError
from bridge_stg.files.output_files import write_whole


def read_description(
    path: Path, schema: str, fields: Collection[str], missing: str, cure: str
) -> dict[str, Any]:
    """What ``path`` says of its folder.

    Args:
        schema: of the file; another one is refused.
        fields: what it must hold.
        missing: how to come by such a folder, for a message.
        cure: what to do about a damaged one, for a message.

    Raises:
        DataError: it is not there, cut off, or something else.
    """
    try:
        about = json.loads(path.read_bytes())
    except OSError as problem:
        raise DataError(
            f"{path.parent}: no {path.name} that can be read ({problem.strerror}); {missing}"
        ) from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: cut off, or another file; {cure}") from problem

    if not isinstance(about, dict) or about.get("schema") != schema or not set(fields) <= set(about):
        raise DataError(f"{path}: is not a {schema}; {cure}")
    return about


def changed_plan(path: Path, plan: Mapping[str, Any]) -> list[str]:
    """What of ``plan`` differs from the one that lies at ``path``; writes it where none lies.

    A run that was killed goes on only with the plan that it began with: an empty list says that it may.

    Raises:
        InputError: what lies there cannot be read, or the plan cannot be written.
    """
    text = json.dumps(plan, indent=2) + "\n"
    try:
        before = json.loads(path.read_bytes())
    except FileNotFoundError:
        write_whole(path, text)
        return []
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path}: cannot be read ({problem}); give another --out") from problem

    known = before if isinstance(before, dict) else {}
    wanted = json.loads(text)
    return [name for name in wanted | known if name not in known or known[name] != wanted.get(name)]
