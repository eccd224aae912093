"""``bridge-stg predict``: the answers of a checkpoint to a benchmark, as ``predictions.jsonl``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    data: Annotated[Path, typer.Option(help="The benchmark's folder: truth.jsonl and its videos.")],
    out: Annotated[
        Path,
        typer.Option(help="predictions.jsonl; a run goes on with what it has and asks what failed again."),
    ],
    benchmark: Annotated[str, typer.Option(help="shapes is the only one so far.")] = "shapes",
    checkpoint: Annotated[str, typer.Option(help="'shapes' (shipped), a folder, or a hub id.")] = "shapes",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many videos.")] = None,
    box_fps: Annotated[float | None, typer.Option(help="Boxes per second inside the window.")] = None,
    oracle_window: Annotated[
        bool, typer.Option("--oracle-window", help="Locate inside the true window (the paper's Table 14).")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of going on with --out.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Answer every question of a benchmark."""
    from bridge_stg.cli.prepare import check_writable, progress_bar, quiet_libraries, quiet_threads
    from bridge_stg.errors import BridgeSTGError, InputError

    if benchmark != "shapes":
        raise InputError(f"no benchmark {benchmark!r}; there is: shapes")
    if not (data / "truth.jsonl").is_file():
        raise InputError(f"{data}: no truth.jsonl; write one with: bridge-stg data shapes --out {data}")
    if box_fps is not None and not 0 < box_fps < float("inf"):
        raise InputError(f"--box-fps must be a positive number, got {box_fps}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give the name of a file, such as {out / 'predictions.jsonl'}")
    check_writable(out.parent)

    quiet_threads()
    quiet_libraries(checkpoint)
    from bridge_stg.evaluation.predict import plan_run
    from bridge_stg.evaluation.predict import predict as run
    from bridge_stg.grounder import VideoGrounder

    plan = plan_run(checkpoint, data / "truth.jsonl", out, box_fps, oracle_window, restart)
    if count := len(plan.kept.answered):
        print(f"going on with {out}: {count} question(s) have an answer there and are kept")
    grounder = VideoGrounder.from_pretrained(checkpoint, device=device, threads=threads)
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress:
        task = progress.add_task("videos", total=None)
        written = run(
            grounder,
            plan,
            data,
            limit,
            on_video=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"wrote {out}: {len(written.lines)} question(s), {len(written.failed)} failed")
    if written.failed:
        raise BridgeSTGError(
            f"{len(written.failed)} question(s) failed; their lines in {out} say why, and the same command "
            "asks them again"
        )
