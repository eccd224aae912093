"""Answers to a truth file: one line of predictions per question, appended as they come.

A run that was stopped goes on where it was: questions that have an answer are not asked again. A video that
cannot be read gives a line with status ``failed`` and the reason, never silence; the next run asks it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bridge_stg.errors import InputError, unwritable
from bridge_stg.evaluation.methods import Method, PredictionSettings, ask
from bridge_stg.evaluation.resume import (
    Kept,
    RunRecord,
    begin,
    check_replaceable,
    check_same_run,
    rank_file,
    read_kept,
    remove,
    run_record,
)
from bridge_stg.evaluation.run_cost import RunCost, cost_path, read_cost, write_cost
from bridge_stg.evaluation.sharding import Shard
from bridge_stg.files.json_lines import to_line
from bridge_stg.files.one_writer import only_writer
from bridge_stg.files.output_files import check_output
from bridge_stg.records.part import ClipQuestions, choose_task, group_questions, of_first_videos
from bridge_stg.records.prediction import PredictionRecord, read_predictions
from bridge_stg.records.record import read_truth
from bridge_stg.types import Task

ALONE = Shard()


@dataclass(frozen=True)
class PredictionPlan:
    """A run whose input was looked at and whose output may be written; see ``plan_run``.

    ``kept`` is what lay at ``out`` then, and what the run goes on with unless it begins anew (``restart``).
    ``other_tasks`` counts the questions that are not asked because they are of another task.
    """

    settings: PredictionSettings
    task: Task
    clips: tuple[ClipQuestions, ...]
    out: Path
    kept: Kept
    run: RunRecord
    restart: bool = False
    other_tasks: Mapping[Task, int] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """All questions in the order in which they are asked."""
        return [record.id for clip in self.clips for record in clip.records]

    @property
    def done(self) -> frozenset[str]:
        """The questions that are not asked again."""
        return frozenset() if self.restart else self.kept.answered

    def pending(self, limit: int | None = None) -> list[ClipQuestions]:
        """The clips with a question to be asked, among the first ``limit`` videos."""
        return [
            clip
            for clip in of_first_videos(self.clips, limit)
            if any(record.id not in self.done for record in clip.records)
        ]


def plan_run(
    settings: PredictionSettings, truth: Path, out: Path, *, task: Task | None = None, restart: bool = False
) -> PredictionPlan:
    """Everything that can be wrong before a model is loaded; writes nothing.

    Args:
        truth: truth.jsonl; its questions of one task are asked, in the order of their videos.
        out: a file, or a folder with one file a rank; answers that lie there already are kept.
        task: by default stvg if there is any, else the only one.
        restart: keep nothing of ``out``.

    Raises:
        InputError: no question of the task, a setting that means nothing for it, ``out`` holds something else
            or was made in another way.
        DataError: ``truth`` cannot be read.
    """
    records = read_truth(truth)
    chosen = choose_task(records, task, truth)
    settings.check(chosen)
    clips = group_questions(records, chosen)
    others = Counter(record.task for record in records if record.task != chosen)
    run = run_record(settings, truth, chosen)
    if not out.is_dir():
        check_output(out, [truth, settings.train_truth])

    if restart:
        check_replaceable(out)
        return PredictionPlan(settings, chosen, clips, out, Kept(), run, restart=True, other_tasks=others)
    kept = read_kept(out)
    check_same_run(out, kept, run, {record.id for clip in clips for record in clip.records})
    return PredictionPlan(settings, chosen, clips, out, kept, run, other_tasks=others)


def predict(
    method: Method,
    plan: PredictionPlan,
    videos: Path,
    limit: int | None = None,
    shard: Shard = ALONE,
    cost: RunCost | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> dict[str, PredictionRecord] | None:
    """Ask what ``plan`` has no answer to; its videos are relative to the folder ``videos``.

    Every process of a launcher calls this with the same plan and its own shard.

    Args:
        method: what the plan was made for.
        limit: at most this many videos.
        shard: which of the processes this is.
        cost: is added to, and written beside the file of this process after each clip.
        on_clip: called with the clips done by this process and all that it has to do, first with none done.

    Returns:
        All predictions that lie at ``out`` now; None in processes other than the main one.

    Raises:
        InputError: ``out`` cannot be written, or another run writes it or has done so.
    """
    if shard.processes > 1 and plan.out.is_file():
        raise InputError(
            f"{plan.out}: is a file, and {shard.processes} processes write a folder; give another --out"
        )
    pending = plan.pending(limit)
    mine = set(shard.of(sorted({clip.video for clip in pending})))
    own = [clip for clip in pending if clip.video in mine]

    shard.wait()  # all have read what lies there, before it is changed
    with ExitStack() as until_done:
        if shard.is_main:
            until_done.enter_context(only_writer(plan.out))
            _begin(plan, shard)
        shard.wait()
        _answer(method, plan, videos, own, rank_file(plan.out, shard.rank, shard.processes), cost, on_clip)
        shard.wait()
    return read_predictions(plan.out) if shard.is_main else None


def _begin(plan: PredictionPlan, shard: Shard) -> None:
    """Bring the place into the state of a run that was stopped between two lines."""
    if plan.restart:
        remove(plan.out)
    elif read_kept(plan.out) != plan.kept:
        raise InputError(f"{plan.out}: another run wrote to it meanwhile; give the same command again")
    if shard.processes > 1:
        plan.out.mkdir(exist_ok=True)
    begin(plan.out, plan.kept, plan.run)


def _answer(
    method: Method,
    plan: PredictionPlan,
    videos: Path,
    clips: Sequence[ClipQuestions],
    out: Path,
    cost: RunCost | None,
    on_clip: Callable[[int, int], None] | None,
) -> None:
    """Append the answers to some clips to the file of this process."""
    # A file without a kept line starts again from nothing, and so does its cost.
    earlier = read_cost(cost_path(out)) if plan.kept.files.get(out) else []
    try:
        handle = out.open("a", encoding="utf-8")
    except OSError as problem:
        raise unwritable(out, problem) from problem
    with handle:
        if on_clip is not None:
            on_clip(0, len(clips))
        for number, clip in enumerate(clips, start=1):
            # Sentences of a clip are answered in one batch, and rounding depends on the batch: a clip that was
            # stopped in the middle is asked again as a whole, so that its answers come out the same.
            answers, costs = ask(method, videos, clip)
            for answer in answers:
                if answer.id not in plan.done:
                    handle.write(to_line(answer.to_json()))
            handle.flush()

            if cost is not None and costs:
                for one in costs:
                    cost.add(one)
                write_cost(cost_path(out), [*earlier, cost])
            if on_clip is not None:
                on_clip(number, len(clips))
