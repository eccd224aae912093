"""From a downloaded folder to a store: what was kept, what was left out and why, and both counted.

``OUT`` holds ``store.json`` and ``records/`` (see ``store.py``), ``skipped.jsonl`` (a line per item left out),
``notes.jsonl`` (one line per record that was changed or is odd), ``counts.json`` and, if asked for,
``truth.jsonl``. No file carries a date or a path of the machine: the same input gives the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from bridge_stg.curation.datasets.registry import SOURCES, Source
from bridge_stg.curation.published_counts import PUBLISHED, Published
from bridge_stg.curation.reading.folder import DataFolder
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt
from bridge_stg.curation.reading.request import Request
from bridge_stg.errors import DataError, InputError
from bridge_stg.records.store import StoreWriter

COUNTS_SCHEMA = "bridge-stg/counts/1"


@dataclass
class Tally:
    """What became of the items of one split."""

    read: int = 0
    kept: int = 0
    noted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    by_design: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    counted_kept: Counter[str] = field(default_factory=Counter)
    videos: set[str] = field(default_factory=set)
    videos_kept: set[str] = field(default_factory=set)

    @property
    def share_skipped(self) -> float:
        """Of the items that the data set means for this use."""
        meant = self.read - self.by_design.total()
        return self.skipped.total() / meant if meant else 0.0

    def add(self, outcome: Outcome) -> None:
        self.read += 1
        self.counted.update(outcome.counted)
        self.videos.add(outcome.video)
        if outcome.unusable is not None:
            kind = self.by_design if outcome.unusable.by_design else self.skipped
            kind[outcome.unusable.reason] += 1
            return
        self.kept += 1
        self.noted += bool(outcome.notes)
        self.counted_kept.update(outcome.counted)
        self.videos_kept.add(outcome.video)

    def to_json(self, published: tuple[Published, ...]) -> dict[str, Any]:
        found = {**self.counted, "videos": len(self.videos)}
        kept = {**self.counted_kept, "videos": len(self.videos_kept)}
        known = {entry.what: entry for entry in published}
        names = sorted(set(found) | set(known))
        return {
            "read": self.read,
            "kept": self.kept,
            "skipped": self.skipped.total(),
            "left_out_by_design": self.by_design.total(),
            "with_notes": self.noted,
            "reasons": dict(sorted((self.skipped + self.by_design).items())),
            "counts": [
                _compare(name, found.get(name, 0), kept.get(name, 0), known.get(name)) for name in names
            ],
        }


@dataclass(frozen=True)
class BuildReport:
    """What ``build`` did: the tally of each split, and where the store is."""

    out: Path
    splits: dict[str, Tally]


def build(
    name: str,
    root: Path,
    out: Path,
    split: str | None = None,
    max_skipped: float = 0.05,
    annotations_only: bool = False,
    frame_rate: float | None = None,
    one_based_boxes: bool = False,
    truth: bool = False,
    annotation_format: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> BuildReport:
    """Read data set ``name`` from ``root`` and write it to ``out``, which appears when everything is in it.

    Args:
        name: of ``SOURCES``.
        root: the folder as downloaded; never written to.
        out: a folder that does not exist, is empty, or holds what a failed build left there.
        split: one of the data set's; None is all of them.
        max_skipped: the largest share of items that may be left out for being unusable.
        annotations_only: do not look for videos and pictures.
        frame_rate, one_based_boxes, annotation_format, progress: see :class:`Request`.
        truth: write ``truth.jsonl`` too.

    Raises:
        DataError: the folder is not the data set, a file of it is cut off, or too much of it is unusable: then
            ``out`` holds ``skipped.jsonl`` and ``counts.json``, and no store.
        InputError: an option that does not fit, or ``out`` cannot be used.
    """
    source = _source(name, split, annotations_only, frame_rate, one_based_boxes)
    if annotation_format is not None and annotation_format not in source.formats:
        known = ", ".join(source.formats) or f"leave it out, {name} has one of its own"
        raise InputError(f"no format {annotation_format!r} of {name}; there are: {known}")
    if not 0 <= max_skipped <= 1:
        raise InputError(f"--max-skipped must be a share from 0 to 1, got {max_skipped}")
    folder = DataFolder(root)
    request = Request(folder, "", not annotations_only, frame_rate, one_based_boxes, annotation_format)
    if progress is not None:
        request = replace(request, progress=progress)
    if source.formats and out.resolve().is_relative_to(root.resolve()):
        # The next build would take the lists of this one for annotations.
        raise InputError(
            f"{out}: is inside {root}, where annotations are read; give a folder outside with --out"
        )
    unfinished = _unfinished(out, root)
    try:
        splits = (split,) if split else source.splits
        tallies = {one: Tally() for one in splits}
        try:
            _write(source, request, unfinished, os.path.relpath(root, out), tallies, truth)
        except DataError as problem:
            if len(splits) == 1:
                raise
            raise DataError(f"{problem}; to build one split alone give --split {'|'.join(splits)}") from problem
        too_much = _too_much(tallies, max_skipped, out)
        _write_counts(unfinished, name, tallies, "failed" if too_much else "complete")
        if too_much:
            shutil.rmtree(unfinished / "records")
            (unfinished / "store.json").unlink()
            (unfinished / "truth.jsonl").unlink(missing_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        os.replace(unfinished, out)
        if too_much:
            raise DataError(too_much)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return BuildReport(out, tallies)


def _source(
    name: str, split: str | None, annotations_only: bool, frame_rate: float | None, one_based: bool
) -> Source:
    if name not in SOURCES:
        raise InputError(f"no data set {name!r}; there are: {', '.join(SOURCES)}")
    source = SOURCES[name]
    if split is not None and split not in source.splits:
        hidden = source.without_truth.get(split)
        why = f": {hidden}" if hidden else ""
        raise InputError(f"{name} has no split {split!r} to build{why}; there are: {', '.join(source.splits)}")
    if annotations_only and source.needs_videos:
        raise InputError(f"{name} does not say {source.needs_videos}; build it with its videos in place")
    if frame_rate is not None and not source.takes_frame_rate:
        raise InputError(f"{name} has a frame rate of its own; leave --fps out")
    if frame_rate is not None and not 0 < frame_rate < 1000:
        raise InputError(f"--fps must be a positive number of frames per second, got {frame_rate}")
    if one_based and not source.takes_one_based_boxes:
        raise InputError(f"the pixels of {name} count from 0; leave --one-based-boxes out")
    return source


def _unfinished(out: Path, root: Path) -> Path:
    """A new folder beside ``out``, after a look at whether ``out`` may be used."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a new folder with --out")
    if out.is_dir():
        names = {path.name for path in out.iterdir()}
        if names and not names <= {"skipped.jsonl", "notes.jsonl", "counts.json"}:
            raise InputError(f"{out}: exists and is not empty; give a new folder with --out")
    if out.resolve() == root.resolve():
        raise InputError(f"{out}: is the folder of the download; give another one with --out")
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        unfinished.mkdir(parents=True)
    except OSError as problem:
        raise InputError(f"{out}: cannot be written ({problem.strerror}); give another --out") from problem
    return unfinished


