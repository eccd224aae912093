"""The values that cross rooms: frozen, checked when made, NumPy only.

Conventions, everywhere in this package: times are seconds on the clock of the video file, where source frame 0
is shown at 0.0; windows are half-open ``[start, end)``; boxes are ``x1, y1, x2, y2`` in pixels of the source
frame; source frame indices count from 0.
"""

from __future__ import annotations

from bridge_stg.types.results import TUBE_SCHEMA, GroundingResult, ScoredSpan, Tube
from bridge_stg.types.tasks import (
    LOCATED_TASKS,
    WHOLE_CLIP_TASKS,
    WINDOW_TASKS,
    AnswerStyle,
    Box,
    Status,
    Task,
    parse_answer_style,
    parse_task,
)
from bridge_stg.types.times import FINEST_UNIT, MOST_SECONDS, FrameTimes, TimeSpan
from bridge_stg.types.video import SampledVideo, VideoInfo

__all__ = [
    "FINEST_UNIT",
    "LOCATED_TASKS",
    "MOST_SECONDS",
    "TUBE_SCHEMA",
    "WHOLE_CLIP_TASKS",
    "WINDOW_TASKS",
    "AnswerStyle",
    "Box",
    "FrameTimes",
    "GroundingResult",
    "SampledVideo",
    "ScoredSpan",
    "Status",
    "Task",
    "TimeSpan",
    "Tube",
    "VideoInfo",
    "parse_answer_style",
    "parse_task",
]
