"""``bridge-stg ground``: a video and sentences in; a table, ``tube.json`` and annotated videos out."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge_stg.cli.ground_table import print_results
from bridge_stg.cli.prepare import (
    CAREFUL_HELP,
    CHECKPOINT_HELP,
    DEFAULT_CHECKPOINTS,
    DETECTOR_HELP,
    check_box_fps,
    check_writable,
    progress_bar,
    quiet_libraries,
    quiet_threads,
    without_optional_imports,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bridge_stg.inference.door import Grounder
    from bridge_stg.types import GroundingResult

Method = Literal["bridge-stg", "qwen3-vl", "compose"]
Style = Literal["direct", "scan"]
_ANNOTATED = re.compile(r"annotated(-\d+)?\.mp4")


def ground(
    video: Annotated[
        Path, typer.Argument(help="A video file, a folder of images with times.txt, or an image.")
    ],
    query: Annotated[
        list[str],
        typer.Argument(
            help="One or more sentences; quote each. 'track it at [100, 250, 500, 900] from 1.5 seconds' "
            "follows what is in that box: left, top, right, bottom in thousandths of the frame (not with "
            "another --method)."
        ),
    ],
    checkpoint: Annotated[str | None, typer.Option(help=CHECKPOINT_HELP, show_default=False)] = None,
    method: Annotated[
        Method,
        typer.Option(
            help="qwen3-vl asks a stock Qwen3-VL in words, zero-shot; compose does so for the window "
            "and takes the boxes from a stock detector."
        ),
    ] = "bridge-stg",
    detector: Annotated[str | None, typer.Option(help=DETECTOR_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="Write tube.json and the annotated videos here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print tube.json and nothing else.")] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Print the milliseconds of each stage.")] = False,
    video_out: Annotated[
        bool, typer.Option("--video/--no-video", help="Draw the annotated videos into --out.")
    ] = True,
    answer: Annotated[
        Style | None,
        typer.Option(help="direct: the window alone; scan: second by second first; default: the checkpoint's."),
    ] = None,
    careful: Annotated[bool, typer.Option("--careful", help=CAREFUL_HELP)] = False,
    min_confidence: Annotated[float, typer.Option(help="Leave out windows less sure than this, 0 to 1.")] = 0.0,
    chunk: Annotated[
        float | None,
        typer.Option(
            help="Seconds of the overlapping pieces of a long video; default: what the checkpoint knows.",
            show_default=False,
        ),
    ] = None,
    box_fps: Annotated[
        float | None,
        typer.Option(help="Boxes per second inside the window; default: the frames the model reads."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Find when and where each sentence happens in a video."""
    from rich.console import Console

    from bridge_stg.errors import InputError
    from bridge_stg.inference.options import GroundOptions
    from bridge_stg.prompting.templates import check_query
    from bridge_stg.video.decode import probe

    # What is wrong with the input or the output is said before anything slow is loaded.
    for text in query:
        check_query(text)
        _refuse_file(text)
    if careful and method != "bridge-stg":
        raise InputError(f"--careful is for bridge-stg, not for {method}; leave it out")
    check_box_fps(box_fps)
    options = GroundOptions(
        answer=answer,
        careful=careful,
        min_confidence=min_confidence,
        chunk=chunk,
        box_fps=box_fps,
        timing=timing,
    )
    probe(video)
    names = _names(len(query)) if video_out else []
    if out is not None:
        check_writable(out)
        _check_targets(video, out, names)

    # One pass for all sentences.
    grounder = _load(method, checkpoint or DEFAULT_CHECKPOINTS[method], device, threads, detector)
    with Console(stderr=True).status("decode") as status:
        results = grounder.ground_with(video, query, options, progress=status.update)

    # Files first: what is printed then says what is there.
    if out is not None:
        results = _write(results, video, out, names)
    if as_json:
        print(json.dumps([result.to_json() for result in results], indent=2))
        return
    print_results(results, timing)
    if out is not None:
        print(f"wrote {out / 'tube.json'}" + (f" and {len(names)} annotated video(s)" if names else ""))


