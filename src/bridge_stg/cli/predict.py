"""``bridge-stg predict``: the answers of a method to a benchmark, as ``predictions.jsonl``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

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
)

if TYPE_CHECKING:
    from bridge_stg.evaluation.benchmarks import Benchmark
    from bridge_stg.evaluation.methods import Method
    from bridge_stg.evaluation.predict import PredictionPlan
    from bridge_stg.evaluation.run_cost import RunCost
    from bridge_stg.records.prediction import PredictionRecord

SECONDS_BETWEEN_LINES = 60.0


def predict(
    data: Annotated[Path, typer.Option(help="The benchmark's folder: truth.jsonl and its videos.")],
    out: Annotated[
        Path,
        typer.Option(
            help="predictions.jsonl; several processes write a folder. A run goes on with what is there, and "
            "asks again what failed."
        ),
    ],
    benchmark: Annotated[
        str, typer.Option(help="shapes, vidstg, hcstvg-v2, charades-sta, ...; a wrong name lists them all.")
    ] = "shapes",
    task: Annotated[
        str | None,
        typer.Option(help="stvg, vtg, vot, rec or vqa; default: the benchmark's, else what the truth holds."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="bridge-stg, qwen3-vl (zero-shot), compose, whole-clip or best-constant.")
    ] = "bridge-stg",
    checkpoint: Annotated[str | None, typer.Option(help=CHECKPOINT_HELP, show_default=False)] = None,
    detector: Annotated[str | None, typer.Option(help=DETECTOR_HELP)] = None,
    train_truth: Annotated[
        Path | None, typer.Option(help="truth.jsonl of a training split, which best-constant is fitted to.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many videos.")] = None,
    box_fps: Annotated[
        float | None,
        typer.Option(help="Boxes per second inside the window; default: the frames read, of vot all frames."),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(help="direct or scan: the style of the answer; default: the checkpoint's."),
    ] = None,
    careful: Annotated[bool, typer.Option("--careful", help=CAREFUL_HELP)] = False,
    subtitles: Annotated[
        bool, typer.Option("--subtitles", help="Put the subtitles of a vqa record into its question.")
    ] = False,
    oracle_window: Annotated[
        bool, typer.Option("--oracle-window", help="Locate inside the true window (the paper's Table 14).")
    ] = False,
    submission: Annotated[
        Path | None,
        typer.Option(help="Of vot: also write the files of the GOT-10k test server into this folder."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of going on with --out.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Answer every question of a benchmark, with one process or those of accelerate's launcher."""
    from bridge_stg.errors import InputError
    from bridge_stg.evaluation.benchmarks import benchmark_by_name
    from bridge_stg.types import parse_answer_style
    from bridge_stg.zero_shot.open_grounder import check_detector

    # What is wrong with the words of the command, before anything is loaded.
    chosen = benchmark_by_name(benchmark)
    truth = _truth_of(data, chosen)
    check_box_fps(box_fps)
    check_writable(out.parent)
    if submission is not None:
        check_writable(submission)

    quiet_threads()
    from bridge_stg.evaluation.methods import PredictionSettings
    from bridge_stg.evaluation.predict import plan_run
    from bridge_stg.evaluation.predict import predict as run
    from bridge_stg.evaluation.sharding import launched
    from bridge_stg.evaluation.submission import check_submission

    settings = PredictionSettings(
        method=method,  # type: ignore[arg-type]
        checkpoint=DEFAULT_CHECKPOINTS.get(method) if checkpoint is None else checkpoint,
        train_truth=train_truth,
        box_fps=box_fps,
        oracle_window=oracle_window,
        answer=None if answer is None else parse_answer_style(answer),
        careful=careful,
        subtitles=subtitles or chosen.name == "video-mme-subs",
        detector=detector,
    )
    check_detector(method, detector)
    plan = plan_run(settings, truth, out, task=chosen.task_for(task), restart=restart)
    if submission is not None and plan.task != "vot":
        raise InputError(f"--submission is for GOT-10k's task vot, not for {plan.task}; leave it out")
    if submission is not None:
        check_submission(record for clip in plan.clips for record in clip.records)

    shard = launched(device)
    quiet_libraries(settings.checkpoint if shard.is_main else None)
    answerer, cost = _load(plan, shard.device(device), threads)

    if shard.is_main:
        _say_notes(answerer, plan, chosen)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _Progress(shard.is_main, _headings(plan)) as progress:
        written = run(answerer, plan, data, limit, shard, cost, on_clip=progress.update)
    shard.leave()
    if written is not None:
        _finish(plan, written, submission)


def _headings(plan: PredictionPlan) -> list[str]:
    """What will be asked and what will not."""
    lines = []
    if plan.other_tasks:
        left = ", ".join(f"{count} {name}" for name, count in sorted(plan.other_tasks.items()))
        lines.append(f"asking {plan.task}; not asked: {left} (--task asks them)")
    if plan.done:
        kept = f"{len(plan.done)} question(s) have an answer there and are kept"
        lines.append(f"going on with {plan.out}: {kept}")
    return lines


