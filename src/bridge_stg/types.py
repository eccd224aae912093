"""The values that cross rooms: frozen, checked when made, NumPy only.

Conventions, everywhere in this package: times are seconds on the clock of the video file, where source frame 0
is shown at 0.0; windows are half-open ``[start, end)``; boxes are ``x1, y1, x2, y2`` in pixels of the source
frame; source frame indices count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError

TUBE_SCHEMA = "bridge-stg/tube/1"

Task = Literal["stvg", "vtg", "vot", "rec", "vqa"]
# Tasks whose answer has boxes.
LOCATED_TASKS: tuple[Task, ...] = ("stvg", "vot", "rec")
# Tasks whose window is all of the clip, whatever the model says.
WHOLE_CLIP_TASKS: tuple[Task, ...] = ("vot", "rec")
Box = tuple[float, float, float, float]
# How an answer is worded: the window alone (the paper's), or second by second first.
AnswerStyle = Literal["direct", "scan"]
Status = Literal["ok", "no_window", "empty_window", "absent"]


def parse_task(name: str) -> Task:
    """``name`` as a task; InputError naming the known ones otherwise."""
    for known in get_args(Task):
        if name == known:
            return cast("Task", known)
    raise InputError(f"no task {name!r}; there is: {', '.join(get_args(Task))}")


def parse_answer_style(name: str) -> AnswerStyle:
    """``name`` as an answer style; InputError naming the known ones otherwise."""
    for known in get_args(AnswerStyle):
        if name == known:
            return cast("AnswerStyle", known)
    raise InputError(f"no answer style {name!r}; there is: {', '.join(get_args(AnswerStyle))}")


@dataclass(frozen=True)
class TimeSpan:
    """A half-open window ``[start, end)`` in seconds.

    >>> TimeSpan(2.0, 4.5).length
    2.5
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start) and np.isfinite(self.end)):
            raise ValueError(f"a window needs finite seconds, got [{self.start}, {self.end})")
        if self.end < self.start:
            raise ValueError(f"a window cannot end before it starts, got [{self.start}, {self.end})")

    @property
    def length(self) -> float:
        return self.end - self.start

    def cut_to(self, extent: TimeSpan) -> TimeSpan | None:
        """The part of the window inside ``extent``; None if none of it is.

        >>> TimeSpan(-1.0, 4.0).cut_to(TimeSpan(0.0, 3.0))
        TimeSpan(start=0.0, end=3.0)
        >>> TimeSpan(1.0, 1.0).cut_to(TimeSpan(0.0, 3.0)) is None
        True
        """
        start, end = max(self.start, extent.start), min(self.end, extent.end)
        return TimeSpan(start, end) if end > start else None

    def shifted(self, seconds: float) -> TimeSpan:
        """The same window ``seconds`` later.

        >>> TimeSpan(1.0, 2.0).shifted(0.5)
        TimeSpan(start=1.5, end=2.5)
        """
        return TimeSpan(self.start + seconds, self.end + seconds)


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself, after rotation.

    ``fps`` is exact (30000/1001, not 29.97); for a variable frame rate it is the average rate. ``duration`` is
    in seconds, ``frames`` counts the source frames. ``start_time`` is the container time of the first frame,
    which is subtracted from every time given to callers.
    """

    path: str
    width: int
    height: int
    fps: Fraction
    duration: float
    frames: int
    start_time: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.path}: frame size must be positive, got {self.width}x{self.height}")
        if self.fps <= 0:
            raise ValueError(f"{self.path}: frame rate must be positive, got {self.fps}")

    def to_json(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "fps": str(self.fps),
            "duration": round(self.duration, 6),
            "frames": self.frames,
        }


@dataclass(frozen=True)
class SampledVideo:
    """Frames read from a video, each with its time.

    Shapes: ``frames`` (F, H, W, 3) uint8 RGB, possibly smaller than the source; ``times`` (F,) float64 seconds;
    ``source_frames`` (F,) int64. ``sampled_fps`` is the rate that was asked for. ``notes`` holds what a person
    should know, such as how much of a truncated file was lost.
    """

    info: VideoInfo
    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    source_frames: NDArray[np.int64]
    sampled_fps: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be (F, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}")
        if count == 0:
            raise ValueError("a sampled video holds at least one frame")
        if self.times.shape != (count,) or self.source_frames.shape != (count,):
            raise ValueError(
                f"{count} frames need {count} times and source indices, "
                f"got {self.times.shape} and {self.source_frames.shape}"
            )
        if count > 1 and not (np.diff(self.times) > 0).all():
            raise ValueError("frame times must increase")

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Tube:
    """Where: one box per located frame.

    Shapes: ``times`` (F,) seconds, ``frames`` (F,) source indices, ``boxes`` (F, 4) xyxy source pixels,
    ``scores`` (F,) objectness in [0, 1].
    """

    times: NDArray[np.float64]
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.times)
        if self.boxes.shape != (count, 4):
            raise ValueError(f"{count} times need boxes of shape ({count}, 4), got {self.boxes.shape}")
        if self.frames.shape != (count,) or self.scores.shape != (count,):
            raise ValueError(
                f"{count} times need {count} frames and scores, got {self.frames.shape}, {self.scores.shape}"
            )
        if not np.isfinite(self.boxes).all():
            raise ValueError("boxes must be finite")

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class GroundingResult:
    """When and where one sentence happens; ``window`` and ``tube`` are None unless ``status`` is ok."""

    video: str
    query: str
    status: Status
    answer: str
    info: VideoInfo
    sampled_fps: float
    checkpoint: str
    window: TimeSpan | None = None
    tube: Tube | None = None
    timing_ms: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def mean_score(self) -> float | None:
        """Mean objectness over the tube; None without a tube."""
        return float(self.tube.scores.mean()) if self.tube is not None and len(self.tube) else None

    def to_json(self) -> dict[str, Any]:
        """One object of ``tube.json`` (schema ``bridge-stg/tube/1``)."""
        boxes = []
        if self.tube is not None:
            for time, frame, box, score in zip(
                self.tube.times, self.tube.frames, self.tube.boxes, self.tube.scores, strict=True
            ):
                boxes.append(
                    {
                        "time": round(float(time), 6),
                        "frame": int(frame),
                        "box": [round(float(value), 3) for value in box],
                        "score": round(float(score), 6),
                    }
                )
        window = None
        if self.window is not None:
            window = {"start": round(self.window.start, 6), "end": round(self.window.end, 6)}
        return {
            "schema": TUBE_SCHEMA,
            "video": self.video,
            "query": self.query,
            "status": self.status,
            "answer": self.answer,
            "video_info": self.info.to_json(),
            "window": window,
            "sampled_fps": self.sampled_fps,
            "boxes": boxes,
            "checkpoint": self.checkpoint,
            "timing_ms": {stage: round(value, 3) for stage, value in self.timing_ms.items()},
            "notes": list(self.notes),
        }
