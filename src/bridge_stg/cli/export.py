"""``bridge-stg export``: what ``ground`` found as a file for an annotation tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_ENDINGS = {
    "cvat": "-cvat.xml",
    "labelstudio": "-labelstudio.json",
    "mot": "-mot",
    "coco-vid": "-coco-vid.json",
}


def export(
    tube: Annotated[Path, typer.Argument(help="A tube.json that ground wrote.")],
    format_: Annotated[
        Literal["cvat", "labelstudio", "mot", "coco-vid"],
        typer.Option("--format", help="The tool or format to write for."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="New file (cvat: or folder; mot: folder); default: beside tube.json."),
    ] = None,
) -> None:
    """Write every frame of the found windows with its interpolated box, for a person to correct."""
    from bridge_stg.cli.data_export import show
    from bridge_stg.curation.annotations.ground_results import read_results
    from bridge_stg.curation.export import export_videos

    videos = read_results(tube)

    several_files = format_ == "cvat" and len(videos) > 1
    ending = "-cvat" if several_files else _ENDINGS[format_]
    report = export_videos(videos, format_, out or tube.with_name(f"{tube.stem}{ending}"))
    report.notes.update(note for video in videos for note in video.notes)
    show(report)
