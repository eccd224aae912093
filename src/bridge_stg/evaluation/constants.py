"""Answers that look at no video: what a score has to beat before it means anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import WINDOW_TASKS, Task, TimeSpan

WINDOW_STEP = 0.05
CENTRES = np.linspace(0.3, 0.7, 5)
SIZES = np.linspace(0.2, 1.0, 9)
CENTRE_BOX = (0.25, 0.25, 0.75, 0.75)


@dataclass(frozen=True)
class ConstantAnswer:
    """One answer for every question: ``start`` and ``end`` as fractions of the clip, ``box`` of the frame,
    ``choice`` a letter.
    """

    start: float
    end: float
    box: tuple[float, float, float, float]
    choice: str = "A"

    def predict(self, records: Sequence[TruthRecord]) -> list[PredictionRecord]:
        """This answer for each record, with the parts that its task asks for."""
        return [self._answer(record) for record in records]

    def _answer(self, record: TruthRecord) -> PredictionRecord:
        if record.task == "vqa":
            return PredictionRecord(record.id, text=self.choice, choice=self.choice)
        span = record.clock.span(*record.clip)
        first, last = span.start, span.end
        if record.task in WINDOW_TASKS:
            span = TimeSpan(first + self.start * (last - first), first + self.end * (last - first))
        window = ((span, 1.0),)
        if record.task == "vtg":
            return PredictionRecord(record.id, windows=window)
        # One box is enough: before the first and after the last predicted box the nearest one holds.
        pixels = np.array([self.box]) * np.array([record.width, record.height] * 2)
        middle = np.array([(span.start + span.end) / 2])
        return PredictionRecord(record.id, windows=window, times=middle, boxes=pixels, scores=np.ones(1))


WHOLE_CLIP = ConstantAnswer(0.0, 1.0, CENTRE_BOX)
# What it is called in each task, which asks for some of its parts.
_WHOLE_CLIP_NAMES: dict[Task, str] = {
    "stvg": "whole clip, centre box",
    "vtg": "whole clip",
    "vot": "centre box",
    "rec": "centre box",
    "vqa": "always A",
}
BEST_CONSTANT, COMMONEST_LETTER, FIRST_BOX = "best constant answer", "commonest letter", "first box held still"


def whole_clip_centre_box(records: Sequence[TruthRecord]) -> list[PredictionRecord]:
    """The whole clip, a box in the middle with half the frame's width and height, and the letter A."""
    return WHOLE_CLIP.predict(records)


def first_box_held_still(record: TruthRecord) -> PredictionRecord:
    """The box that a tracker is given, on every frame: what tracking has to beat."""
    frames, corners = record.boxes_within(record.clip)
    time = record.clock.seconds(frames[:1])
    return PredictionRecord(record.id, times=time, boxes=corners[:1], scores=np.ones(1))


def no_skill_answers(truth: Sequence[TruthRecord], task: Task) -> dict[str, dict[str, PredictionRecord]]:
    """Answers that look at no video, by name and query: what a score has to beat before it means anything.

    The last of them is the hardest to beat. The best constant is fitted to ``truth`` itself, so no constant
    chosen on training data can do better on the grid that is searched.
    """
    records = [record for record in truth if record.task == task and not record.absent]
    fitted = best_constant(records, task).predict(records)
    answers = {
        _WHOLE_CLIP_NAMES[task]: whole_clip_centre_box(records),
        COMMONEST_LETTER if task == "vqa" else BEST_CONSTANT: fitted,
    }
    if task == "vot":
        answers[FIRST_BOX] = [first_box_held_still(record) for record in records]
    return {name: {record.id: record for record in found} for name, found in answers.items()}


def best_constant(records: Sequence[TruthRecord], task: Task) -> ConstantAnswer:
    """The constant that is best on training records of one task, in the parts that the task asks for.

    Best mean temporal IoU of the window and best mean box IoU, both by exhaustive search over a grid and
    independently of each other; the most frequent letter, the first of equals.

    Raises:
        InputError: no record of the task with such answers among ``records``.
    """
    usable = [r for r in records if r.task == task and _is_usable(r)]
    if not usable:
        raise InputError(
            f"the best constant answer needs training records of task {task}; give such a truth.jsonl"
        )
    if task == "vqa":
        letters = Counter(record.choice for record in usable if record.choice is not None)
        most = min(letters, key=lambda letter: (-letters[letter], letter))
        return ConstantAnswer(0.0, 1.0, CENTRE_BOX, most)
    start, end = _best_window(usable) if task in WINDOW_TASKS else (0.0, 1.0)
    return ConstantAnswer(start, end, CENTRE_BOX if task == "vtg" else _best_box(usable))


def _is_usable(record: TruthRecord) -> bool:
    if record.task == "vqa":
        return record.choice is not None
    windowed = record.window is not None or record.task not in WINDOW_TASKS
    return windowed and (bool(record.boxes) or record.task == "vtg")


def _best_window(records: Sequence[TruthRecord]) -> tuple[float, float]:
    windows = np.array(
        [
            [(frame - r.clip[0]) / (r.clip[1] - r.clip[0]) for frame in r.window]
            for r in records
            if r.window is not None
        ]
    )
    ticks = np.linspace(0.0, 1.0, round(1 / WINDOW_STEP) + 1)
    grid = np.array([(start, end) for start in ticks for end in ticks if end > start])
    low = np.maximum(grid[:, None, 0], windows[None, :, 0])
    high = np.minimum(grid[:, None, 1], windows[None, :, 1])
    shared = np.clip(high - low, 0.0, None)
    union = (grid[:, 1] - grid[:, 0])[:, None] + (windows[:, 1] - windows[:, 0])[None] - shared
    best = grid[int((shared / union).mean(axis=1).argmax())]
    return float(best[0]), float(best[1])


def _best_box(records: Sequence[TruthRecord]) -> tuple[float, float, float, float]:
    means = []
    for record in records:
        scale = np.array([record.width, record.height] * 2)
        means.append(record.box_corners.mean(axis=0) / scale)
    truth = np.array(means)
    grid = np.array(
        [
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            for x in CENTRES
            for y in CENTRES
            for w in SIZES
            for h in SIZES
            if x - w / 2 >= -1e-9 and x + w / 2 <= 1 + 1e-9 and y - h / 2 >= -1e-9 and y + h / 2 <= 1 + 1e-9
        ]
    )
    # Candidate by candidate: all at once are hundreds of megabytes, which costs more than the arithmetic.
    best = grid[int(np.argmax([_box_iou(candidate, truth).mean() for candidate in grid]))]
    return float(best[0]), float(best[1]), float(best[2]), float(best[3])


def _box_iou(one: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of one box (4,) with each of (N, 4), of which none is empty: (N,)."""
    width = np.maximum(np.minimum(one[2], boxes[:, 2]) - np.maximum(one[0], boxes[:, 0]), 0.0)
    height = np.maximum(np.minimum(one[3], boxes[:, 3]) - np.maximum(one[1], boxes[:, 1]), 0.0)
    shared = width * height
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    iou: NDArray[np.float64] = shared / ((one[2] - one[0]) * (one[3] - one[1]) + areas - shared)
    return iou
