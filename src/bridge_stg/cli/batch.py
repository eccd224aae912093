"""``bridge-stg batch``: many videos, on one machine or on a cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bridge_stg.cli.prepare import (
    CHECKPOINT_HELP,
    DEFAULT_CHECKPOINTS,
    DETECTOR_HELP,
    check_box_fps,
    check_writable,
    progress_bar,
    quiet_libraries,
    quiet_threads,
)
from bridge_stg.errors import BridgeSTGError
from bridge_stg.files.shipped import SHIPPED

_SECONDS_BETWEEN_LINES = 30.0


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="A folder, a pattern, a video, or a manifest (.csv, .jsonl, .parquet)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the answers; a run goes on with what it has.")],
    query: Annotated[
        list[str] | None, typer.Option(help="A sentence to find in every video; repeat it for more.")
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="A file with one sentence a line.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help=CHECKPOINT_HELP, show_default=False)] = None,
    method: Annotated[str, typer.Option(help="bridge-stg, qwen3-vl or compose.")] = "bridge-stg",
    detector: Annotated[str | None, typer.Option(help=DETECTOR_HELP)] = None,
    address: Annotated[
        str, typer.Option(help="local, auto, or the address of a Ray cluster (ray://HOST:10001).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Models at work; default: one per GPU, else one per core.")
    ] = None,
    no_video: Annotated[bool, typer.Option("--no-video", help="Write no annotated videos.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Write tubes.jsonl beside the Parquet files.")] = False,
    box_fps: Annotated[float | None, typer.Option(help="Boxes per second inside the window.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
) -> None:
    """Find sentences in many videos; give the same command again after a stop, and it goes on."""
    quiet_threads()
    from bridge_stg.batch.questions import read_query_file, read_questions
    from bridge_stg.zero_shot.open_grounder import check_detector, parse_method

    chosen = parse_method(method)
    check_detector(chosen, detector)
    check_box_fps(box_fps)
    sentences = [*(query or []), *(read_query_file(queries) if queries is not None else [])]
    questions = read_questions(source, sentences)
    check_writable(out)
    name = checkpoint or DEFAULT_CHECKPOINTS[chosen]
    quiet_libraries(name)
    import ray  # noqa: F401  (first: without it nothing else of the command makes sense)

    from bridge_stg.batch.run import run_batch
    from bridge_stg.batch.workers import BatchModel

    model = BatchModel(
        name if name in SHIPPED else _from_root(name),
        chosen,
        device,
        box_fps,
        None if no_video else str((out / "videos").resolve()),
        None if detector is None else _from_root(detector),
    )
    started = told = time.monotonic()
    # Rates are counted from the first answer on: before it, Ray starts and the models are loaded.
    first: tuple[float, int] | None = None
    with progress_bar() as bar:
        task = bar.add_task("questions", total=None)

        def show(done: int, total: int) -> None:
            nonlocal told, first
            now = time.monotonic()
            first = first or (now, done)
            if now - first[0] < 1:
                return
            rate = max(done - first[1], 1) / (now - first[0])
            left = (total - done) / rate
            bar.update(
                task,
                completed=done,
                total=total,
                description=f"{rate:.1f} questions/s, {left / 60:.0f} min left",
            )
            if bar.disable and now - told >= _SECONDS_BETWEEN_LINES:
                told = now
                print(f"{done} of {total}, {rate:.1f}/s, about {left / 60:.0f} min left", file=sys.stderr)

        report = run_batch(questions, model, out, address=address, workers=workers, jsonl=jsonl, on_answer=show)
    seconds = time.monotonic() - started
    kept = f", {report.kept} were there already" if report.kept else ""
    print(f"{report.answered} answered in {seconds:.0f} s{kept}, {report.failed} failed: {report.summary}")
    if report.failed:
        raise BridgeSTGError(
            f"{report.failed} question(s) failed; {out / 'failed.jsonl'} says why; the same command asks again"
        )


def _from_root(name: str) -> str:
    """A folder by its full path, since workers run elsewhere; a hub id as it is."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name
