"""``bridge-stg data synthesize``: tubes that fill a video become events with a beginning and an end."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.records.record import TruthRecord

Located = tuple[list["TruthRecord"], "Callable[[TruthRecord], Path]"]


def synthesize(
    out: Annotated[Path, typer.Option(help="New folder for the videos and their records.")],
    revos: Annotated[Path | None, typer.Option(help="Folder of ReVOS as downloaded.")] = None,
    records: Annotated[
        Path | None,
        typer.Option(help="Instead of --revos: a folder that data build wrote, or a truth.jsonl."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many samples.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that make videos; one per core by default.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With --revos: train or valid; train unless given.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="With --revos: frames per second of its lists, 2 unless given.", show_default=False),
    ] = None,
) -> None:
    """Insert clips of other videos before and after annotated ones, as the paper's self-collected set does."""
    from bridge_stg.cli.prepare import check_writable, progress_bar
    from bridge_stg.curation.synthesis.run import synthesize as run
    from bridge_stg.errors import InputError

    if (revos is None) == (records is None):
        raise InputError("give either --revos or --records")
    if records is not None and (split is not None or fps is not None):
        raise InputError("--split and --fps are for --revos; records know both, build one split for --records")
    if fps is not None and not 0 < fps < 1000:
        raise InputError(f"--fps must be a positive number of frames per second, got {fps}")
    check_writable(out.parent)

    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)
        unused: Counter[str] = Counter()
        given, locate = (
            _of_revos(revos, split or "train", fps, unused)
            if revos is not None
            else _of_records(records or Path())
        )
        bar.update(task, description="writing videos")
        try:
            report = run(
                given,
                locate,
                out,
                seed=seed,
                limit=limit,
                workers=workers or os.cpu_count() or 1,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except KeyboardInterrupt:
            print("stopped; the same command goes on with what is finished", file=sys.stderr)
            raise

    for reason, count in unused.most_common():
        print(f"not used {count:,}: {reason}")
    if report.resumed:
        print(f"{report.resumed:,} videos were there from an earlier run")
    for reason, count in report.dropped.most_common():
        print(f"dropped {count:,}: {reason}")
    if report.not_reached:
        print(f"not reached {report.not_reached:,}: --limit {limit}")
    print(f"{report.kept:,} of {report.read:,} records became samples in {out}")


def _of_revos(root: Path, split: str, fps: float | None, unused: Counter[str]) -> Located:
    """The usable sentences; the others, which are no records, are counted in ``unused`` by their reasons."""
    from bridge_stg.curation.datasets import revos
    from bridge_stg.curation.reading.folder import DataFolder
    from bridge_stg.curation.reading.request import Request
    from bridge_stg.errors import InputError

    if split not in revos.SPLITS:
        raise InputError(f"revos has no split {split!r}; there are: {', '.join(revos.SPLITS)}")
    found: list[TruthRecord] = []
    for outcome in revos.read(Request(DataFolder(root), split, frame_rate=fps)):
        if outcome.record is not None:
            found.append(outcome.record)
        elif outcome.unusable is not None:
            unused[outcome.unusable.reason] += 1
    return found, lambda record: root / record.video


def _of_records(place: Path) -> Located:
    from bridge_stg.records.open import open_truth

    opened = open_truth(place)
    return list(opened.records), opened.path
