"""One record per question: the lines of ``truth.jsonl``.

Windows are half-open source frame indices, boxes xyxy pixels of the source frame. The schema is documented in
``docs/formats.md``.
"""

from __future__ import annotations

import gc
import string
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError
from bridge_stg.files.json_lines import read_lines, to_line
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.records.line_format import LineFormat
from bridge_stg.types import WINDOW_TASKS, Box, FrameTimes, Task

QueryType = Literal["declarative", "interrogative"]
Media = Literal["video", "frames", "image"]
FrameSpan = tuple[int, int]
# No video has more frames, pixels on a side, or frames per second; beyond these, sums are no longer exact.
MOST_FRAMES = 10**8
FPS_RANGE = (1e-6, 1e6)
# Seconds and pixels, in either direction.
LARGEST = 1e9
OPTIONAL_TEXT = (
    "choice",
    "split",
    "answer",
    "source",
    "kind",
    "category",
    "subtitles",
    "provenance",
)


def letters_of(choices: Sequence[str]) -> str:
    """The letters of choices, "ABC" for three."""
    return string.ascii_uppercase[: len(choices)]


@dataclass(frozen=True)
class TruthRecord:
    """A question about a video and its answer.

    ``fps`` is frames per second of the source, on average where ``frame_times`` gives each frame its own time;
    ``clip`` and ``window`` are half-open source frames; ``boxes`` maps source frames to xyxy pixels. Which
    answer fields are present follows from ``task``: stvg has window and boxes, vtg a window, vot and rec boxes,
    vqa ``choices`` and ``choice`` (a letter), or ``choices`` and ``labels`` (one per choice, when any number of
    them can be right), or ``answer`` (free text).

    An event that happens several times has all its ``windows``, in order of time, and ``window`` is the first
    of them; ``all_windows`` is the same for one and for several. ``absent`` says that the event does not
    happen: then there is no window and no box.

    ``media`` says what ``video`` is: a video file, a folder whose pictures in the order of their names are the
    frames, or one picture. ``seconds`` is the window as annotated, for data annotated in seconds: it can end
    after the video does and is not rounded to frames. ``kind`` is the data set's own type of question,
    ``category`` what it is about, ``subtitles`` a path like ``video``, ``provenance`` file and row.

    Raises:
        DataError: fields that contradict each other, or values that nothing can have.
    """

    id: str
    task: Task
    video: str
    fps: float
    frame_count: int
    clip: FrameSpan
    width: int
    height: int
    query: str
    qtype: QueryType = "declarative"
    window: FrameSpan | None = None
    boxes: dict[int, Box] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    choice: str | None = None
    split: str | None = None
    media: Media = "video"
    seconds: tuple[float, float] | None = None
    answer: str | None = None
    labels: tuple[bool, ...] = ()
    source: str | None = None
    kind: str | None = None
    category: str | None = None
    subtitles: str | None = None
    provenance: str | None = None
    windows: tuple[FrameSpan, ...] = ()
    absent: bool = False
    frame_times: FrameTimes | None = None

    def __post_init__(self) -> None:
        # One window and several are two ways to say the same: ``windows`` is left to those that have several.
        if self.windows and self.window is None:
            object.__setattr__(self, "window", self.windows[0])
        if len(self.windows) == 1 and self.window == self.windows[0]:
            object.__setattr__(self, "windows", ())
        self._check_video()
        self._check_windows()
        self._check_boxes()
        self._check_choices()

    @cached_property
    def clock(self) -> VideoClock:
        """What converts between the seconds and the source frames of the video."""
        return VideoClock(self.fps, self.frame_count, self.frame_times)

    @property
    def letters(self) -> str:
        """The letters of the choices, "ABC" for three."""
        return letters_of(self.choices)

    @property
    def all_windows(self) -> tuple[FrameSpan, ...]:
        """Every time the event happens, in order; none for an absent event and for tasks without windows."""
        if self.windows:
            return self.windows
        return () if self.window is None else (self.window,)

    @cached_property
    def box_frames(self) -> NDArray[np.int64]:
        """(G,) the frames that have a box, in the order of ``boxes``."""
        return np.fromiter(self.boxes, np.int64, len(self.boxes))

    @cached_property
    def box_corners(self) -> NDArray[np.float64]:
        """(G, 4) the boxes of ``box_frames``, xyxy pixels."""
        flat = np.fromiter(chain.from_iterable(self.boxes.values()), np.float64, 4 * len(self.boxes))
        return flat.reshape(-1, 4)

    def boxes_within(self, span: FrameSpan) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The frames (G,) of a half-open span that have a box, increasing, and their boxes (G, 4)."""
        frames, corners = self.box_frames, self.box_corners
        if len(frames) > 1 and not (frames[1:] > frames[:-1]).all():
            order = np.argsort(frames)
            frames, corners = frames[order], corners[order]
        first, last = np.searchsorted(frames, span)
        return frames[first:last], corners[first:last]

    def _require(self, fits: bool, message: str) -> None:
        if not fits:
            raise DataError(f"record {self.id!r}: {message}")

    def _check_video(self) -> None:
        for name, known in (("task", Task), ("qtype", QueryType), ("media", Media)):
            value = getattr(self, name)
            self._require(value in get_args(known), f"{name} must be one of {get_args(known)}, got {value!r}")
        low, high = FPS_RANGE
        self._require(
            low <= self.fps <= high, f"fps must be positive, {low:g} to {high:g}, got {float(self.fps):g}"
        )

        sizes = (self.frame_count, self.width, self.height)
        self._require(min(sizes) >= 1, "frame_count, width and height must be positive")
        self._require(max(sizes) <= MOST_FRAMES, f"frame_count, width and height can be {MOST_FRAMES} at most")
        if self.frame_times is not None:
            self._require(
                self.frame_times.frames == self.frame_count,
                f"frame_times are of {self.frame_times.frames} frames, the video has {self.frame_count}",
            )
        self._check_span("clip", self.clip)

    def _check_span(self, name: str, span: FrameSpan) -> None:
        self._require(
            0 <= span[0] < span[1] <= self.frame_count,
            f"{name} {list(span)} must be half-open frames within [0, {self.frame_count}]",
        )

    def _check_windows(self) -> None:
        for window in self.all_windows:
            self._check_span("window", window)
        for earlier, later in zip(self.windows, self.windows[1:], strict=False):
            self._require(
                earlier[1] <= later[0],
                f"windows {list(earlier)} and {list(later)} must be apart and in order of time",
            )
        self._require(
            not self.windows or self.window == self.windows[0],
            f"window {self.window} is not the first of windows {self.windows}; give one of the two fields",
        )

        if self.absent:
            self._require(
                not (self.window or self.boxes or self.seconds),
                "says that the event is absent, and has a window or boxes; give one of them",
            )
        elif self.task in WINDOW_TASKS:
            self._require(self.window is not None, f'task {self.task} needs a window, or "absent": true')

        if self.seconds is not None:
            start, end = self.seconds
            self._require(
                0 <= start < end <= LARGEST, f"seconds must be a start before an end, got {self.seconds}"
            )
            self._require(not self.windows, "seconds is the time of one window, but there are several")

    def _check_boxes(self) -> None:
        """Whether all boxes lie on frames of the video, are finite, and have no negative size."""
        if not self.boxes:
            return
        try:
            frames, corners = self.box_frames, self.box_corners
            fits = (
                len(corners) == len(frames)
                and frames.min() >= 0
                and frames.max() < self.frame_count
                and (np.abs(corners) <= LARGEST).all()
                and (corners[:, 2] >= corners[:, 0]).all()
                and (corners[:, 3] >= corners[:, 1]).all()
            )
        except (ValueError, OverflowError):
            fits = False
        if not fits:
            self._name_the_bad_box()

    def _name_the_bad_box(self) -> None:
        for frame, box in self.boxes.items():
            self._require(
                0 <= frame < self.frame_count,
                f"box of frame {frame} is not within [0, {self.frame_count})",
            )
            self._require(
                len(box) == 4 and all(abs(value) <= LARGEST for value in box),
                f"box of frame {frame} must be 4 finite numbers within {LARGEST:g}, got {str(box)[:80]}",
            )
            self._require(
                box[2] >= box[0] and box[3] >= box[1], f"box of frame {frame} has negative size: {box}"
            )

    def _check_choices(self) -> None:
        count = len(self.choices)
        self._require(
            not self.labels or len(self.labels) == count,
            f"{count} choices need as many labels, got {len(self.labels)}",
        )
        self._require(count <= len(string.ascii_uppercase), f"{count} choices are more than there are letters")
        self._require(
            self.choice is None or self.choice in tuple(self.letters),
            f"choice {self.choice!r} is not the letter of one of its {count} choices "
            f"({', '.join(self.letters) or 'there are none'})",
        )

    def to_json(self) -> dict[str, Any]:
        """The object of a line; fields that say nothing are left out."""
        line: dict[str, Any] = {
            "id": self.id,
            "task": self.task,
            "video": self.video,
            "fps": self.fps,
            "frame_count": self.frame_count,
            "clip": list(self.clip),
            "width": self.width,
            "height": self.height,
            "query": self.query,
            "qtype": self.qtype,
        }

        # The answer: when, where, which choice.
        if self.windows:
            line["windows"] = [list(window) for window in self.windows]
        elif self.window is not None:
            line["window"] = list(self.window)
        if self.absent:
            line["absent"] = True
        if self.boxes:
            line["boxes"] = {str(frame): [round(v, 2) for v in box] for frame, box in self.boxes.items()}
        if self.choices:
            line["choices"] = list(self.choices)

        # How the video is read, and what is known of the question.
        if self.media != "video":
            line["media"] = self.media
        if self.seconds is not None:
            line["seconds"] = list(self.seconds)
        if self.labels:
            line["labels"] = list(self.labels)
        if self.frame_times is not None:
            line["frame_times"] = self.frame_times.to_json()
        for name in OPTIONAL_TEXT:
            if getattr(self, name) is not None:
                line[name] = getattr(self, name)
        return line

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> TruthRecord:
        """One parsed line; DataError naming the record when a field is unknown, missing or malformed."""
        return _from_line(_TRUTH_LINE.convert(line))


def _explain_boxes(line: dict[str, Any]) -> str | None:
    """Which box of a record is malformed: its frame, which the place that msgspec names does not hold."""
    boxes = line.get("boxes")
    if not isinstance(boxes, dict):
        return None
    for frame, box in boxes.items():
        # "020" and "20" would be one frame.
        if not frame.isdecimal() or str(int(frame)) != frame:
            return f"boxes: expected frame numbers as keys, got {frame!r:.80}"
        try:
            msgspec.convert(box, Box)
        except msgspec.ValidationError:
            return f"box of frame {frame}: expected 4 numbers, got {box!r:.80}"
    return None


# A line has the fields of the record, so that they are named once.
_TruthLine = msgspec.defstruct(
    "_TruthLine",
    [
        (one.name, kind)
        if one.default is MISSING and one.default_factory is MISSING
        else (one.name, kind, {} if one.name == "boxes" else one.default)
        for one, kind in zip(fields(TruthRecord), get_type_hints(TruthRecord).values(), strict=True)
    ],
    forbid_unknown_fields=True,
)
_TRUTH_LINE = LineFormat(_TruthLine, "record", _explain_boxes)


def _from_line(line: msgspec.Struct) -> TruthRecord:
    return TruthRecord(**msgspec.structs.asdict(line))


def read_truth(path: str | Path) -> list[TruthRecord]:
    """All records of a ``truth.jsonl``.

    Raises:
        DataError: a line that is malformed or repeats an id; the message names file, line and record.
    """
    records: dict[str, TruthRecord] = {}
    with _without_collector():
        for number, text in read_lines(path):
            try:
                record = _from_line(_TRUTH_LINE.decode(text))
            except DataError as problem:
                raise DataError(f"{path}:{number}: {problem}") from problem
            if record.id in records:
                raise DataError(f"{path}:{number}: duplicate id {record.id!r}")
            records[record.id] = record
    if not records:
        raise DataError(f"{path}: holds no records")
    return list(records.values())


@contextmanager
def _without_collector() -> Iterator[None]:
    """Switch garbage collection off: reading makes millions of boxes, which it would scan again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def write_truth(path: Path, records: Iterable[TruthRecord]) -> None:
    """Write one JSON line per record."""
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(to_line(record.to_json()) for record in records)


def is_text(value: object) -> bool:
    """Whether it is a string that UTF-8 can encode; JSON can also hold half of a character, which it cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
