"""Answers to a truth file: one line of ``predictions.jsonl`` per question, appended as they come.

A run that was stopped goes on where it was: questions that have a line are not asked again. A video that cannot be
read gives a line with status ``failed`` and the reason, never silence.
"""

from __future__ import annotations

import json
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
        limit: at most this many videos.
        oracle_window: locate inside the true window (Table 14) instead of the predicted one.
        on_video: called with the videos done and all of them.

    Returns:
        The number of questions that failed.
    """
    by_video: dict[str, list[TruthRecord]] = defaultdict(list)
    for record in read_truth(truth):
        if record.task == "stvg":
            by_video[record.video].append(record)
    if not by_video:
        raise InputError(f"{truth}: holds no stvg question")
    names = sorted(by_video)[:limit]
    done = _answered(out)
    failed = 0
    with out.open("a", encoding="utf-8") as handle:
        for number, name in enumerate(names, start=1):
            records = [record for record in by_video[name] if record.id not in done]
            for answer in _answer(grounder, videos / name, records, box_fps, oracle_window):
                failed += answer.status == "failed"
                handle.write(json.dumps(answer.to_json(), separators=(",", ":")) + "\n")
            handle.flush()
            if on_video is not None:
                on_video(number, len(names))
    return failed


def _answered(out: Path) -> set[str]:
    """Ids in an unfinished file; a last line cut off by the interruption is dropped from the file."""
    if not out.exists():
        return set()
    text = out.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        out.write_text(whole, encoding="utf-8")
    return {line["id"] for _, line in read_jsonl(out)}


def _answer(
    grounder: VideoGrounder, video: Path, records: list[TruthRecord], box_fps: float | None, oracle_window: bool
) -> list[PredictionRecord]:
    if not records:
        return []
    try:
        if not oracle_window:
            results = grounder.ground_many(video, [record.query for record in records], box_fps=box_fps)
        else:
            results = []
            for record in records:
                assert record.window is not None
                window = frames_to_span(*record.window, record.fps)
                results += grounder.ground_many(video, [record.query], box_fps=box_fps, window=window)
    except (VideoError, InputError) as problem:
        return [PredictionRecord(record.id, status="failed", text=str(problem)) for record in records]
    return [to_prediction(record.id, result) for record, result in zip(records, results, strict=True)]


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