def _refuse_file(text: str) -> None:
    """Raise InputError when a file stands in the place of a sentence."""
    from bridge_stg.errors import InputError

    try:
        is_file = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return
    if is_file:
        raise InputError(
            f"{text}: is a file, not a sentence; ground takes one video and any number of sentences, "
            "bridge-stg batch takes many videos"
        )


def _load(
    method: Method, checkpoint: str, device: str | None, threads: int | None, detector: str | None
) -> Grounder:
    from rich.console import Console

    quiet_threads()
    # A stock model may be quantised, and its quantiser may need what this leaves out.
    lean = without_optional_imports() if method == "bridge-stg" else nullcontext()
    with Console(stderr=True).status("loading the model") as status, lean:
        if quiet_libraries(checkpoint):
            status.stop()  # the bars of the download take its place
        from bridge_stg.zero_shot.open_grounder import open_grounder

        return open_grounder(method, checkpoint, device, threads, detector)


def _names(count: int) -> list[str]:
    """The annotated videos of a run."""
    return ["annotated.mp4"] if count == 1 else [f"annotated-{number}.mp4" for number in range(1, count + 1)]


def _earlier(out: Path) -> list[Path]:
    """Annotated videos that lie in ``out`` already."""
    return [file for file in out.glob("annotated*.mp4") if _ANNOTATED.fullmatch(file.name)]


def _check_targets(video: Path, out: Path, names: list[str]) -> None:
    """Raise InputError when a file to be written or removed is the source, or its place is taken."""
    from bridge_stg.errors import InputError

    for target in {*(out / name for name in (*names, "tube.json")), *_earlier(out)}:
        if target.is_dir():
            raise InputError(f"{target}: is a folder, and ground writes a file there; give another --out")
        if target.exists() and target.samefile(video):
            raise InputError(f"{target}: is the source video itself; give another --out")


def _write(results: list[GroundingResult], video: Path, out: Path, names: list[str]) -> list[GroundingResult]:
    """``tube.json`` and one annotated mp4 per sentence, all of them at the end; no ``names``, no videos.

    Returns the results with what drawing found out about the video in their notes.

    The files take the place of an earlier run's; its ``tube.json`` goes first and the new one comes last, so
    that what lies beside a ``tube.json`` belongs to it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        return _fill(results, video, out, names)
    except BaseException:
        if made:
            for name in names:
                (out / name).unlink(missing_ok=True)
        with suppress(OSError):  # somebody else has put something there
            for folder in made:
                folder.rmdir()
        raise


def _fill(results: list[GroundingResult], video: Path, out: Path, names: list[str]) -> list[GroundingResult]:
    from bridge_stg.inference.drawing import write_annotated

    # Beside the final place, so that moving is renaming.
    with tempfile.TemporaryDirectory(prefix=".ground-", dir=out) as folder, progress_bar() as progress:
        fresh = Path(folder)
        met: list[str] = []
        for name, result in zip(names, results, strict=False):
            task = progress.add_task(f"drawing {name}", total=result.info.frames)
            advance = partial(_advance, progress, task)
            write_annotated(result, video, fresh / name, on_frame=advance, on_note=met.append)

        # Drawing reads every frame, and so meets damage that sampling did not.
        results = [result.with_notes(met) for result in results]
        text = json.dumps([result.to_json() for result in results], indent=2) + "\n"
        (fresh / "tube.json").write_text(text, encoding="utf-8")
        had_results = (out / "tube.json").exists()
        (out / "tube.json").unlink(missing_ok=True)
        if had_results:  # else they are somebody's own
            for stale in _earlier(out):
                stale.unlink()
        for name in (*names, "tube.json"):
            os.replace(fresh / name, out / name)
    return results


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
