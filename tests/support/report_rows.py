"""Records and answers of these tests: 10 frames per second, so that a second is ten frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bridge_stg.evaluation.report.scored_queries import ScoredQueries, score_each
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan

BOX = (10.0, 10.0, 30.0, 30.0)


def true(name: str, start: int = 20, end: int = 40, **changes: Any) -> TruthRecord:
    """Frames ``start`` to ``end`` of 100, the target still."""
    values: dict[str, Any] = {
        "id": name,
        "task": "stvg",
        "video": f"{name}.mp4",
        "fps": 10.0,
        "frame_count": 100,
        "clip": (0, 100),
        "width": 64,
        "height": 64,
        "query": "?",
        "window": (start, end),
        "boxes": dict.fromkeys(range(start, end), BOX),
    }
    return TruthRecord(**(values | changes))


def said(name: str, start: float, end: float, boxes: Sequence[Sequence[float]] = (BOX,)) -> PredictionRecord:
    """A window in seconds; the boxes are put on its first frames, one per frame."""
    return PredictionRecord(
        name,
        windows=((TimeSpan(start, end), 1.0),),
        times=start + 0.1 * np.arange(len(boxes)),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.ones(len(boxes)),
    )


def judged(
    truth: Sequence[TruthRecord], answers: Sequence[PredictionRecord], protocol: str | None = None
) -> ScoredQueries:
    found = score_each(truth, {answer.id: answer for answer in answers}, truth[0].task, protocol)
    assert found is not None
    return found
