"""What the files of annotation tools have in common: tubes drawn with keyframes in videos.

Formats differ in how they count frames, in units, and in what holds between two drawn boxes. Each one's file
turns that into :class:`Drawing` when it reads, and takes :class:`DrawnVideo` when it writes; frames count from
0 and boxes are xyxy pixels in both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.geometry.spans import boxes_at
from bridge_stg.records.record import Media
from bridge_stg.types import Box, FrameTimes

Format = Literal["cvat", "labelstudio", "mot", "coco-vid"]
# What tools call the one thing that is drawn; the sentence about it is longer than a label may be.
LABEL = "target"
# XML cannot hold these at all, and no tool shows them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Keyframe:
    """A box drawn on ``frame``, or None: the object is gone from this frame on.

    ``time`` is for tools that count frames at a rate of their own: the second of the video that the frame
    shows. It then says more than ``frame``.
    """

    frame: int
    box: Box | None
    time: float | None = None


@dataclass(frozen=True)
class Drawing:
    """One tube as a file holds it; None stands for what the file does not say.

    ``keys`` are drawn boxes with increasing frames; between two of them the object moves on a straight line,
    after the last one it stays until the drawing ends: at frame ``end``, or with the video. ``percent`` says
    that boxes are in percent of the frame. ``fps``, ``frame_count`` and size are what the file says of the
    video. ``window`` (half-open frames) and ``seconds`` are for formats that say when as well as where. ``id``
    is the user's own name of it, ``qtype`` and ``split`` are as in a record.
    """

    query: str
    keys: tuple[Keyframe, ...] = ()
    end: int | None = None
    fps: float | None = None
    frame_count: int | None = None
    width: int | None = None
    height: int | None = None
    percent: bool = False
    window: tuple[int, int] | None = None
    seconds: tuple[float, float] | None = None
    id: str | None = None
    qtype: str = "declarative"
    split: str | None = None
    frame_times: FrameTimes | None = None

    @property
    def timed(self) -> bool:
        """Whether the tool counts frames at a rate of its own, so that seconds place the boxes."""
        return any(key.time is not None for key in self.keys)


@dataclass(frozen=True)
class Item:
    """One tube of a file that has not been read yet.

    ``name`` tells it from the others of its file, ``where`` is file and line or element, ``video`` a path
    below the root (or a name that a video there has). ``read`` gives the drawing, or raises Unusable.
    """

    name: str
    where: str
    video: str
    read: Callable[[], Drawing]
    media: Media = "video"


@dataclass(frozen=True)
class DrawnTube:
    """A tube to write: a box for every frame in which the object is seen.

    ``keys`` are the frames whose boxes were measured; those of the others lie on straight lines between them.
    None means all. ``score`` is in [0, 1], for what a model found.
    """

    query: str
    boxes: dict[int, Box]
    keys: frozenset[int] | None = None
    score: float | None = None

    def runs(self) -> Iterator[list[int]]:
        """The frames with boxes, in parts without a gap."""
        part: list[int] = []
        for frame in sorted(self.boxes):
            if part and frame > part[-1] + 1:
                yield part
                part = []
            part.append(frame)
        if part:
            yield part

    def is_key(self, frame: int, run: Sequence[int]) -> bool:
        """Whether a tool must take the box as it is; the ends of a part must never be left to it."""
        return self.keys is None or frame in self.keys or frame in (run[0], run[-1])


@dataclass(frozen=True)
class DrawnVideo:
    """A video and the tubes to write into a file about it; ``model`` is who found them, None for a person."""

    video: str
    fps: Fraction
    frame_count: int
    width: int
    height: int
    tubes: tuple[DrawnTube, ...]
    media: Media = "video"
    model: str | None = None
    notes: tuple[str, ...] = field(default=())
    frame_times: FrameTimes | None = None

    @property
    def clock(self) -> VideoClock:
        return VideoClock(self.fps, self.frame_count, self.frame_times)

    @property
    def safe_name(self) -> PurePosixPath:
        """The path of the video as a path that cannot leave the folder it is put into.

        >>> DrawnVideo("../a/b.mp4", Fraction(25), 1, 2, 2, ()).safe_name.as_posix()
        'a/b.mp4'
        """
        parts = [part for part in re.split(r"[/\\]+", self.video) if part not in ("", ".", "..")]
        return PurePosixPath(*[_CONTROL.sub("_", part.replace(":", "_")) for part in parts] or ["video"])


def fill(
    keys: Sequence[Keyframe], end: int, axis: Callable[[ArrayLike], NDArray[np.float64]] | None = None
) -> dict[int, Box]:
    """A box for every frame in which a drawn object is seen, unrounded.

    Args:
        keys: as drawn.
        end: the frame until which the last box stays.
        axis: where frames lie on an axis on which motion is steady; None is their numbers.

    Raises:
        Unusable: two boxes in one frame, or a frame before the first.

    >>> fill([Keyframe(1, (0, 0, 4, 4)), Keyframe(3, (2, 0, 6, 4)), Keyframe(4, None)], 9)[2]
    (1.0, 0.0, 5.0, 4.0)
    """
    frames = [key.frame for key in keys]
    if any(later <= earlier for earlier, later in pairwise(frames)):
        raise Unusable("frames that do not increase", "two boxes of one object in one frame, or out of order")
    if frames and frames[0] < 0:
        raise Unusable("a frame before the first one", str(frames[0]))

    boxes: dict[int, Box] = {}
    for here, after in pairwise([*keys, Keyframe(max([end, *frames]), None)]):
        if here.box is None:
            continue

        boxes[here.frame] = here.box
        between = range(here.frame + 1, after.frame)
        if after.box is None:
            boxes.update(dict.fromkeys(between, here.box))
        elif between:
            drawn = np.array([here.box, after.box], dtype=np.float64)
            places = np.arange(here.frame, after.frame + 1, dtype=np.float64)
            if axis is not None:
                places = axis(np.arange(here.frame, after.frame + 1))
            moving = boxes_at(places[[0, -1]], drawn, places[1:-1])
            for frame, (x1, y1, x2, y2) in zip(between, moving.tolist(), strict=True):
                boxes[frame] = (x1, y1, x2, y2)
    return boxes


def on_source_frames(keys: Sequence[Keyframe], frame_at: Callable[[float], int]) -> tuple[Keyframe, ...]:
    """Keys of a tool with a rate of its own on the frames of the video; others stay where they are.

    Where two keys come to one frame, the later one holds.

    Args:
        keys: in order of time; only boxes have a time, and either all of them or none.
        frame_at: the source frame that is shown at a second.

    >>> on_source_frames([Keyframe(24, (0, 0, 1, 1), 1.0), Keyframe(25, None)], lambda time: round(30 * time))
    (Keyframe(frame=30, box=(0, 0, 1, 1), time=None), Keyframe(frame=31, box=None, time=None))
    """
    if all(key.time is None for key in keys):
        return tuple(keys)

    placed: list[Keyframe] = []
    for key in keys:
        # What is gone was last seen on the frame before.
        last = placed[-1].frame if placed else -1
        frame = frame_at(key.time) if key.time is not None else last + 1
        if placed and frame == last:
            placed.pop()
        placed.append(Keyframe(frame, key.box))
    return tuple(placed)


def separate(boxes: dict[int, Box]) -> tuple[Keyframe, ...]:
    """Keys for boxes that hold on their own frame and no other."""
    keys: list[Keyframe] = []
    for frame in sorted(boxes):
        if keys and keys[-1].frame + 1 < frame:
            keys.append(Keyframe(keys[-1].frame + 1, None))
        keys.append(Keyframe(frame, boxes[frame]))
    return (*keys, Keyframe(keys[-1].frame + 1, None)) if keys else ()


def turned(box: Box, degrees: float, pivot: tuple[float, float]) -> Box:
    """The upright box around ``box`` after a clockwise turn about ``pivot``; all in pixels, y pointing down."""
    if not degrees:
        return box
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = [(x - pivot[0], y - pivot[1]) for x in (box[0], box[2]) for y in (box[1], box[3])]
    xs = [pivot[0] + x * cosine - y * sine for x, y in corners]
    ys = [pivot[1] + x * sine + y * cosine for x, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def plain(query: str) -> str:
    """A sentence on one line, without what XML cannot hold.

    >>> plain(" the red\\n car ")
    'the red car'
    """
    return " ".join(_CONTROL.sub(" ", query).split())


def finite(text: object, what: str) -> float:
    """A number from a file of others.

    Raises:
        Unusable: it is no finite number.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan

    if not math.isfinite(value) or isinstance(text, bool):
        raise Unusable("not a number", f"{what} is {str(text)[:40]!r}")
    return value


def whole(text: object, what: str) -> int:
    """A whole number from a file of others.

    Raises:
        Unusable: it is not one.
    """
    value = finite(text, what)
    if value != int(value) or abs(value) > 2**31 - 1:
        raise Unusable("not a whole number", f"{what} is {str(text)[:40]!r}")
    return int(value)


def unique_names(videos: Iterable[DrawnVideo]) -> Iterator[tuple[PurePosixPath, DrawnVideo]]:
    """Each video with the name of its file; two of one name would overwrite each other.

    Raises:
        DataError: two videos come to the same name.
    """
    seen: dict[PurePosixPath, str] = {}
    for video in videos:
        name = video.safe_name
        if name in seen:
            raise DataError(
                f"{video.video} and {seen[name]} would be written to the same file; export them apart"
            )
        seen[name] = video.video
        yield name, video
