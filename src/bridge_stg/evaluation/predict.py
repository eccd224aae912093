"""Answers to a truth file: one line of ``predictions.jsonl`` per question, appended as they come.

A run that was stopped goes on where it was: questions that have a line are not asked again. A video that cannot
be read gives a line with status ``failed`` and the reason, never silence.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bridge_stg.data.predictions import PredictionRecord
from bridge_stg.data.records import TruthRecord, read_jsonl, read_truth
from bridge_stg.errors import InputError, VideoError
from bridge_stg.geometry.spans import frames_to_span
from bridge_stg.grounder import VideoGrounder
from bridge_stg.types import GroundingResult


def predict(
    grounder: VideoGrounder,
    truth: Path,
    videos: Path,
    out: Path,
    limit: int | None = None,
    box_fps: float | None = None,
    oracle_window: bool = False,
    on_video: Callable[[int, int], None] | None = None,
) -> int:
    """Ground every stvg question of ``truth``; its videos are relative to ``videos``.

    Args:
        out: predictions.jsonl; lines that it has already are kept.
        limit: at most this many videos.
        box_fps: boxes per second inside the window; None for the frames that the model reads.
        oracle_window: locate inside the true window (Table 14) instead of the predicted one.
        on_video: called with the videos done and all of them.

    Returns:
        The number of questions that failed now.

    Raises:
        InputError: no stvg question, or ``out`` cannot be written.
        DataError: ``truth`` or the unfinished ``out`` cannot be read.
    """
    by_video: dict[str, list[TruthRecord]] = defaultdict(list)
    for record in read_truth(truth):
        if record.task == "stvg":
            by_video[record.video].append(record)
    if not by_video:
        raise InputError(f"{truth}: holds no stvg question")
    names = sorted(by_video)[:limit]
    done = answered(out)
    failed = 0
    try:
        handle = out.open("a", encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{out}: cannot be written ({problem.strerror}); give another --out") from problem
    with handle:
        for number, name in enumerate(names, start=1):
            records = by_video[name]
            if any(record.id not in done for record in records):
                # Sentences are answered side by side, and rounding knows its neighbours: a video that was
                # stopped in the middle is asked in whole again, so that the file comes out the same.
                for answer in _answer(grounder, videos / name, records, box_fps, oracle_window):
                    if answer.id not in done:
                        failed += answer.status == "failed"
                        handle.write(json.dumps(answer.to_json(), separators=(",", ":")) + "\n")
                handle.flush()
            if on_video is not None:
                on_video(number, len(names))
    return failed


def answered(out: Path) -> set[str]:
    """Ids of the questions that an unfinished file answers; removes a last line cut off in writing."""
    if not out.is_file():
        return set()
    written = out.read_bytes()
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        os.truncate(out, whole)
    return {PredictionRecord.from_json(line).id for _, line in read_jsonl(out)}


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
