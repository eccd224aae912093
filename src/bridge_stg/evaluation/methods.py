"""What can answer the questions of a clip: a checkpoint, or a constant that looks at nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from bridge_stg.errors import InputError, VideoError, one_line
from bridge_stg.evaluation.constants import ConstantAnswer
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.options import GroundOptions
from bridge_stg.metrics.choice import choice_of
from bridge_stg.records.part import ClipQuestions, clip_span, true_windows
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.question_text import question_text, subtitled_text
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.subtitles import read_subtitles, said_at
from bridge_stg.types import WINDOW_TASKS, AnswerStyle, GroundingResult, Task, TimeSpan
from bridge_stg.video.sampling import MAX_FPS

if TYPE_CHECKING:
    from bridge_stg.inference.door import Grounder

MethodName = Literal["bridge-stg", "qwen3-vl", "compose", "whole-clip", "best-constant"]
MODELS: tuple[MethodName, ...] = ("bridge-stg", "qwen3-vl", "compose")
Answered = tuple[list[PredictionRecord], ClipCost | None]
# An hour of subtitles at 2 frames per second has about half of this.
MAX_SUBTITLED_TOKENS = 65_536


@dataclass(frozen=True)
class PredictionSettings:
    """Who answers, and how.

    ``checkpoint`` is as ``VideoGrounder.from_pretrained`` takes it, or a Qwen3-VL folder or hub id for that
    method; None for a constant. ``train_truth`` is what "best-constant" is fitted to. ``box_fps`` is boxes per
    second, None for the frames that the model reads and, in tracking, for those of the source.
    ``oracle_window`` locates inside the true window (Table 14) instead of the predicted one. ``answer`` is the
    style of the answer, None that of the checkpoint. ``careful`` looks several times. ``subtitles`` puts what
    is said into a vqa question. ``detector`` is of "compose", None its own.
    """

    method: MethodName = "bridge-stg"
    checkpoint: str | None = None
    train_truth: Path | None = None
    box_fps: float | None = None
    oracle_window: bool = False
    answer: AnswerStyle | None = None
    careful: bool = False
    subtitles: bool = False
    detector: str | None = None

    def check(self, task: Task) -> None:
        """InputError for what would mean nothing or be ignored for ``task``."""
        method = self.method
        if method not in get_args(MethodName):
            raise InputError(f"no method {method!r}; there are: {', '.join(get_args(MethodName))}")
        model = method in MODELS
        if model and self.checkpoint is None:
            raise InputError(f"--method {method} needs a --checkpoint")
        if not model and self.checkpoint is not None:
            raise InputError(f"--method {method} looks at no video and takes no --checkpoint; leave it out")

        if method == "best-constant" and self.train_truth is None:
            raise InputError(
                "--method best-constant needs --train-truth FILE: the truth.jsonl of a training split"
            )
        if method != "best-constant" and self.train_truth is not None:
            raise InputError(f"--train-truth is for --method best-constant, not for {method}; leave it out")

        of = f"not for {task} by {method}"
        if self.oracle_window and not (model and task == "stvg"):
            raise InputError(f"--oracle-window is for models and stvg, {of}: there is no window to replace")
        if self.box_fps is not None and not (model and task in ("stvg", "vot")):
            raise InputError(f"--box-fps is for models and stvg or vot, {of}: there is no tube to sample")
        if self.answer is not None and not (method == "bridge-stg" and task in WINDOW_TASKS):
            raise InputError(f"--answer is for bridge-stg and stvg or vtg, {of}: there is no other style")
        given = self.oracle_window or self.answer is not None
        if self.careful and (given or method != "bridge-stg" or task not in WINDOW_TASKS):
            raise InputError(
                f"--careful is for bridge-stg and stvg or vtg, {of}, nor with --oracle-window or --answer"
            )
        if self.subtitles and not (method == "bridge-stg" and task == "vqa"):
            raise InputError(f"--subtitles is for bridge-stg and vqa, {of}; leave it out")


DEFAULT_SETTINGS = PredictionSettings()


class Method(Protocol):
    """Answers the questions of one clip."""

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        """One prediction per record of ``clip``, whose video is relative to the folder ``videos``.

        Raises:
            InputError: the video cannot be read, or a question cannot be asked.
        """
        ...


class GrounderMethod:
    """A grounder with the questions that it can be asked; ``PredictionSettings`` says what the fields mean."""

    def __init__(self, grounder: Grounder, settings: PredictionSettings = DEFAULT_SETTINGS) -> None:
        self.grounder, self.settings = grounder, settings

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        costs: list[ClipCost] = []
        settings = self.settings
        box_fps = settings.box_fps
        if box_fps is None and clip.task == "vot":
            # GOT-10k is annotated on every frame; boxes between sampled ones would be interpolated.
            box_fps = min(clip.records[0].fps, MAX_FPS)
        options = GroundOptions(
            times=None if clip.times is None else tuple(clip.times),
            box_fps=box_fps,
            answer=settings.answer,
            careful=settings.careful,
            window=tuple(true_window(record) for record in clip.records) if settings.oracle_window else None,
            task=clip.task,
            clip=clip.span,
            max_query_tokens=MAX_SUBTITLED_TOKENS if settings.subtitles else None,
        )
        queries = clip.queries
        if settings.subtitles:
            queries = [self._with_subtitles(videos, record) for record in clip.records]
        results = self.grounder.ground_with(videos / clip.video, queries, options, on_cost=costs.append)
        said = self.grounder.notes
        answers = [
            to_prediction(record, result, said) for record, result in zip(clip.records, results, strict=True)
        ]
        return answers, costs[0]

    def _with_subtitles(self, videos: Path, record: TruthRecord) -> str:
        """The question, after the subtitles of the frames that are read if the record has any."""
        question = question_text(record)
        if record.subtitles is None:
            return question
        subtitles = read_subtitles(videos / record.subtitles)
        span = clip_span(record)
        times = np.arange(span.start, span.end, 1 / self.grounder.sample_fps)
        return subtitled_text(question, said_at(subtitles, times.tolist()))


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
    """The window of the truth in seconds, the first of several; InputError for an event that is absent."""
    if record.absent:
        raise InputError(f"record {record.id!r}: its event is absent, so there is no true window to locate in")
    return true_windows(record)[0]


def to_prediction(record: TruthRecord, result: GroundingResult, said: Collection[str] = ()) -> PredictionRecord:
    """An answer as a line of ``predictions.jsonl``, without notes that were ``said`` once for all answers."""
    tube = result.tube
    lettered = record.task == "vqa" and bool(record.choices) and not record.labels
    return PredictionRecord(
        record.id,
        status=result.status,
        text=result.text,
        # A window that was given, and so has no score, is as sure as can be.
        windows=tuple((one.span, 1.0 if one.score is None else one.score) for one in result.windows),
        times=tube.times if tube is not None else np.zeros(0),
        boxes=tube.boxes if tube is not None else np.zeros((0, 4)),
        scores=tube.scores if tube is not None else np.zeros(0),
        choice=choice_of(result.answer, record.choices) if lettered else None,
        confidence=result.confidence,
        notes=tuple(note for note in result.notes if note not in said),
    )
