"""The prediction sets of a report: what was named on the command line, and what lies beside each file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge_stg.errors import InputError


@dataclass(frozen=True)
class RunFiles:
    """One run: its name in tables, its predictions, and those it made inside the true windows (Table 14)."""

    name: str
    predictions: Path
    oracle: Path | None = None


@dataclass(frozen=True)
class MadeBy:
    """What ``predict`` wrote of a run beside its predictions; hashes are cut for reading."""

    checkpoint: str
    truth: str
    settings: tuple[tuple[str, str], ...]


def parse_runs(words: Sequence[str], oracle_words: Sequence[str]) -> list[RunFiles]:
    """RUN arguments, each ``predictions.jsonl`` or ``NAME=predictions.jsonl``, and their oracle runs.

    Raises:
        InputError: two runs of one name, or an oracle run of a name that no run has.
    """
    runs = [_named(word) for word in words]
    names = [name for name, _ in runs]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two runs are called {repeated[0]!r}; name them: first=A.jsonl second=B.jsonl")
    oracles: dict[str, Path] = {}
    for word in oracle_words:
        name, path = _named(word)
        # With a single run there is no doubt whose oracle it is.
        name = names[0] if "=" not in word and len(names) == 1 else name
        if name not in names:
            raise InputError(f"--oracle {word}: no run is called {name!r}; runs are {', '.join(names)}")
        if name in oracles:
            raise InputError(f"--oracle {word}: the run {name!r} has an oracle run already; give one")
        oracles[name] = path
    return [RunFiles(name, path, oracles.get(name)) for name, path in runs]


def _named(word: str) -> tuple[str, Path]:
    name, sign, rest = word.partition("=")
    if not sign or Path(word).exists():
        return Path(word).stem, Path(word)
    if not name or not rest:
        raise InputError(f"{word!r}: give a predictions.jsonl, or NAME=predictions.jsonl")
    return name, Path(rest)


def read_made_by(predictions: Path) -> MadeBy | None:
    """The run record that lies beside ``predictions``; None if there is none.

    Raises:
        InputError: it is there but cannot be read.
    """
    values = _read_beside(predictions, ".run.json")
    if values is None:
        return None
    settings = {name: value for name, value in values.items() if name not in ("checkpoint", "truth")}
    return MadeBy(
        str(values.get("checkpoint", "?")),
        str(values.get("truth", "?")),
        tuple((name.replace("_", " "), _said(value)) for name, value in settings.items()),
    )


def _read_beside(predictions: Path, suffix: str) -> dict[str, object] | None:
    path = predictions.with_name(predictions.name + suffix)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be read ({problem}); remove it or write it again") from problem
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object; remove it or write it again")
    return values


def _said(value: object) -> str:
    if value is None:
        return "default"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
