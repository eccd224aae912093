"""What can answer the questions of a clip: a checkpoint, or a constant that looks at nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from bridge_stg.errors import InputError, VideoError, one_line
from bridge_stg.evaluation.constants import ConstantAnswer
from bridge_stg.inference.cost import ClipCost
from bridge_stg.metrics.choice import letter_of
from bridge_stg.records.part import ClipQuestions, true_windows
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import GroundingResult, TimeSpan

if TYPE_CHECKING:
    from bridge_stg.inference.door import Grounder

MethodName = Literal["bridge-stg", "qwen3-vl", "whole-clip", "best-constant"]
Answered = tuple[list[PredictionRecord], ClipCost | None]


class Method(Protocol):
    """Answers the questions of one clip."""

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        """One prediction per record of ``clip``, whose video is relative to the folder ``videos``.

        Raises:
            InputError: the video cannot be read, or a question cannot be asked.
        """
        ...


class GrounderMethod:
    """A grounder with the questions that it can be asked.

    Args:
        box_fps: boxes per second; None for the frames that the model reads.
        oracle_window: locate inside the true window (Table 14) instead of the predicted one.
    """

    def __init__(self, grounder: Grounder, box_fps: float | None = None, oracle_window: bool = False) -> None:
        self.grounder, self.box_fps, self.oracle_window = grounder, box_fps, oracle_window

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        costs: list[ClipCost] = []
        results = self.grounder.ground_many(
            videos / clip.video,
            clip.queries,
            times=clip.times,
            box_fps=self.box_fps,
            window=[true_window(record) for record in clip.records] if self.oracle_window else None,
            task=clip.task,
            clip=clip.span,
            on_cost=costs.append,
        )
        answers = [to_prediction(record, result) for record, result in zip(clip.records, results, strict=True)]
        return answers, costs[0]


class ConstantMethod:
    """One answer for all, without a look at the video."""

    def __init__(self, constant: ConstantAnswer) -> None:
        self.constant = constant

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        return self.constant.predict(clip.records), None


def ask(method: Method, videos: Path, clip: ClipQuestions) -> tuple[list[PredictionRecord], list[ClipCost]]:
    """One prediction per record, failed ones with their reason, and the cost of what was answered."""
    from torch import OutOfMemoryError

    try:
        answers, cost = method.answer(videos, clip)
    except InputError as problem:
        if len(clip.records) > 1 and not isinstance(problem, VideoError):
            # One sentence that cannot be asked does not take the others of its clip with it.
            alone = [
                ask(method, videos, ClipQuestions(clip.task, clip.video, clip.frames, (record,)))
                for record in clip.records
            ]
            return [one for found, _ in alone for one in found], [one for _, costs in alone for one in costs]
        return failed(clip, str(problem)), []
    except (OutOfMemoryError, MemoryError) as problem:
        return failed(clip, f"out of memory: {one_line(problem, 200)}"), []
    return answers, [] if cost is None else [cost]


def failed(clip: ClipQuestions, reason: str) -> list[PredictionRecord]:
    """A line for each question, with the reason why it has no answer."""
    return [PredictionRecord(record.id, status="failed", text=reason) for record in clip.records]


def true_window(record: TruthRecord) -> TimeSpan:
    """The window of the truth in seconds."""
    return true_windows(record)[0]  # every stvg record has one


def to_prediction(record: TruthRecord, result: GroundingResult) -> PredictionRecord:
    """An answer as a line of ``predictions.jsonl``."""
    tube = result.tube
    lettered = record.task == "vqa" and bool(record.choices) and not record.labels
    return PredictionRecord(
        record.id,
        status=result.status,
        text=result.answer,
        windows=((result.window, 1.0),) if result.window is not None else (),
        times=tube.times if tube is not None else np.zeros(0),
        boxes=tube.boxes if tube is not None else np.zeros((0, 4)),
        scores=tube.scores if tube is not None else np.zeros(0),
        choice=letter_of(result.answer, record.letters) if lettered else None,
    )
