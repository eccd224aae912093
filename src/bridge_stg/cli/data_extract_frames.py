"""``bridge-stg data extract-frames``: decode what training reads, once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def extract_frames(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What data build wrote, or a folder with truth.jsonl.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the frames, or one that was begun.")],
    videos: Annotated[
        Path | None, typer.Option(help="What the paths of videos are relative to, if not as the folder says.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second, as the model reads them (sample_fps).")] = 2.0,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Visual tokens per frame at most (max_tokens_per_frame of the model).")
    ] = 192,
    token_side: Annotated[
        int, typer.Option(min=1, help="Pixels per side of a visual token: patch size times merge size.")
    ] = 32,
    jpeg_quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Write JPEG: smaller, not the same pixels. Default: lossless."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; one per core by default.")
    ] = None,
) -> None:
    """Write the frames of every clip at reading size; run again to go on. Exit code 1 if clips are missing."""
    from bridge_stg.cli.prepare import check_writable, progress_bar
    from bridge_stg.curation.frame_extraction import FrameSettings
    from bridge_stg.curation.frame_extraction import extract_frames as run
    from bridge_stg.errors import InputError
    from bridge_stg.training.data.cached_sampling import CACHES_VARIABLE

    if not folder.exists():
        raise InputError(f"{folder}: no such folder; give one made by bridge-stg data build")
    if out.is_file():
        raise InputError(f"{out}: is a file; give --out the name of a folder")
    check_writable(out)

    settings = FrameSettings(fps, token_side, max_tokens, jpeg_quality)
    with progress_bar() as bar:
        task = bar.add_task("extracting clips", total=None)
        done = run(
            folder,
            out,
            settings,
            videos,
            workers or os.cpu_count() or 1,
            lambda count, total: bar.update(task, completed=count, total=total),
        )

    for reason, count in Counter(reason for _, reason in done.failed).most_common(10):
        print(f"{count:,} clip(s) failed: {reason}")
    if done.bad_lines:
        print(f"{done.bad_lines:,} line(s) are no records; see bridge-stg data doctor")
    kept = f" ({done.kept:,} of them before)" if done.kept else ""
    print(
        f"{done.clips - len(done.failed):,} of {done.clips:,} clips{kept}, {done.frames:,} frames, "
        f"{done.size / 2**20:,.1f} MiB in {out}"
    )

    if done.failed:
        print(f"{len(done.failed):,} clips have no frames, see {out / 'failed.jsonl'}; run again to try them")
        raise typer.Exit(1)
    print(f"train with {CACHES_VARIABLE}={out.absolute()}")
