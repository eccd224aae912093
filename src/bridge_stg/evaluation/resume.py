"""Resuming predictions: which answers exist already, and whether this run may add to them.

One process writes one file. Several write a folder, one file a rank, and nothing is joined afterwards: whoever
reads predictions reads a file or a folder. Beside it lies ``<out>.run.json``, which says how the answers were
made: answers of two checkpoints, truths or settings in one place would be a score of nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import bridge_stg
from bridge_stg.errors import CheckpointError, DataError, InputError
from bridge_stg.evaluation.methods import PredictionSettings
from bridge_stg.evaluation.run_cost import cost_path
from bridge_stg.files.hashes import file_hash
from bridge_stg.files.json_lines import read_whole_lines
from bridge_stg.files.output_files import write_whole
from bridge_stg.records.prediction import parse_prediction
from bridge_stg.types import Task
from bridge_stg.weights.locate import checkpoint_folder

# How every line of ``PredictionRecord.to_json`` begins; a last line cut off in writing begins so too.
_OPENING = b'{"id":"'
_RANK_FILES = "rank-*.jsonl"


@dataclass(frozen=True)
class RunRecord:
    """What decides the answers of a run.

    ``checkpoint`` (None for a constant), ``truth`` and ``train_truth`` (what a constant was fitted to) are
    hashes, and so is a ``detector``; a hub id is its name. Fields with a default came later: a file without
    them has the default.
    """

    checkpoint: str | None
    truth: str
    task: Task
    method: str
    train_truth: str | None
    box_fps: float | None
    oracle_window: bool
    version: str
    answer: str | None = None
    careful: bool = False
    subtitles: bool = False
    detector: str | None = None


@dataclass(frozen=True)
class Kept:
    """What lies at a place for predictions.

    ``files`` maps each file to its whole lines by id, ``failed`` are the ids without an answer, ``cut`` the
    files that end in the middle of a line.
    """

    files: dict[Path, dict[str, bytes]] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    cut: frozenset[Path] = frozenset()

    @property
    def ids(self) -> list[str]:
        """Every id that has a line."""
        return [name for lines in self.files.values() for name in lines]

    @property
    def answered(self) -> frozenset[str]:
        """The ids that have an answer; the others are asked again."""
        return frozenset(self.ids) - self.failed


def run_record(settings: PredictionSettings, truth: Path, task: Task) -> RunRecord:
    """The record of a run about to be made.

    Raises:
        CheckpointError: no such checkpoint, or its folder holds no weights.
        InputError: a truth that cannot be read.
    """
    checkpoint, train_truth = settings.checkpoint, settings.train_truth
    return RunRecord(
        method=settings.method,
        checkpoint=None if checkpoint is None else _hash_of_weights(checkpoint),
        truth=file_hash(truth),
        train_truth=None if train_truth is None else file_hash(train_truth),
        task=task,
        box_fps=settings.box_fps,
        oracle_window=settings.oracle_window,
        version=bridge_stg.__version__,
        answer=settings.answer,
        careful=settings.careful,
        subtitles=settings.subtitles,
        detector=None if settings.detector is None else _hash_of_weights(settings.detector),
    )


def record_path(out: Path) -> Path:
    """Where the record of ``out`` lies."""
    return out.with_name(out.name + ".run.json")


def rank_file(out: Path, rank: int, processes: int) -> Path:
    """Where a process writes: the file itself if it is alone and there is no folder of that name."""
    alone = processes == 1 and not out.is_dir()
    return out if alone else out / f"rank-{rank:05d}.jsonl"


def read_kept(out: Path) -> Kept:
    """What a predictions file, or a folder of such files, holds; changes nothing.

    A last line without its end is left out if it is the beginning of one of ours; whole lines must all be
    predictions.

    Raises:
        InputError: something else lies there, or an id is there twice.
    """
    files: dict[Path, dict[str, bytes]] = {}
    known: set[str] = set()
    failed, cut = set(), set()
    for path in _files_at(out):
        lines: dict[str, bytes] = {}
        for number, line, tail in _numbered(path):
            if tail:
                cut.add(path)
                continue

            try:
                record = parse_prediction(line)
            except DataError as problem:
                raise InputError(
                    f"{path}: is not a predictions file (line {number}: {problem}); give another --out"
                ) from problem

            if record.id in known:
                raise InputError(
                    f"{path}: is not a predictions file (line {number}: {record.id!r} is there twice)"
                )
            known.add(record.id)
            lines[record.id] = line
            if record.status == "failed":
                failed.add(record.id)

        files[path] = lines
    return Kept(files, frozenset(failed), frozenset(cut))


def _files_at(out: Path) -> list[Path]:
    """The files of predictions at a place, which may be empty."""
    if not out.is_dir():
        return [out] if out.exists() else []
    found = sorted(out.glob(_RANK_FILES))
    if strangers := sorted(set(out.glob("*.jsonl")) - set(found)):
        raise InputError(f"{out}: is a folder that holds {strangers[0].name}; give --out a new folder or file")
    return found


def _numbered(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(line number, line, whether it is the beginning of a line that was cut) of one file."""
    try:
        lines, tail = read_whole_lines(path)
    except DataError as problem:
        raise InputError(f"{problem}; give another --out") from problem
    if tail and not (tail.startswith(_OPENING) or _OPENING.startswith(tail)):
        raise InputError(f"{path}: is not a predictions file; give another --out")
    yield from ((number, line, False) for number, line in enumerate(lines, start=1))
    if tail:
        yield len(lines) + 1, tail, True


