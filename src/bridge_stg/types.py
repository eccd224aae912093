"""The values that cross rooms: frozen, checked when made, NumPy only.

Conventions, everywhere in this package: times are seconds on the clock of the video file, where source frame 0
is shown at 0.0; windows are half-open ``[start, end)``; boxes are ``x1, y1, x2, y2`` in pixels of the source
frame; source frame indices count from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError

TUBE_SCHEMA = "bridge-stg/tube/1"
# No video is longer; beyond it sums of seconds lose their meaning.
MOST_SECONDS = 10**9
# No container counts in smaller parts of a second; and so many of them still fit 64 bits.
FINEST_UNIT = Fraction(1, 2**32)

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
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
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
class FrameTimes:
    """How long each frame of a video is shown, as runs of equally long ones.

    ``runs`` holds ``(frames, ticks)``: so many frames, each shown for so many ticks of ``unit`` seconds. It is
    the form of the time-to-sample table of an mp4 (ISO/IEC 14496-12, 8.6.1.2).

    >>> FrameTimes.from_stamps(np.array([0, 3, 6, 15, 24]), Fraction(1, 90), last=9)
    FrameTimes(unit=Fraction(1, 90), runs=((2, 3), (3, 9)))
    """

    unit: Fraction
    runs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not FINEST_UNIT <= self.unit <= MOST_SECONDS:
            raise ValueError(f"the unit of frame times must be positive seconds, got {self.unit}")
        if not self.runs or min(min(run) for run in self.runs) < 1:
            raise ValueError("frame times need runs of at least one frame and one tick")
        if sum(count * ticks for count, ticks in self.runs) * self.unit > MOST_SECONDS:
            raise ValueError(f"frame times can reach {MOST_SECONDS:g} s at most")

    @classmethod
    def from_stamps(cls, stamps: NDArray[np.int64], unit: Fraction, last: int) -> FrameTimes:
        """Of frames that appear at ``stamps`` (N,), increasing, in ``unit`` seconds; the last for ``last``."""
        ticks = np.append(np.diff(stamps), last)
        first = np.flatnonzero(np.append(True, ticks[1:] != ticks[:-1]))
        counts = np.diff(np.append(first, len(ticks)))
        return cls(unit, tuple(zip(counts.tolist(), ticks[first].tolist(), strict=True)))

    @classmethod
    def from_json(cls, value: Any) -> FrameTimes:
        """What ``to_json`` gives; ValueError if it is malformed."""
        if not isinstance(value, dict) or set(value) != {"unit", "runs"} or not isinstance(value["unit"], str):
            raise ValueError("frame_times must be an object of unit and runs")
        runs = value["runs"]
        if not isinstance(runs, list) or not all(_is_run(run) for run in runs):
            raise ValueError("frame_times.runs must be pairs of whole numbers, frames and ticks")
        try:
            unit = Fraction(value["unit"])
        except (ValueError, ZeroDivisionError) as problem:
            raise ValueError("frame_times.unit must be a fraction of a second such as 1/90000") from problem
        return cls(unit, tuple((count, ticks) for count, ticks in runs))

    @property
    def frames(self) -> int:
        return sum(count for count, _ in self.runs)

    def to_json(self) -> dict[str, Any]:
        return {"unit": str(self.unit), "runs": [list(run) for run in self.runs]}


def _is_run(run: object) -> bool:
    return isinstance(run, list) and len(run) == 2 and all(type(number) is int for number in run)


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself, after rotation.

    ``fps`` is exact (30000/1001, not 29.97); for a variable frame rate it is the average rate, and
    ``frame_times`` says how long each frame is shown (None at a constant rate). ``duration`` is in seconds,
    ``frames`` counts the source frames. ``start_time`` is the container time of the first frame, which is
    subtracted from every time given to callers.
    """

    path: str
    width: int
    height: int
    fps: Fraction
    duration: float
    frames: int
    start_time: float = 0.0
    frame_times: FrameTimes | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.path}: frame size must be positive, got {self.width}x{self.height}")
        if self.fps <= 0:
            raise ValueError(f"{self.path}: frame rate must be positive, got {self.fps}")
        if self.frame_times is not None and self.frame_times.frames != self.frames:
            raise ValueError(f"{self.path}: {self.frames} frames, times of {self.frame_times.frames}")

    def to_json(self) -> dict[str, Any]:
        about: dict[str, Any] = {
            "width": self.width,
            "height": self.height,
            "fps": str(self.fps),
            "duration": round(self.duration, 6),
            "frames": self.frames,
        }
        if self.frame_times is not None:
            about["frame_times"] = self.frame_times.to_json()
        return about


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


