"""``bridge-stg data``: commands that make data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge_stg.cli.data_build import build
from bridge_stg.cli.data_doctor import doctor
from bridge_stg.cli.data_export import export
from bridge_stg.cli.data_extract_frames import extract_frames
from bridge_stg.cli.data_synthesize import synthesize

app = typer.Typer(add_completion=False)
app.command()(build)
app.command()(doctor)
app.command("extract-frames")(extract_frames)
app.command()(export)
app.command()(synthesize)


@app.callback()
def data() -> None:
    """Make and inspect data sets."""


@app.command()
def shapes(
    out: Annotated[Path, typer.Option(help="New folder for the videos and truth.jsonl.")],
    videos: Annotated[int, typer.Option(min=1, help="How many videos.")],
    seed: Annotated[int, typer.Option(help="The same seed writes the same data.")] = 0,
    split: Annotated[
        str, typer.Option(help="train, test or compositional (held-out colour and shape pairs).")
    ] = "train",
    width: Annotated[int, typer.Option(min=2, help="Frame width in pixels, even; 0.75 to 2.5 heights.")] = 320,
    height: Annotated[int, typer.Option(min=2, help="Frame height in pixels, even, at least 16.")] = 240,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that draw and encode; one per core by default.")
    ] = None,
    per_video_questions: Annotated[
        int,
        typer.Option("--questions", min=1, help="At most this many questions per video, half of them stvg."),
    ] = 4,
    absent: Annotated[
        int,
        typer.Option(min=0, help="Further questions per video, about what does not happen in it."),
    ] = 0,
    repeats: Annotated[
        float, typer.Option(min=0, max=1, help="The chance that an object does something twice.")
    ] = 0.0,
    min_duration: Annotated[float, typer.Option(min=4, help="Seconds of the shortest video.")] = 4.0,
    max_duration: Annotated[float, typer.Option(max=60, help="Seconds of the longest video.")] = 16.0,
    min_objects: Annotated[int, typer.Option(min=1, max=8, help="Fewest objects of a video.")] = 2,
    max_objects: Annotated[int, typer.Option(min=1, max=8, help="Most objects of a video.")] = 6,
) -> None:
    """Write short videos of moving shapes with exact tubes, and their truth.jsonl."""
    from bridge_stg.cli.prepare import progress_bar
    from bridge_stg.shapes.world.objects import SceneSettings, parse_split
    from bridge_stg.shapes.world.writer import write_shapes

    settings = SceneSettings(
        min_objects=min_objects,
        max_objects=max_objects,
        min_duration=min_duration,
        max_duration=max_duration,
        split=parse_split(split),
        width=width,
        height=height,
        repeats=repeats,
    )
    with progress_bar() as bar:
        task = bar.add_task("writing videos", total=videos)
        truth = write_shapes(
            out,
            videos,
            seed,
            settings,
            per_video_questions=per_video_questions,
            absent=absent,
            workers=workers,
            progress=lambda done: bar.update(task, completed=done),
        )
    print(truth)
