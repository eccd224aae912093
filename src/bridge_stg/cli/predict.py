"""``bridge-stg predict``: the answers of a method to a benchmark, as ``predictions.jsonl``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge_stg.cli.prepare import (
    CHECKPOINT_HELP,
    DEFAULT_CHECKPOINTS,
    check_box_fps,
    check_writable,
    progress_bar,
    quiet_libraries,
    quiet_threads,
)

if TYPE_CHECKING:
    from bridge_stg.evaluation.benchmarks import Benchmark
    from bridge_stg.evaluation.cost import RunCost
    from bridge_stg.evaluation.methods import Method
    from bridge_stg.evaluation.predict import Plan

SECONDS_BETWEEN_LINES = 60.0


def predict(
    data: Annotated[Path, typer.Option(help="The benchmark's folder: truth.jsonl and its videos.")],
    out: Annotated[
        Path,
        typer.Option(help="predictions.jsonl; a run goes on with what it has and asks what failed again."),
    ],
    benchmark: Annotated[
        str, typer.Option(help="shapes, vidstg, hcstvg-v2, charades-sta, ...; a wrong name lists them all.")
    ] = "shapes",
    task: Annotated[
        str | None,
        typer.Option(help="stvg, vtg, vot, rec or vqa; default: the benchmark's, else what the truth holds."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="bridge-stg, qwen3-vl (zero-shot), whole-clip or best-constant.")
    ] = "bridge-stg",
    checkpoint: Annotated[str | None, typer.Option(help=CHECKPOINT_HELP, show_default=False)] = None,
    train_truth: Annotated[
        Path | None, typer.Option(help="truth.jsonl of a training split, which best-constant is fitted to.")
    ] = None,
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
    """Answer every question of a benchmark, with one process or those of accelerate's launcher."""
    from bridge_stg.errors import BridgeSTGError, InputError
    from bridge_stg.evaluation.benchmarks import benchmark_by_name

    chosen = benchmark_by_name(benchmark)
    if chosen.name == "video-mme-subs":
        raise InputError("subtitles cannot be put into a question yet; use --benchmark video-mme")
    if not (data / "truth.jsonl").is_file():
        if data.is_file():
            raise InputError(f"{data}: is a file; give the folder with truth.jsonl")
        cure = f"; write one with: bridge-stg data shapes --out {data} --videos 500 --split test"
        raise InputError(f"{data}: no truth.jsonl{cure if chosen.name == 'shapes' else ''}")
    check_box_fps(box_fps)
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give the name of a file, such as {out / 'predictions.jsonl'}")
    check_writable(out.parent)
    if checkpoint is None:
        checkpoint = DEFAULT_CHECKPOINTS.get(method)

    quiet_threads()
    from bridge_stg.evaluation.predict import plan_run
    from bridge_stg.evaluation.predict import predict as run
    from bridge_stg.evaluation.sharding import launched

    truth = data / "truth.jsonl"
    wanted: Any = chosen.task_for(task)
    plan = plan_run(
        checkpoint,
        truth,
        out,
        box_fps,
        oracle_window,
        restart,
        task=wanted,
        method=method,  # type: ignore[arg-type]
        train_truth=train_truth,
    )
    share = launched(device)
    if share.is_main and (count := len(plan.kept.answered)):
        print(f"going on with {out}: {count} question(s) have an answer there and are kept")
    quiet_libraries(checkpoint if share.is_main else None)
    answerer, cost = _load(plan, checkpoint, train_truth, share.device(device), threads)
    if share.is_main:
        _check_rate(answerer, chosen)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _Progress(share.is_main) as progress:
        written = run(answerer, plan, data, limit, share, cost, on_clip=progress.update)
    share.leave()
    if written is None:
        return
    print(f"wrote {out}: {len(written.lines)} question(s), {len(written.failed)} failed")
    if written.failed:
        raise BridgeSTGError(
            f"{len(written.failed)} question(s) failed; their lines in {out} say why, and the same command "
            "asks them again"
        )


def _load(
    plan: Plan, checkpoint: str | None, train_truth: Path | None, device: str | None, threads: int | None
) -> tuple[Method, RunCost | None]:
    """Who answers the questions of a plan, and an empty account of what it takes."""
    from bridge_stg.evaluation.constants import WHOLE_CLIP, best_constant
    from bridge_stg.evaluation.cost import new_run
    from bridge_stg.evaluation.methods import ConstantMethod, GrounderMethod
    from bridge_stg.records.record import read_truth

    run = plan.run
    if run.method == "whole-clip":
        return ConstantMethod(WHOLE_CLIP), None
    if run.method == "best-constant":
        assert train_truth is not None  # plan_run has seen to it
        return ConstantMethod(best_constant(read_truth(train_truth), plan.task)), None
    assert checkpoint is not None
    if run.method == "qwen3-vl":
        from bridge_stg.zero_shot.grounder import ZeroShotGrounder

        stock = ZeroShotGrounder.from_pretrained(checkpoint, device=device, threads=threads)
        return GrounderMethod(stock, run.box_fps, run.oracle_window), new_run(stock.model)
    from bridge_stg.inference.grounder import VideoGrounder

    grounder = VideoGrounder.from_pretrained(checkpoint, device=device, threads=threads)
    return GrounderMethod(grounder, run.box_fps, run.oracle_window), new_run(grounder.model)


def _check_rate(method: Method, benchmark: Benchmark) -> None:
    """Say on stderr when a checkpoint samples otherwise than the benchmark's published numbers did."""
    from bridge_stg.evaluation.methods import GrounderMethod
    from bridge_stg.inference.grounder import VideoGrounder

    if not isinstance(method, GrounderMethod) or not isinstance(method.grounder, VideoGrounder):
        return
    if benchmark.fps is None:
        return
    config = method.grounder.processor.config
    for what, own, theirs in (
        ("frames per second", config.sample_fps, benchmark.fps),
        ("visual tokens per frame at most", config.max_tokens_per_frame, benchmark.tokens_per_frame),
    ):
        if own != theirs:
            print(f"note: this checkpoint reads {own} {what}, {benchmark.title} {theirs}", file=sys.stderr)


class _Progress:
    """Clips done and the time that is left, on stderr: a bar for a person, a line a minute for a log."""

    def __init__(self, shown: bool) -> None:
        self.bar = progress_bar()
        self.shown = shown
        self.started = self.told = time.monotonic()

    def __enter__(self) -> _Progress:
        if self.shown:
            self.bar.start()
            self.task = self.bar.add_task("clips", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown:
            self.bar.stop()

    def update(self, done: int, total: int) -> None:
        """Called after each clip of this process."""
        if not self.shown:
            return
        self.bar.update(self.task, completed=done, total=total)
        now = time.monotonic()
        if self.bar.disable and now - self.told >= SECONDS_BETWEEN_LINES:
            left = (now - self.started) / done * (total - done)
            print(f"{done} of {total} clips, about {left / 60:.0f} min left", file=sys.stderr)
            self.told = now