@dataclass(frozen=True, eq=False)
class Tube:
    """Where: one box per located frame. Two tubes are equal when all their numbers are.

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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tube):
            return NotImplemented
        return self._bytes() == other._bytes()

    def __hash__(self) -> int:
        return hash(self._bytes())

    def _bytes(self) -> tuple[bytes, ...]:
        # Adding 0 makes one of the two zeros, which are equal and have different bytes.
        return (
            (self.times + 0.0).tobytes(),
            self.frames.tobytes(),
            (self.boxes + 0.0).tobytes(),
            (self.scores + 0.0).tobytes(),
        )

    def to_json(self) -> list[dict[str, Any]]:
        """``boxes`` of ``tube.json``."""
        return [
            {
                "time": round(float(time), 6),
                "frame": int(frame),
                "box": [round(float(value), 3) for value in box],
                "score": round(float(score), 6),
            }
            for time, frame, box, score in zip(self.times, self.frames, self.boxes, self.scores, strict=True)
        ]


@dataclass(frozen=True)
class ScoredSpan:
    """A window and how probable it is that it is right, in [0, 1]; None where the model does not say."""

    span: TimeSpan
    score: float | None = None

    def to_json(self) -> dict[str, float | None]:
        score = None if self.score is None else round(self.score, 6)
        return {"start": round(self.span.start, 6), "end": round(self.span.end, 6), "score": score}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ScoredSpan:
        """The window that ``to_json`` wrote."""
        return cls(TimeSpan(float(data["start"]), float(data["end"])), data["score"])


@dataclass(frozen=True)
class GroundingResult:
    """When and where one sentence happens.

    ``windows`` are all windows of the event, best first; ``window`` is the best one, None unless ``status`` is
    ok. ``tube`` holds the boxes of all windows in order of time. ``confidence`` in [0, 1] is that of the best
    window, or of the answer where it has none; None where nothing could be read. ``answer`` comes to the point,
    ``reasoning`` is what the model said before. ``answer_style`` is None where the task knows no styles.
    """

    video: str
    query: str
    status: Status
    answer: str
    info: VideoInfo
    sampled_fps: float
    checkpoint: str
    window: TimeSpan | None = None
    tube: Tube | None = None
    timing_ms: dict[str, float] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    windows: tuple[ScoredSpan, ...] = ()
    confidence: float | None = None
    answer_style: AnswerStyle | None = None
    reasoning: str = ""

    @property
    def text(self) -> str:
        """All that the model said, in its order."""
        return f"{self.reasoning} {self.answer}".strip()

    @property
    def mean_score(self) -> float | None:
        """Mean objectness over the tube; None without a tube."""
        return float(self.tube.scores.mean()) if self.tube is not None and len(self.tube) else None

    def to_json(self) -> dict[str, Any]:
        """One object of ``tube.json`` (schema ``bridge-stg/tube/1``)."""
        window = None
        if self.window is not None:
            window = {"start": round(self.window.start, 6), "end": round(self.window.end, 6)}
        return {
            "schema": TUBE_SCHEMA,
            "video": self.video,
            "query": self.query,
            "status": self.status,
            "answer": self.answer,
            "answer_style": self.answer_style,
            "reasoning": self.reasoning,
            "video_info": self.info.to_json(),
            "window": window,
            "windows": [one.to_json() for one in self.windows],
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "sampled_fps": self.sampled_fps,
            "boxes": [] if self.tube is None else self.tube.to_json(),
            "checkpoint": self.checkpoint,
            "timing_ms": {stage: round(value, 3) for stage, value in self.timing_ms.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GroundingResult:
        """The result that ``to_json`` wrote; numbers come back as they were rounded there.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is not such an object.
        """
        if data["schema"] != TUBE_SCHEMA:
            raise ValueError(f"schema must be {TUBE_SCHEMA}, got {data['schema']!r}")
        if data["status"] not in get_args(Status):
            raise ValueError(f"status must be one of {', '.join(get_args(Status))}, got {data['status']!r}")

        info, window, boxes = data["video_info"], data["window"], data["boxes"]
        tube = None
        if boxes:
            tube = Tube(
                times=np.array([box["time"] for box in boxes], dtype=np.float64),
                frames=np.array([box["frame"] for box in boxes], dtype=np.int64),
                boxes=np.array([box["box"] for box in boxes], dtype=np.float64),
                scores=np.array([box["score"] for box in boxes], dtype=np.float64),
            )

        return cls(
            video=data["video"],
            query=data["query"],
            status=data["status"],
            answer=data["answer"],
            info=VideoInfo(
                path=data["video"],
                width=int(info["width"]),
                height=int(info["height"]),
                fps=Fraction(info["fps"]),
                duration=float(info["duration"]),
                frames=int(info["frames"]),
                frame_times=FrameTimes.from_json(info["frame_times"]) if "frame_times" in info else None,
            ),
            sampled_fps=float(data["sampled_fps"]),
            checkpoint=data["checkpoint"],
            window=None if window is None else TimeSpan(float(window["start"]), float(window["end"])),
            tube=tube,
            timing_ms=dict(data.get("timing_ms", {})),
            notes=tuple(data.get("notes", ())),
            windows=tuple(ScoredSpan.from_json(one) for one in data.get("windows", ())),
            confidence=data.get("confidence"),
            answer_style=data.get("answer_style"),
            reasoning=data.get("reasoning", ""),
        )
