"""Answers to a truth file: one line of ``predictions.jsonl`` per question, appended as they come.

A run that was stopped goes on where it was: questions that have an answer are not asked again. A video that
cannot be read gives a line with status ``failed`` and the reason, never silence; the next run asks it again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridge_stg.data.predictions import PredictionRecord
from bridge_stg.data.records import TruthRecord, read_truth
from bridge_stg.errors import InputError, VideoError
from bridge_stg.evaluation.resume import (
    Kept,
    RunRecord,
    begin,
    check_same_run,
    put_in_order,
    read_kept,
    run_record,
)
from bridge_stg.geometry.spans import frames_to_span
from bridge_stg.grounder import VideoGrounder
from bridge_stg.types import GroundingResult


@dataclass(frozen=True)
class Plan:
    """A run whose input was looked at and whose output may be written; see ``plan_run``."""

    by_video: dict[str, list[TruthRecord]]
    out: Path
    kept: Kept
    run: RunRecord


def plan_run(
    checkpoint: str,
    truth: Path,
    out: Path,
    box_fps: float | None = None,
    oracle_window: bool = False,
    restart: bool = False,
) -> Plan:
    """Everything that can be wrong before a model is loaded; writes nothing.

    Args:
        checkpoint: as ``VideoGrounder.from_pretrained`` takes it.
        truth: truth.jsonl; its stvg questions are asked, in the order of their videos.
        out: predictions.jsonl; answers that it has already are kept.
        box_fps: boxes per second inside the window; None for the frames that the model reads.
        oracle_window: locate inside the true window (Table 14) instead of the predicted one.
        restart: keep nothing of ``out``.

    Raises:
        InputError: no stvg question, a question about a part of a video, ``out`` is not a predictions file or
            was made in another way.
        DataError: ``truth`` cannot be read.
    """
    by_video: dict[str, list[TruthRecord]] = defaultdict(list)
    for record in read_truth(truth):
        if record.task != "stvg":
            continue
        if record.clip != (0, record.frame_count):
            raise InputError(
                f"{truth}: record {record.id!r} asks about frames {list(record.clip)} of {record.frame_count}; "
                "questions about a part of a video are not supported yet, cut the video first"
            )
        by_video[record.video].append(record)
    if not by_video:
        raise InputError(f"{truth}: holds no stvg question")
    run = run_record(checkpoint, truth, box_fps, oracle_window)
    kept = Kept({}, clean=False) if restart else read_kept(out)
    if not restart:
        check_same_run(out, kept, run, {record.id for records in by_video.values() for record in records})
    return Plan({name: by_video[name] for name in sorted(by_video)}, out, kept, run)


def predict(
    grounder: VideoGrounder,
    plan: Plan,
    videos: Path,
    limit: int | None = None,
    on_video: Callable[[int, int], None] | None = None,
) -> Kept:
    """Ask what ``plan`` has no answer to; its videos are relative to the folder ``videos``.

    Args:
        grounder: the checkpoint that the plan was made for.
        limit: at most this many videos.
        on_video: called with the videos done and all of them.

    Returns:
        What the whole file holds now.

    Raises:
        InputError: ``out`` cannot be written.
    """
    names = list(plan.by_video)[:limit]
    done = plan.kept.answered
    begin(plan.out, plan.kept, plan.run)
    try:
        handle = plan.out.open("a", encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{plan.out}: cannot be written ({problem.strerror}); give another --out") from problem
    with handle:
        for number, name in enumerate(names, start=1):
            records = plan.by_video[name]
            if any(record.id not in done for record in records):
                # Sentences are answered side by side, and rounding knows its neighbours: a video that was
                # stopped in the middle is asked in whole again, so that the file comes out the same.
                answers = _answer(grounder, videos / name, records, plan.run.box_fps, plan.run.oracle_window)
                for answer in answers:
                    if answer.id not in done:
                        handle.write(json.dumps(answer.to_json(), separators=(",", ":")) + "\n")
                handle.flush()
            if on_video is not None:
                on_video(number, len(names))
    return put_in_order(plan.out, [record.id for records in plan.by_video.values() for record in records])


def _answer(
    grounder: VideoGrounder,
    video: Path,
    records: list[TruthRecord],
    box_fps: float | None,
    oracle_window: bool,
) -> list[PredictionRecord]:
    """One prediction per record, failed ones with their reason."""
    try:
        if oracle_window:
            results = [_inside_truth(grounder, video, record, box_fps) for record in records]
        else:
            results = grounder.ground_many(video, [record.query for record in records], box_fps=box_fps)
    except InputError as problem:
        if len(records) > 1 and not isinstance(problem, VideoError):
            # One sentence that cannot be asked does not take the others of its video with it.
            alone = (_answer(grounder, video, [record], box_fps, oracle_window) for record in records)
            return [answer for answers in alone for answer in answers]
        return [PredictionRecord(record.id, status="failed", text=str(problem)) for record in records]
    return [to_prediction(record.id, result) for record, result in zip(records, results, strict=True)]


def _inside_truth(
    grounder: VideoGrounder, video: Path, record: TruthRecord, box_fps: float | None
) -> GroundingResult:
    assert record.window is not None  # every stvg record has one
    window = frames_to_span(*record.window, record.fps)
    return grounder.ground_many(video, [record.query], box_fps=box_fps, window=window)[0]


def to_prediction(identity: str, result: GroundingResult) -> PredictionRecord:
    """A grounding result as a line of ``predictions.jsonl``."""
    tube = result.tube
    return PredictionRecord(
        identity,
        status=result.status,
        text=result.answer,
        windows=((result.window, 1.0),) if result.window is not None else (),
        times=tube.times if tube is not None else np.zeros(0),
        boxes=tube.boxes if tube is not None else np.zeros((0, 4)),
        scores=tube.scores if tube is not None else np.zeros(0),
    )
