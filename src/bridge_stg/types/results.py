"""What grounding gives: windows, a box per frame, and both as ``tube.json``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.types.tasks import AnswerStyle, Status
from bridge_stg.types.times import FrameTimes, TimeSpan
from bridge_stg.types.video import VideoInfo

TUBE_SCHEMA = "bridge-stg/tube/1"


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
    ``absent_probability``: how probable it was that the answer begins as a refusal, as the model gives it; None
    where that was not asked. It is not part of ``tube.json``.
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
    absent_probability: float | None = None

    @property
    def text(self) -> str:
        """All that the model said, in its order."""
        return f"{self.reasoning} {self.answer}".strip()

    @property
    def mean_score(self) -> float | None:
        """Mean objectness over the tube; None without a tube."""
        return float(self.tube.scores.mean()) if self.tube is not None and len(self.tube) else None

    def with_notes(self, notes: Iterable[str]) -> GroundingResult:
        """The result with more notes, each once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

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

        # The window and the boxes, where there are any.
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
