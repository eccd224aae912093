"""``bridge-stg predict``: the answers of a checkpoint to a benchmark, as ``predictions.jsonl``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def predict(
    data: Annotated[Path, typer.Option(help="The benchmark's folder: truth.jsonl and its videos.")],
    out: Annotated[Path, typer.Option(help="predictions.jsonl; an unfinished one is gone on with.")],
    benchmark: Annotated[str, typer.Option(help="shapes is the only one so far.")] = "shapes",
    checkpoint: Annotated[str, typer.Option(help="'shapes' (shipped), a folder, or a hub id.")] = "shapes",
    limit: Annotated[int | None, typer.Option(help="At most this many videos.")] = None,
    box_fps: Annotated[float | None, typer.Option(help="Boxes per second inside the window.")] = None,
    oracle_window: Annotated[
        bool, typer.Option("--oracle-window", help="Locate inside the true window (the paper's Table 14).")
    ] = False,
) -> None:
    """Answer every question of a benchmark."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from bridge_stg.cli.ground import check_writable
    from bridge_stg.errors import InputError

    if benchmark != "shapes":
        raise InputError(f"no benchmark {benchmark!r}; there is: shapes")
    if not (data / "truth.jsonl").is_file():
        raise InputError(f"{data}: no truth.jsonl; write one with: bridge-stg data shapes --out {data}")
    check_writable(out.parent)

    from rich.progress import Progress
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    from bridge_stg.evaluation.predict import predict as run
    from bridge_stg.grounder import VideoGrounder

    grounder = VideoGrounder.from_pretrained(checkpoint)
    with Progress() as progress:
        task = progress.add_task("videos", total=None)
        failed = run(
            grounder,
            data / "truth.jsonl",
            data,
            out,
            limit,
            box_fps,
            oracle_window,
            on_video=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"wrote {out}; {failed} question(s) failed")
