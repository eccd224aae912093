"""Answers to a truth file: one line of ``predictions.jsonl`` per question, appended as they come.

A run that was stopped goes on where it was: questions that have an answer are not asked again. A video that
cannot be read gives a line with status ``failed`` and the reason, never silence; the next run asks it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bridge_stg.errors import InputError
from bridge_stg.evaluation.cost import RunCost, cost_path, read_cost, write_cost
from bridge_stg.evaluation.methods import Method, MethodName, ask
from bridge_stg.evaluation.resume import (
    Kept,
    RunRecord,
    begin,
    check_replaceable,
    check_same_run,
    put_in_order,
    read_all,
    remove,
    run_record,
)
from bridge_stg.evaluation.sharding import Share, part_path
from bridge_stg.files.one_writer import State, fingerprint, only_writer, parts_of
from bridge_stg.files.output_files import check_output
from bridge_stg.records.part import ClipQuestions, choose_task, group_questions
from bridge_stg.records.record import read_truth
from bridge_stg.types import Task

MODELS = ("bridge-stg", "qwen3-vl")
ALONE = Share()


@dataclass(frozen=True)
class Plan:
    """A run whose input was looked at and whose output may be written; see ``plan_run``.

    ``cost`` is what the answers that are kept took, ``seen`` the state of the files when they were looked at.
    """

    task: Task
    clips: tuple[ClipQuestions, ...]
    out: Path
    kept: Kept
    run: RunRecord
    cost: tuple[RunCost, ...] = ()
    seen: State = ()

    @property
    def ids(self) -> list[str]:
        """All questions in the order of the finished file."""
        return [record.id for clip in self.clips for record in clip.records]

    def pending(self, limit: int | None = None) -> list[ClipQuestions]:
        """The clips with a question to be asked, among the first ``limit`` videos."""
        videos = sorted({clip.video for clip in self.clips})[:limit]
        done, wanted = self.kept.answered, set(videos)
        return [
            clip
            for clip in self.clips
            if clip.video in wanted and any(record.id not in done for record in clip.records)
        ]


def plan_run(
    checkpoint: str | None,
    truth: Path,
    out: Path,
    box_fps: float | None = None,
    oracle_window: bool = False,
    restart: bool = False,
    task: Task | None = None,
    method: MethodName = "bridge-stg",
    train_truth: Path | None = None,
) -> Plan:
    """Everything that can be wrong before a model is loaded; writes nothing.

    Args:
        checkpoint: as ``VideoGrounder.from_pretrained`` takes it, or a Qwen3-VL folder or hub id for that
            method; None for a constant.
        truth: truth.jsonl; its questions of one task are asked, in the order of their videos.
        out: predictions.jsonl; answers that it has already are kept.
        box_fps: boxes per second inside the window; None for the frames that the model reads.
        oracle_window: locate inside the true window (Table 14) instead of the predicted one.
        restart: keep nothing of ``out``.
        task: by default stvg if there is any, else the only one.
        method: who answers.
        train_truth: what "best-constant" is fitted to.

    Raises:
        InputError: no question of the task, an option that means nothing for it, ``out`` is not a predictions
            file or was made in another way.
        DataError: ``truth`` cannot be read.
    """
    if method not in get_args(MethodName):
        raise InputError(f"no method {method!r}; there is: {', '.join(get_args(MethodName))}")
    records = read_truth(truth)
    chosen = choose_task(records, task, truth)
    _check_options(method, chosen, checkpoint, train_truth, box_fps, oracle_window)
    clips = group_questions(records, chosen)
    run = run_record(method, checkpoint, truth, train_truth, chosen, box_fps, oracle_window)
    ids = {record.id for clip in clips for record in clip.records}
    check_output(out, [truth, train_truth])
    seen = fingerprint(out)
    if restart:
        check_replaceable(out)
        stale = parts_of(out)
        return Plan(chosen, clips, out, Kept({}, clean=False, parts=tuple(stale)), run, seen=seen)
    kept = read_all(out)
    check_same_run(out, kept, run, ids)
    spent = [entry for path in (out, *parts_of(out)) for entry in read_cost(cost_path(path))]
    return Plan(chosen, clips, out, kept, run, tuple(spent) if kept.lines else (), seen)


def _check_options(
    method: MethodName,
    task: Task,
    checkpoint: str | None,
    train_truth: Path | None,
    box_fps: float | None,
    oracle_window: bool,
) -> None:
    """Refuse what would be ignored."""
    model = method in MODELS
    if model and checkpoint is None:
        raise InputError(f"--method {method} needs a --checkpoint")
    if not model and checkpoint is not None:
        raise InputError(f"--method {method} looks at no video and takes no --checkpoint; leave it out")
    if method == "best-constant" and train_truth is None:
        raise InputError(
            "--method best-constant needs --train-truth FILE: the truth.jsonl of a training split to fit it to"
        )
    if method != "best-constant" and train_truth is not None:
        raise InputError(f"--train-truth is for --method best-constant, not for {method}; leave it out")
    if oracle_window and not (model and task == "stvg"):
        raise InputError(
            f"--oracle-window is for models and stvg, not for {task} by {method}: there is no window to replace"
        )
    if box_fps is not None and not (model and task in ("stvg", "vot")):
        raise InputError(
            f"--box-fps is for models and stvg or vot, not for {task} by {method}: there is no tube to sample"
        )


def predict(
    method: Method,
    plan: Plan,
    videos: Path,
    limit: int | None = None,
    share: Share = ALONE,
    cost: RunCost | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> Kept | None:
    """Ask what ``plan`` has no answer to; its videos are relative to the folder ``videos``.

    Every process of a launcher calls this with the same plan and its own share.

    Args:
        method: what the plan was made for.
        limit: at most this many videos.
        share: which of the processes this is.
        cost: is added to, and written beside ``out`` after each clip.
        on_clip: called with the clips done by this process and all that it has to do.

    Returns:
        What the whole file holds now; None in processes other than the main one.

    Raises:
        InputError: ``out`` cannot be written, or another run writes it.
    """
    pending = plan.pending(limit)
    mine = set(share.of(sorted({clip.video for clip in pending})))
    own = [clip for clip in pending if clip.video in mine]
    share.wait()  # all have read what lies there, before it is changed
    with ExitStack() as until_done:
        if share.is_main:
            until_done.enter_context(only_writer(plan.out, plan.seen))
            _begin(plan)
        share.wait()
        if share.is_main or own:
            earlier = list(plan.cost) if share.processes == 1 else []
            _answer(method, plan, videos, own, part_path(plan.out, share), cost, earlier, on_clip)
        share.wait()
        if not share.is_main:
            return None
        _join_costs(plan)
        return put_in_order(plan.out, plan.ids)


def _begin(plan: Plan) -> None:
    """Bring file, parts and costs into the state of a run by one process that was stopped."""
    begin(plan.out, plan.kept, plan.run)
    if plan.cost:
        write_cost(cost_path(plan.out), plan.cost)
    else:
        remove([cost_path(plan.out)])
    remove([cost_path(part) for part in plan.kept.parts])


def _answer(
    method: Method,
    plan: Plan,
    videos: Path,
    clips: Sequence[ClipQuestions],
    out: Path,
    cost: RunCost | None,
    earlier: Sequence[RunCost],
    on_clip: Callable[[int, int], None] | None,
) -> None:
    done = plan.kept.answered
    try:
        handle = out.open("a", encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{out}: cannot be written ({problem.strerror}); give another --out") from problem
    with handle:
        for number, clip in enumerate(clips, start=1):
            # Sentences are answered side by side, and rounding knows its neighbours: a clip that was stopped
            # in the middle is asked in whole again, so that the file comes out the same.
            answers, costs = ask(method, videos, clip)
            for answer in answers:
                if answer.id not in done:
                    handle.write(json.dumps(answer.to_json(), separators=(",", ":")) + "\n")
            handle.flush()
            if cost is not None and costs:
                for one in costs:
                    cost.add(one)
                write_cost(cost_path(out), [*earlier, cost])
            if on_clip is not None:
                on_clip(number, len(clips))


def _join_costs(plan: Plan) -> None:
    parts = [cost_path(part) for part in parts_of(plan.out)]
    entries = [entry for path in parts for entry in read_cost(path)]
    if entries:
        write_cost(cost_path(plan.out), [*plan.cost, *entries])
    remove(parts)
