"""``bridge-stg ground``: a video and sentences in; a table, ``tube.json`` and annotated videos out."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bridge_stg.types import GroundingResult


def ground(
    video: Annotated[
        Path, typer.Argument(help="A video file, a folder of images with times.txt, or an image.")
    ],
    query: Annotated[list[str], typer.Argument(help="One or more sentences; quote each.")],
    checkpoint: Annotated[
        str, typer.Option(help="'shapes' (shipped), a checkpoint folder, or a hub id.")
    ] = "shapes",
    out: Annotated[Path | None, typer.Option(help="Write tube.json and the annotated videos here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print tube.json and nothing else.")] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Print the milliseconds of each stage.")] = False,
    box_fps: Annotated[
        float | None,
        typer.Option(help="Boxes per second inside the window; default: the frames the model reads."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
) -> None:
    """Find when and where each sentence happens in a video."""
    from bridge_stg.cli.prepare import check_writable
    from bridge_stg.errors import InputError
    from bridge_stg.video.decode import probe

    for text in query:
        if not text.strip():
            raise InputError("the query is empty; say in a few words what to look for")
    if box_fps is not None and not 0 < box_fps < float("inf"):
        raise InputError(f"--box-fps must be a positive number, got {box_fps}")
    # What is wrong with the input or the output is said before anything slow is loaded.
    probe(video)
    if out is not None:
        check_writable(out)
    results = _ground(video, query, checkpoint, box_fps, device)
    if out is not None:
        _write(results, video, out)
    if as_json:
        print(json.dumps([result.to_json() for result in results], indent=2))
    else:
        _print_table(results, timing)
        if out is not None:
            print(f"wrote {out / 'tube.json'} and {len(results)} annotated video(s)")


def _ground(
    video: Path, query: list[str], checkpoint: str, box_fps: float | None, device: str | None
) -> list[GroundingResult]:
    from rich.console import Console

    from bridge_stg.cli.prepare import quiet_libraries, quiet_threads

    quiet_threads()
    with Console(stderr=True).status("loading the model") as status:
        quiet_libraries()
        from bridge_stg.grounder import VideoGrounder

        grounder = VideoGrounder.from_pretrained(checkpoint, device=device)
        return grounder.ground(video, query, box_fps=box_fps, progress=status.update)


def _write(results: list[GroundingResult], video: Path, out: Path) -> None:
    """``tube.json`` and one annotated mp4 per sentence; each file appears whole or not at all."""
    from bridge_stg.cli.prepare import progress_bar
    from bridge_stg.visualize import write_annotated

    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress:
        for number, result in enumerate(results, start=1):
            name = "annotated.mp4" if len(results) == 1 else f"annotated-{number}.mp4"
            task = progress.add_task(f"drawing {name}", total=result.info.frames)
            write_annotated(result, video, out / name, on_frame=partial(_advance, progress, task))
    fresh = out / f".tube.{os.getpid()}.json"
    fresh.write_text(json.dumps([result.to_json() for result in results], indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, out / "tube.json")


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def _print_table(results: list[GroundingResult], timing: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("query", "status", "start (s)", "end (s)", "boxes", "mean score"):
        table.add_column(column, justify="left" if column in ("query", "status") else "right", overflow="fold")
    for result in results:
        window, score = result.window, result.mean_score
        table.add_row(
            result.query,
            result.status,
            "-" if window is None else f"{window.start:.1f}",
            "-" if window is None else f"{window.end:.1f}",
            str(len(result.tube)) if result.tube is not None else "-",
            "-" if score is None else f"{score:.2f}",
        )
    # A sentence is shown as it was given: its brackets and colons are no markup.
    Console(markup=False, emoji=False, highlight=False).print(table)
    for note in results[0].notes:
        print(f"note: {note}")
    for result in results:
        if result.status != "ok":
            print(f"{result.status}: the model answered {result.answer!r} to {result.query!r}")
    if timing:
        # One pass serves all sentences, so the stages are those of the whole call.
        stages = results[0].timing_ms
        print("  ".join(f"{name} {value:.0f} ms" for name, value in stages.items()))
        print(f"total {sum(stages.values()):.0f} ms for {len(results)} sentence(s)")