def _write(
    source: Source, request: Request, folder: Path, root: str, tallies: dict[str, Tally], truth: bool
) -> None:
    def lines(name: str) -> TextIO:
        return (folder / name).open("w", encoding="utf-8", newline="\n")

    done = 0
    with (
        lines("skipped.jsonl") as skipped,
        lines("notes.jsonl") as notes,
        lines("truth.jsonl") as questions,
        StoreWriter(folder, Path(root).as_posix()) as store,
    ):
        for split, tally in tallies.items():
            for outcome in _unique(source.read(replace(request, split=split))):
                tally.add(outcome)
                about = {"id": outcome.id, "where": outcome.where}
                if outcome.unusable is not None:
                    problem = outcome.unusable
                    detail = {
                        "reason": problem.reason,
                        "detail": problem.detail,
                        "by_design": problem.by_design,
                    }
                    _line(skipped, about | detail)
                if outcome.notes:
                    _line(notes, about | {"notes": list(outcome.notes)})
                if outcome.record is not None:
                    store.add(outcome.record)
                    if truth:
                        video = Path(os.path.normpath(Path(root) / outcome.record.video)).as_posix()
                        _line(questions, replace(outcome.record, video=video).to_json())
                done += 1
                if done % 1000 == 0:
                    request.progress(f"reading {split}", done, 0)
    if not truth:
        (folder / "truth.jsonl").unlink()


def _unique(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """An id that comes back is left out: two questions of one name could not be told apart later."""
    seen: set[str] = set()

    def refuse(notes: list[str]) -> Any:
        raise Unusable("the same id twice")

    for outcome in outcomes:
        if outcome.id in seen:
            outcome = attempt(outcome.id, outcome.where, outcome.video, outcome.counted, refuse)
        seen.add(outcome.id)
        yield outcome


def _line(handle: TextIO, value: dict[str, Any]) -> None:
    handle.write(json.dumps(value, separators=(",", ":")) + "\n")


def _too_much(tallies: dict[str, Tally], max_skipped: float, out: Path) -> str | None:
    """The error line of a build that lost too much."""
    for split, tally in tallies.items():
        lost = tally.skipped.total()
        if tally.kept and tally.share_skipped <= max_skipped:
            continue
        if not lost:
            left = f"all {tally.read} items were left out by design" if tally.read else "there are no items"
            return f"{split}: nothing to build, {left}; is it the right folder?"
        reason, count = tally.skipped.most_common(1)[0]
        limit = f", more than --max-skipped {max_skipped:g} allows" if tally.kept else ""
        return (
            f"{split}: {lost} of {tally.read} items ({100 * tally.share_skipped:.1f}%) cannot be used"
            f"{limit}; most often ({count}): {reason}. Every one is in "
            f"{out / 'skipped.jsonl'}; no store was written"
        )
    return None


def _write_counts(folder: Path, name: str, tallies: dict[str, Tally], status: str) -> None:
    about = {
        "schema": COUNTS_SCHEMA,
        "source": name,
        "status": status,
        "splits": {split: tally.to_json(PUBLISHED.get((name, split), ())) for split, tally in tallies.items()},
    }
    (folder / "counts.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _compare(what: str, read: int, kept: int, published: Published | None) -> dict[str, Any]:
    """One line of the table of counts, with its difference in words."""
    words = []
    if published is not None and read != published.number:
        gap = read - published.number
        words.append(f"the files hold {abs(gap)} {'more' if gap > 0 else 'fewer'} than published")
        if published.remark:
            words.append(published.remark)
        elif published.certain:
            words.append("half a download or another release")
        else:
            words.append("the published number was never counted in the files")
    if kept < read:
        words.append(f"{read - kept} left out, see reasons and skipped.jsonl")
    return {
        "what": what,
        "published": published.number if published else None,
        "certain": published.certain if published else None,
        "read": read,
        "difference": read - published.number if published else None,
        "kept": kept,
        "explanation": "; ".join(words),
    }
