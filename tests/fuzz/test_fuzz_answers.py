"""Damaged model answers: a window inside the clip, a reason instead of one, or nothing; never a traceback."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from fuzz.mutations import ROUNDS, SEED, mutate

from bridge_stg.inference.answer_outcome import read_outcome
from bridge_stg.prompting.parsing import parse_windows, split_reasoning
from bridge_stg.types import TimeSpan
from bridge_stg.zero_shot.answers import parse_image_answer, parse_video_answer

pytestmark = pytest.mark.slow

ANSWERS = (
    "The event starts at 12.2 seconds and ends at 14.7 seconds. The start and end frames are: [24, 29].",
    "The red circle: 0 before, 1 begins, 2 moves, 3 ends. It starts at 1.2 seconds and ends at 3.7 seconds.",
    "This does not happen.",
    '```json\n{"start": 1.0, "end": 3.2, "boxes": [{"time": 1.0, "bbox_2d": [100, 200, 300, 400]}]}\n```',
    "It happens from 00:02.6 to 00:02.9.",
)
EXTENT = TimeSpan(2.0, 12.0)


@pytest.mark.parametrize("answer", ANSWERS)
def test_damaged_answers(answer: str) -> None:
    seen: Counter[str] = Counter()
    draw = random.Random(f"{SEED}/{answer}")
    for number in range(max(ROUNDS // len(ANSWERS), 1)):
        text = mutate(answer.encode(), draw).decode("utf-8", errors="replace")
        try:
            outcome = read_outcome(text, EXTENT)
            parse_windows(text)
            split_reasoning(text)
            stock = parse_video_answer(text, EXTENT.length)
            parse_image_answer(text)
        except BaseException:
            print(f"seed {SEED}, round {number}: {text[:2000]!r}")
            raise

        seen[outcome.status] += 1
        assert (outcome.status == "ok") == bool(outcome.windows)
        for window in outcome.windows:
            assert EXTENT.start <= window.start < window.end <= EXTENT.end
        if stock.window is not None:
            assert all(not math.isnan(value) for value in stock.window)
    print(f"seed {SEED}, {answer[:30]!r}: {dict(seen)}")
    assert sum(seen.values()) == max(ROUNDS // len(ANSWERS), 1)
