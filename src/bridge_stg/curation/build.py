"""From a downloaded folder to a store: what was kept, what was left out and why, and both counted.

``OUT`` holds ``store.json`` and ``records/`` (see ``records/store.py``), ``skipped.jsonl`` (a line per item
left out), ``notes.jsonl`` (a line per record that was changed or is odd), ``counts.json`` and, if asked for,
``truth.jsonl``. No file carries a date or a path of the machine: the same input gives the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from bridge_stg.curation.counts import Tally, write_counts
from bridge_stg.curation.datasets.registry import SOURCES, DatasetReader
from bridge_stg.curation.reading.folder import DataFolder
from bridge_stg.curation.reading.outcome import Outcome, Unusable
from bridge_stg.curation.reading.request import Request
from bridge_stg.errors import DataError, InputError
from bridge_stg.files.json_lines import to_line
from bridge_stg.files.output_files import new_folder
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import StoreWriter


@dataclass(frozen=True)
class BuildOptions:
    """How a data set is to be read.

    ``split`` is one of the data set's; None is all of them. ``max_skipped`` is the largest share of items that
    may be left out for being unusable. ``annotations_only`` does not look for videos and pictures. ``truth``
    writes ``truth.jsonl`` too. The others are as of :class:`Request`.
    """

    split: str | None = None
    max_skipped: float = 0.05
    annotations_only: bool = False
    frame_rate: float | None = None
    one_based_boxes: bool = False
    annotation_format: str | None = None
    truth: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.max_skipped <= 1:
            raise InputError(f"--max-skipped must be a share from 0 to 1, got {self.max_skipped}")
        if self.frame_rate is not None and not 0 < self.frame_rate < 1000:
            raise InputError(f"--fps must be a positive number of frames per second, got {self.frame_rate}")


@dataclass(frozen=True)
class BuildReport:
    """What ``build`` did: the tally of each split, and where the store is."""

    out: Path
    splits: dict[str, Tally]


def build(
    name: str,
    root: Path,
    out: Path,
    options: BuildOptions = BuildOptions(),
    progress: Callable[[str, int, int], None] | None = None,
) -> BuildReport:
    """Read data set ``name`` from ``root`` and write it to ``out``, which appears when everything is in it.

    Args:
        name: of ``SOURCES``.
        root: the folder as downloaded; never written to.
        out: a folder that does not exist, is empty, or holds what a failed build left there.
        options: how to read it.
        progress: as of :class:`Request`.

    Raises:
        DataError: the folder is not the data set, a file of it is cut off, or too much of it is unusable: then
            ``out`` holds ``skipped.jsonl`` and ``counts.json``, and no store.
        InputError: an option that does not fit, or ``out`` cannot be used.
    """
    source = _source(name, options)
    request = Request(
        DataFolder(root),
        "",
        check_videos=not options.annotations_only,
        frame_rate=options.frame_rate,
        one_based_boxes=options.one_based_boxes,
        annotation_format=options.annotation_format,
    )
    if progress is not None:
        request = replace(request, progress=progress)
    if source.formats and out.resolve().is_relative_to(root.resolve()):
        # The next build would take the lists of this one for annotations.
        raise InputError(
            f"{out}: is inside {root}, where annotations are read; give a folder outside with --out"
        )

    if out.resolve() == root.resolve():
        raise InputError(f"{out}: is the folder of the download; give another one with --out")
    # What a build that skipped too much has left is replaced by the next one.
    too_much = None
    with new_folder(out, ("skipped.jsonl", "notes.jsonl", "counts.json")) as unfinished:
        tallies = {split: Tally() for split in ([options.split] if options.split else source.splits)}
        try:
            _write(source, request, unfinished, os.path.relpath(root, out), tallies, options.truth)
        except DataError as problem:
            if len(tallies) == 1:
                raise
            raise DataError(
                f"{problem}; to build one split alone give --split {'|'.join(tallies)}"
            ) from problem

        too_much = _too_much(tallies, options.max_skipped, out)
        write_counts(unfinished, name, tallies, "failed" if too_much else "complete")
        if too_much:
            shutil.rmtree(unfinished / "records")
            (unfinished / "store.json").unlink()
            (unfinished / "truth.jsonl").unlink(missing_ok=True)
    if too_much:
        raise DataError(too_much)
    return BuildReport(out, tallies)


def _source(name: str, options: BuildOptions) -> DatasetReader:
    """The data set, after a look at whether the options fit it."""
    if name not in SOURCES:
        raise InputError(f"no data set {name!r}; there are: {', '.join(SOURCES)}")
    source = SOURCES[name]

    split = options.split
    known = source.splits + source.unscored
    if split is not None and split not in known:
        hidden = source.without_truth.get(split)
        why = f": {hidden}" if hidden else ""
        raise InputError(f"{name} has no split {split!r} to build{why}; there are: {', '.join(known)}")
    if options.annotations_only and source.needs_videos:
        raise InputError(f"{name} does not say {source.needs_videos}; build it with its videos in place")
    if options.frame_rate is not None and not source.takes_frame_rate:
        raise InputError(f"{name} has a frame rate of its own; leave --fps out")
    if options.one_based_boxes and not source.takes_one_based_boxes:
        raise InputError(f"the pixels of {name} count from 0; leave --one-based-boxes out")
    if options.annotation_format is not None and options.annotation_format not in source.formats:
        formats = ", ".join(source.formats) or f"leave it out, {name} has one of its own"
        raise InputError(f"no format {options.annotation_format!r} of {name}; there are: {formats}")
    return source


def _write(
    source: DatasetReader, request: Request, folder: Path, root: str, tallies: dict[str, Tally], truth: bool
) -> None:
    """Write the store and the lists; ``root`` is the download as seen from the finished folder."""

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
                if (why := outcome.unusable) is not None:
                    detail = {"reason": why.reason, "detail": why.detail, "by_design": why.by_design}
                    skipped.write(to_line(about | detail))
                if outcome.notes:
                    notes.write(to_line(about | {"notes": list(outcome.notes)}))
                if outcome.record is not None:
                    store.add(outcome.record)
                    if truth:
                        questions.write(to_line(_seen_from(root, outcome.record).to_json()))

                done += 1
                if done % 1000 == 0:
                    request.progress(f"reading {split}", done, 0)

    if not truth:
        (folder / "truth.jsonl").unlink()


def _seen_from(root: str, record: TruthRecord) -> TruthRecord:
    """The record with every path of it below ``root``."""

    def moved(path: str) -> str:
        return Path(os.path.normpath(Path(root) / path)).as_posix()

    subtitles = None if record.subtitles is None else moved(record.subtitles)
    return replace(record, video=moved(record.video), subtitles=subtitles)


def _unique(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Leave out a record whose id came before: the two could not be told apart later."""
    seen: set[str] = set()
    for outcome in outcomes:
        if outcome.id in seen:
            outcome = replace(outcome, record=None, unusable=Unusable("the same id twice"), notes=())
        seen.add(outcome.id)
        yield outcome


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