def _truth_of(data: Path, benchmark: Benchmark) -> Path:
    """The truth of a benchmark's folder; DataError saying how to get one."""
    from bridge_stg.records.open import truth_in

    if benchmark.name != "shapes":
        return truth_in(data)
    return truth_in(data, f"write one with: bridge-stg data shapes --out {data} --videos 500 --split test")


def _load(plan: PredictionPlan, device: str | None, threads: int | None) -> tuple[Method, RunCost | None]:
    """Who answers the questions of a plan, and an empty account of what it takes."""
    from bridge_stg.evaluation.constants import WHOLE_CLIP, best_constant
    from bridge_stg.evaluation.methods import ConstantMethod, GrounderMethod
    from bridge_stg.evaluation.run_cost import new_run
    from bridge_stg.records.record import read_truth

    settings = plan.settings
    if settings.method == "whole-clip":
        return ConstantMethod(WHOLE_CLIP), None
    if settings.method == "best-constant":
        assert settings.train_truth is not None  # the settings were checked
        return ConstantMethod(best_constant(read_truth(settings.train_truth), plan.task)), None

    assert settings.checkpoint is not None
    from bridge_stg.zero_shot.open_grounder import open_grounder, parse_method

    method = parse_method(settings.method)
    grounder = open_grounder(method, settings.checkpoint, device, threads, settings.detector)
    return GrounderMethod(grounder, settings), new_run(grounder.model)


def _finish(plan: PredictionPlan, written: dict[str, PredictionRecord], submission: Path | None) -> None:
    """Say what lies at ``--out`` now, by the words of ``score``; an error if a question could not be asked."""
    from bridge_stg.errors import BridgeSTGError
    from bridge_stg.evaluation.failures import count_failures
    from bridge_stg.evaluation.run_cost import read_costs, summarize_cost
    from bridge_stg.evaluation.submission import write_submission

    records = [record for clip in plan.clips for record in clip.records if record.id in written]
    counts = count_failures((record, written[record.id]) for record in records)
    lines = [f"wrote {plan.out}: {len(written)} question(s), {counts.words}"]
    noted = [answer for answer in written.values() if answer.notes]
    if noted:
        print(
            f"note: {len(noted)} answer(s) have notes of their own in it; the first: "
            f"{noted[0].id}: {noted[0].notes[0]}",
            file=sys.stderr,
        )

    if submission is not None:
        runs = read_costs(plan.out)
        mean_ms = summarize_cost(runs)["mean_per_query"]["total_ms"] if runs else None
        made = write_submission(submission, records, written, None if mean_ms is None else mean_ms / 1000)
        left = f"{len(made.left_out)} without an answer left out"
        lines.append(f"wrote {submission}: {made.written} sequence(s), {left}")
    print("\n".join(lines))

    unasked = sum(answer.status == "failed" for answer in written.values())
    if unasked:
        raise BridgeSTGError(
            f"{unasked} question(s) failed; their lines in {plan.out} say why, and the same command "
            "asks them again"
        )


def _say_notes(method: Method, plan: PredictionPlan, benchmark: Benchmark) -> None:
    """Say once, on stderr, how many questions have the wanted subtitles, what a checkpoint knows, and where its
    sampling is not that of published numbers.
    """
    from bridge_stg.evaluation.methods import GrounderMethod
    from bridge_stg.inference.grounder import VideoGrounder

    if plan.settings.subtitles:
        records = [record for clip in plan.clips for record in clip.records]
        count = sum(record.subtitles is not None for record in records)
        print(f"note: {count} of {len(records)} question(s) have subtitles", file=sys.stderr)

    if not isinstance(method, GrounderMethod):
        return
    for note in method.grounder.notes:
        print(f"note: {note}", file=sys.stderr)
    if not isinstance(method.grounder, VideoGrounder):
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
    """Clips done and the time that is left, on stderr: a bar for a person, a line a minute for a log.

    ``headings`` go to stdout when the first clip is begun: nothing refuses the command any more.
    """

    def __init__(self, shown: bool, headings: Sequence[str] = ()) -> None:
        self.bar = progress_bar()
        self.shown, self.headings = shown, headings
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
        """Called when this process begins and after each of its clips."""
        if not self.shown:
            return
        if not done:
            for line in self.headings:
                print(line)
        self.bar.update(self.task, completed=done, total=total)
        now = time.monotonic()
        if done and self.bar.disable and now - self.told >= SECONDS_BETWEEN_LINES:
            left = (now - self.started) / done * (total - done)
            print(f"{done} of {total} clips, about {left / 60:.0f} min left", file=sys.stderr)
            self.told = now
