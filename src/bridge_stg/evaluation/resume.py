"""Going on with a predictions file: what it holds already, and whether this run may add to it.

Beside ``predictions.jsonl`` lies ``predictions.jsonl.run.json``, which says how its answers were made. Answers
of two checkpoints, truths or settings in one file would be a score of nothing. Part files of several processes
that were stopped count as what the file holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import bridge_stg
from bridge_stg.errors import CheckpointError, DataError, InputError
from bridge_stg.evaluation.methods import MethodName
from bridge_stg.files.one_writer import parts_of
from bridge_stg.files.output_files import write_whole
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.types import Task
from bridge_stg.weights.locate import checkpoint_folder

# How every line of ``PredictionRecord.to_json`` begins; a last line cut off in writing begins so too.
_OPENING = b'{"id":"'


@dataclass(frozen=True)
class RunRecord:
    """What decides the answers of a run.

    ``checkpoint`` (None for a constant), ``truth`` and ``train_truth`` (what a constant was fitted to) are
    hashes; a hub id is its name.
    """

    checkpoint: str | None
    truth: str
    task: Task
    method: MethodName
    train_truth: str | None
    box_fps: float | None
    oracle_window: bool
    version: str


@dataclass(frozen=True)
class Kept:
    """The lines of a predictions file by id, as they stand, each with its line end.

    ``failed`` are the ids without an answer; ``clean`` is False when the file is not these lines in this order,
    because it ends in the middle of one or because some are in the part files ``parts``.
    """

    lines: dict[str, bytes]
    failed: frozenset[str] = frozenset()
    clean: bool = True
    parts: tuple[Path, ...] = ()

    @property
    def answered(self) -> dict[str, bytes]:
        """The lines that hold an answer; the others are asked again."""
        return {name: line for name, line in self.lines.items() if name not in self.failed}


def run_record(
    method: MethodName,
    checkpoint: str | None,
    truth: Path,
    train_truth: Path | None,
    task: Task,
    box_fps: float | None,
    oracle_window: bool,
) -> RunRecord:
    """The record of a run about to be made.

    Raises:
        CheckpointError: no such checkpoint, or its folder holds no weights.
        InputError: a truth that cannot be read.
    """
    return RunRecord(
        method=method,
        checkpoint=None if checkpoint is None else _hash_of_weights(checkpoint),
        truth=_hash([truth]),
        train_truth=None if train_truth is None else _hash([train_truth]),
        task=task,
        box_fps=box_fps,
        oracle_window=oracle_window,
        version=bridge_stg.__version__,
    )


def record_path(out: Path) -> Path:
    """Where the record of ``out`` lies."""
    return out.with_name(out.name + ".run.json")


def read_all(out: Path) -> Kept:
    """What a predictions file and the part files beside it hold; changes nothing.

    Raises:
        InputError: one of them is something else.
    """
    parts = parts_of(out)
    whole = read_kept(out)
    lines, failed = dict(whole.lines), set(whole.failed)
    for part in parts:
        found = read_kept(part)
        for name, line in found.lines.items():
            # A run can be stopped between writing the file and removing its parts; an answer is kept.
            if name not in lines or name in failed:
                lines[name] = line
                failed.discard(name)
                failed |= found.failed & {name}
    return Kept(lines, frozenset(failed), whole.clean and not parts, tuple(parts))


def read_kept(out: Path) -> Kept:
    """What one predictions file holds; changes nothing.

    A last line without its end is left out if it is the beginning of one of ours; whole lines must all be
    predictions.

    Raises:
        InputError: the file is something else, or holds an id twice.
    """
    if not out.exists():
        return Kept({})
    try:
        *whole, tail = out.read_bytes().split(b"\n")
    except OSError as problem:
        raise InputError(f"{out}: cannot be read ({problem.strerror}); give another --out") from problem
    if tail and _is_json(tail):
        whole.append(tail)  # only its line end is missing
    elif tail and not (tail.startswith(_OPENING) or _OPENING.startswith(tail)):
        raise InputError(f"{out}: is not a predictions file; give another --out")
    lines: dict[str, bytes] = {}
    failed = set()
    for number, line in enumerate(whole, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
            if not isinstance(value, dict):
                raise DataError(f"expected a JSON object, got {type(value).__name__}")
            record = PredictionRecord.from_json(value)
        except (ValueError, RecursionError) as problem:
            raise InputError(
                f"{out}: is not a predictions file (line {number}: {problem}); give another --out"
            ) from problem
        if record.id in lines:
            raise InputError(f"{out}: is not a predictions file (line {number}: {record.id!r} is there twice)")
        lines[record.id] = line + b"\n"
        if record.status == "failed":
            failed.add(record.id)
    return Kept(lines, frozenset(failed), clean=not tail)


def check_replaceable(out: Path) -> None:
    """See that what lies at ``out`` is a predictions file, whole or damaged, before it is begun anew.

    Raises:
        InputError: it is something else, such as the truth or a video.
    """
    if record_path(out).exists() or not out.exists():
        return
    try:
        with out.open("rb") as handle:
            first = handle.readline()
        if first:
            PredictionRecord.from_json(json.loads(first.decode("utf-8")))
    except OSError as problem:
        raise InputError(f"{out}: cannot be read ({problem.strerror}); give another --out") from problem
    except (ValueError, AttributeError, TypeError, RecursionError) as problem:
        raise InputError(f"{out}: is not a predictions file; give another --out") from problem


def check_same_run(out: Path, kept: Kept, run: RunRecord, ids: set[str]) -> None:
    """See that ``kept`` was made as ``run`` makes answers, to questions of the same truth.

    Raises:
        InputError: it was not, or nothing says how it was made.
    """
    if not kept.lines and kept.clean:
        return
    cure = "give another --out, or begin anew with --restart"
    path = record_path(out)
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{out}: nothing says how it was made ({path.name} is missing); {cure}") from None
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path}: cannot be read ({problem}); {cure}") from problem
    values = asdict(run)
    known = before if isinstance(before, dict) else {}
    if other := [name for name in values if name not in known or known[name] != values[name]]:
        raise InputError(f"{out}: was made with another {', '.join(other)}; {cure}")
    if strangers := [name for name in kept.lines if name not in ids]:
        raise InputError(
            f"{out}: answers {strangers[0]!r}, which the truth does not ask ({len(strangers)} such); {cure}"
        )


def begin(out: Path, kept: Kept, run: RunRecord) -> None:
    """Make ``out`` ready to be added to: its record, and no line but those that hold an answer.

    Raises:
        InputError: a file cannot be written.
    """
    write_whole(record_path(out), (json.dumps(asdict(run), indent=2) + "\n").encode())
    if kept.failed or not kept.clean or not kept.lines:
        write_whole(out, b"".join(kept.answered.values()))
    remove(kept.parts)


def put_in_order(out: Path, ids: Sequence[str]) -> Kept:
    """Join the finished file with its parts, in the order of ``ids``: the file of a run that was never stopped
    and had one process.
    """
    kept = read_all(out)
    place = {name: number for number, name in enumerate(ids)}
    names = sorted(kept.lines, key=lambda name: place[name])
    if kept.parts or names != list(kept.lines):
        write_whole(out, b"".join(kept.lines[name] for name in names))
    remove(kept.parts)
    return kept


def remove(paths: Sequence[Path]) -> None:
    """Remove files that may be gone already."""
    for path in paths:
        path.unlink(missing_ok=True)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def _hash_of_weights(checkpoint: str) -> str:
    folder = Path(checkpoint_folder(checkpoint))
    if not folder.is_dir():
        return checkpoint  # a hub id: what it leads to is known only after a download
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{checkpoint}: holds no model.safetensors; give a checkpoint's folder")
    return _hash(files)


def _hash(files: Sequence[Path]) -> str:
    """SHA-256 over the bytes of files in a row; InputError if one cannot be read."""
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
