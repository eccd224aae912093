"""Constant answers against a table by hand and a plain search."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.evaluation.constants import ConstantAnswer, best_constant, whole_clip_centre_box
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord


def record(
    name: str, window: tuple[int, int], box: tuple[float, float, float, float], task: str = "stvg"
) -> TruthRecord:
    return TruthRecord(
        id=name,
        task=task,  # type: ignore[arg-type]
        video="a.mp4",
        fps=25.0,
        frame_count=200,
        clip=(0, 200),
        width=320,
        height=240,
        query="q",
        window=window,
        boxes=dict.fromkeys(range(*window), box) if task == "stvg" else {},
    )


def test_whole_clip_and_centre_by_hand() -> None:
    """200 frames at 25 per second are 8 s; the middle half of 320 x 240 is 80, 60, 240, 180."""
    answers = whole_clip_centre_box(
        [record("a", (10, 60), (0, 0, 9, 9)), record("b", (3, 9), (0, 0, 1, 1), "vtg")]
    )
    assert [json.loads(json.dumps(a.to_json())) for a in answers] == [
        {
            "id": "a",
            "status": "ok",
            "text": "",
            "windows": [{"start": 0.0, "end": 8.0, "score": 1.0}],
            "boxes": [{"time": 4.0, "box": [80.0, 60.0, 240.0, 180.0], "score": 1.0}],
        },
        {
            "id": "b",
            "status": "ok",
            "text": "",
            "windows": [{"start": 0.0, "end": 8.0, "score": 1.0}],
            "boxes": [],
        },
    ]
    assert PredictionRecord.from_json(answers[0].to_json()).to_json() == answers[0].to_json()


def test_records_that_agree_are_answered_exactly() -> None:
    records = [record(str(i), (50, 150), (96.0, 48.0, 224.0, 144.0)) for i in range(3)]
    best = best_constant(records, "stvg")
    np.testing.assert_allclose([best.start, best.end], [0.25, 0.75])
    np.testing.assert_allclose(best.box, [0.3, 0.2, 0.7, 0.6])


def test_the_best_window_is_the_best_of_all() -> None:
    rng = np.random.default_rng(4)
    records = []
    for number in range(25):
        start = int(rng.integers(0, 150))
        end = int(rng.integers(start + 10, 201))
        records.append(record(str(number), (start, end), (10.0, 10.0, 100.0, 100.0)))

    def mean_iou(start: float, end: float) -> float:
        total = 0.0
        for item in records:
            low, high = item.window[0] / 200, item.window[1] / 200  # type: ignore[index]
            shared = max(0.0, min(high, end) - max(low, start))
            total += shared / ((high - low) + (end - start) - shared)
        return total / len(records)

    best = best_constant(records, "stvg")
    ticks = [tick / 20 for tick in range(21)]
    highest = max(mean_iou(a, b) for a in ticks for b in ticks if b > a)
    assert mean_iou(best.start, best.end) == pytest.approx(highest)


def test_a_clip_inside_a_video_shifts_the_answer() -> None:
    base = record("a", (60, 80), (0, 0, 9, 9))
    inside = replace(base, clip=(50, 150))
    (answer,) = ConstantAnswer(0.25, 0.5, (0, 0, 1, 1)).predict([inside])
    window = answer.best_window
    assert window is not None
    assert (window.start, window.end) == (3.0, 4.0)


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(InputError, match="stvg"):
        best_constant([record("b", (3, 9), (0, 0, 1, 1), "vtg")], "stvg")