def check_replaceable(out: Path) -> None:
    """Check that ``out`` holds predictions, whole or damaged, before a run replaces them.

    Raises:
        InputError: it is something else, such as the truth or a video.
    """
    files = _files_at(out)
    if record_path(out).exists():
        return
    for path in files:
        try:
            with path.open("rb") as handle:
                first = handle.readline()
            if first:
                parse_prediction(first)
        except OSError as problem:
            raise InputError(f"{path}: cannot be read ({problem.strerror}); give another --out") from problem
        except DataError as problem:
            raise InputError(f"{path}: is not a predictions file; give another --out") from problem


def check_same_run(out: Path, kept: Kept, run: RunRecord, asked: set[str]) -> None:
    """See that ``kept`` was made as ``run`` makes answers, to questions of the same truth.

    Raises:
        InputError: it was not, or nothing says how it was made.
    """
    if not kept.ids and not kept.cut:
        return
    cure = "give another --out, or begin anew with --restart"
    path = record_path(out)
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{out}: nothing says how it was made ({path.name} is missing); {cure}") from None
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path}: cannot be read ({problem}); {cure}") from problem

    known = before if isinstance(before, dict) else {}
    known = {one.name: one.default for one in fields(run)} | known
    if other := [name for name, value in asdict(run).items() if known[name] != value]:
        raise InputError(f"{out}: was made with another {', '.join(other)}; {cure}")
    if strangers := [name for name in kept.ids if name not in asked]:
        raise InputError(
            f"{out}: answers {strangers[0]!r}, which the truth does not ask ({len(strangers)} such); {cure}"
        )


def begin(out: Path, kept: Kept, run: RunRecord) -> None:
    """Make a place ready to be added to: its record, and no line but those that hold an answer.

    Raises:
        InputError: a file cannot be written.
    """
    write_whole(record_path(out), (json.dumps(asdict(run), indent=2) + "\n").encode())
    for path, lines in kept.files.items():
        answers = [line for name, line in lines.items() if name not in kept.failed]
        if len(answers) < len(lines) or path in kept.cut or not path.read_bytes().endswith(b"\n"):
            write_whole(path, b"".join(answers))


def remove(out: Path) -> None:
    """Remove the predictions at a place, and what they took."""
    for path in _files_at(out):
        path.unlink()
        cost_path(path).unlink(missing_ok=True)


def _hash_of_weights(checkpoint: str) -> str:
    folder = Path(checkpoint_folder(checkpoint))
    if not folder.is_dir():
        return checkpoint  # a hub id: what it leads to is known only after a download
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{checkpoint}: holds no model.safetensors; give a checkpoint's folder")
    # How sure it may be, and when it refuses, stand beside the weights.
    configuration = folder / "config.json"
    return file_hash(*files, *([configuration] if configuration.is_file() else []))
