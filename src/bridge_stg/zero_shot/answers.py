"""Asking a stock Qwen3-VL when and where, and reading what it answers.

The question asks for JSON with boxes in the 0-1000 grid that Qwen3-VL was trained on. Answers come in many
forms; what cannot be read is left out and counted, never guessed:

* The window is the ``start`` and ``end`` of the JSON, else the two times of the words around it; else it is for
  the caller to take it from the times of the boxes.
* Coordinates are in the 0-1000 grid, whatever the size of the frame. When any coordinate of an answer lies more
  than ``GRID_SLACK`` outside the grid, or all of them lie in 0-1, the answer is in another unit (pixels,
  fractions) and all of its boxes are left out. Pixels that happen to stay below 1000 cannot be told apart.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.prompting.parsing import parse_window
from bridge_stg.prompting.templates import GRID
from bridge_stg.zero_shot.lenient_json import Container, Value, read_values

# A box that sticks out a little is clipped; further out, the numbers are not of this grid.
GRID_SLACK = 100.0
# Qwen3-VL writes every digit as a token: this many boxes fit the answer's limit.
MAX_BOXES = 24
# Whole seconds round up: a box named this much after the end of the video is still one of it.
LATE_SECONDS = 1.0

_VIDEO_QUESTION = f"""\
When and where in the video does this happen?
{{query}}
Answer with JSON only, in this form:
{{{{"start": 0.0, "end": 0.0, "boxes": [{{{{"time": 0.0, "bbox_2d": [x1, y1, x2, y2]}}}}]}}}}
"start" and "end" are the seconds between which it happens. "boxes" follow what the sentence is about through \
that time, one box per second and {MAX_BOXES} at most; coordinates run from 0 to 1000 over the width and the \
height of the frame."""
_IMAGE_QUESTION = """\
Where in the image is this?
{query}
Answer with JSON only, in this form:
[{{"bbox_2d": [x1, y1, x2, y2]}}]
Give one box; coordinates run from 0 to 1000 over the width and the height of the image."""

_BOX_KEYS = ("bbox_2d", "bbox", "box_2d", "box", "bounding_box")
_TIME_KEYS = ("time", "timestamp", "t", "seconds", "second")
_START_KEYS = ("start", "start_time", "begin")
_END_KEYS = ("end", "end_time", "stop")
_SPAN_KEYS = ("window", "span", "interval", "time_range", *_TIME_KEYS)

_UNSIGNED = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?"
_NUMBER = re.compile(rf"[+-]?{_UNSIGNED}", re.ASCII | re.IGNORECASE)
_SECONDS = re.compile(rf"<?\s*({_UNSIGNED})\s*(?:s|secs?|seconds?)?\s*>?", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):([0-5]?\d(?:\.\d+)?)\s*s?", re.ASCII)
_CLOCK_IN_WORDS = re.compile(r"(?<![\w:.])(?:\d+:)?\d+:[0-5]\d(?:\.\d+)?(?![\w:]|\.\d)", re.ASCII)

CUT = "entry left out: cut off"
NO_TIME = "box left out: no readable time"
NO_NUMBERS = "box left out: not four numbers"
NO_AREA = "box left out: no area"
OTHER_UNIT = "box left out: not in the 0-1000 grid"
OUTSIDE_VIDEO = "box left out: after the end of the video"
SAME_TIME = "box left out: another one for the same time"
MORE_BOXES = "box left out: more than one in an image"
NOTHING_KNOWN = "object left out: neither a box nor a window"
NO_WINDOW = "window left out: not two readable times"
OTHER_WINDOW = "window left out: another one came first"
SWAPPED = "box mended: corners swapped"
CLIPPED = "box mended: clipped to the frame"


@dataclass(frozen=True)
class ZeroShotAnswer:
    """What an answer says.

    ``window``: two times in seconds as they stand, None if there are none. Shapes: ``times`` (F,) increasing
    seconds (all 0 for an image), ``boxes`` (F, 4) xyxy as fractions of the frame, with area. ``remarks``: what
    was left out or mended, and how many times.
    """

    window: tuple[float, float] | None
    times: NDArray[np.float64]
    boxes: NDArray[np.float64]
    remarks: tuple[tuple[str, int], ...] = ()

    def remarks_text(self) -> str:
        """On one line; empty if there are none."""
        return ", ".join(f"{remark} ({count})" for remark, count in self.remarks)


@dataclass(frozen=True)
class _Entry:
    """A box as it was written, and its time if it has one."""

    time: float | None
    numbers: tuple[float, float, float, float]


def zero_shot_question(query: str, image: bool) -> str:
    """The user's turn about a video, or about an image, which has no time.

    >>> zero_shot_question("the red circle", image=True).splitlines()[1]
    'the red circle'
    """
    return (_IMAGE_QUESTION if image else _VIDEO_QUESTION).format(query=query.strip())


def parse_video_answer(text: str, duration: float = math.inf) -> ZeroShotAnswer:
    """Read an answer about a video that lasts ``duration`` seconds. Never raises.

    >>> answer = parse_video_answer('[{"time": "2s", "bbox_2d": [0, 250, 500, 1000]}]')
    >>> answer.window, answer.times.tolist(), answer.boxes.tolist()
    (None, [2.0], [[0.0, 0.25, 0.5, 1.0]])
    """
    values, words = read_values(_after_thinking(text))
    remarks: Counter[str] = Counter()
    entries, windows = _collect(values, remarks)
    window = windows[0] if windows else parse_window(words) or _clock_window(words)
    remarks[OTHER_WINDOW] += max(len(windows) - 1, 0)

    # An entry without a time is one more that cannot be used.
    timed = [(entry.time, entry) for entry in entries if entry.time is not None]
    remarks[NO_TIME] += len(entries) - len(timed)
    in_video = [(time, entry) for time, entry in timed if time <= duration + LATE_SECONDS]
    remarks[OUTSIDE_VIDEO] += len(timed) - len(in_video)

    # Of two boxes for one time the first counts.
    boxes: dict[float, tuple[float, float, float, float]] = {}
    for time, box in _fractions(in_video, remarks):
        if time in boxes:
            remarks[SAME_TIME] += 1
        else:
            boxes[time] = box

    return _answer(window, sorted(boxes.items()), remarks)


def parse_image_answer(text: str) -> ZeroShotAnswer:
    """Read an answer about an image: the first box counts. Never raises."""
    values, _ = read_values(_after_thinking(text))
    remarks: Counter[str] = Counter()
    entries, _ = _collect(values, remarks)

    boxes = _fractions([(0.0, entry) for entry in entries], remarks)
    remarks[MORE_BOXES] += max(len(boxes) - 1, 0)
    return _answer(None, boxes[:1], remarks)


def _answer(
    window: tuple[float, float] | None,
    boxes: list[tuple[float, tuple[float, float, float, float]]],
    remarks: Counter[str],
) -> ZeroShotAnswer:
    return ZeroShotAnswer(
        window,
        np.array([time for time, _ in boxes], dtype=np.float64),
        np.array([box for _, box in boxes], dtype=np.float64).reshape(-1, 4),
        tuple((remark, count) for remark, count in remarks.items() if count),
    )


def _after_thinking(text: str) -> str:
    """The answer of a model that thinks aloud first; nothing if it never came to an end of that."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def _collect(values: list[Container], remarks: Counter[str]) -> tuple[list[_Entry], list[tuple[float, float]]]:
    """All boxes and windows of the JSON, in the order of the text."""
    entries: list[_Entry] = []
    windows: list[tuple[float, float]] = []
    for container in _every(values):
        if not container.is_object:
            # Four numbers that no key explains are a box all the same.
            if _four_numbers(container) is not None:
                entries += _boxes(container, None, container.cut, remarks)
            continue

        window = _window(container, remarks)
        if window is not None:
            windows.append(window)

        box = container.get(*_BOX_KEYS)
        if box is not None:
            time = _seconds(container.get(*_TIME_KEYS))
            # A box that was given for a whole window stands at its start.
            entries += _boxes(box, window[0] if time is None and window else time, container.cut, remarks)
        elif window is None and not any(container.containers()):
            remarks[CUT if container.cut else NOTHING_KNOWN] += 1

    return entries, windows


def _every(values: list[Container]) -> Iterator[Container]:
    """Containers with all that is inside, in the order of the text; not those inside boxes and spans."""
    waiting = values[::-1]
    while waiting:
        container = waiting.pop()
        yield container
        inner = [
            value
            for key, value in container.items
            if isinstance(value, Container)
            and key.lower() not in _BOX_KEYS
            and (value.is_object or key.lower() not in _SPAN_KEYS)
        ]
        waiting += inner[::-1]


def _boxes(value: Value, time: float | None, cut: bool, remarks: Counter[str]) -> list[_Entry]:
    """The box of one entry as a list of one, or of none with the reason; the first of several counts."""
    if isinstance(value, Container) and not value.is_object and (several := list(value.containers())):
        remarks[SAME_TIME] += len(several) - 1
        value = several[0]

    numbers = _four_numbers(value)
    if numbers is None or (cut and time is None):
        remarks[CUT if cut else NO_NUMBERS] += 1
        return []
    return [_Entry(time, numbers)]


def _four_numbers(value: Value) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 of a list, of an object with these keys, or of a text."""
    if isinstance(value, str):
        parts: list[Value | None] = [*value.strip("[]() ").split(",")]
    elif value.cut:
        return None
    elif value.is_object:
        parts = [value.get(key) for key in ("x1", "y1", "x2", "y2")]
    else:
        parts = [item for _, item in value.items]

    numbers = [_number(part) for part in parts]
    if len(numbers) != 4:
        return None
    x1, y1, x2, y2 = numbers
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return x1, y1, x2, y2


def _window(container: Container, remarks: Counter[str]) -> tuple[float, float] | None:
    """The two times of an object, None if it has none; one of two, or two that cannot be read, is counted."""
    start, end = container.get(*_START_KEYS), container.get(*_END_KEYS)
    if start is None and end is None:
        span = container.get(*_SPAN_KEYS)
        if not isinstance(span, Container) or span.is_object or span.cut:
            return None
        times = [_seconds(value) for _, value in span.items]
    else:
        times = [_seconds(start), _seconds(end)]

    if len(times) == 2 and times[0] is not None and times[1] is not None:
        return times[0], times[1]
    remarks[NO_WINDOW] += 1
    return None


def _fractions(
    entries: list[tuple[float, _Entry]], remarks: Counter[str]
) -> list[tuple[float, tuple[float, float, float, float]]]:
    """Boxes of the grid as fractions of the frame; those that stay, in their order."""
    # One coordinate far outside the grid, or none above 1: all are in another unit.
    coordinates = [number for _, entry in entries for number in entry.numbers]
    if coordinates and (
        min(coordinates) < -GRID_SLACK
        or max(coordinates) > GRID + GRID_SLACK
        or (min(coordinates) >= 0 and 0 < max(coordinates) <= 1)
    ):
        remarks[OTHER_UNIT] += len(entries)
        return []

    kept = []
    for time, entry in entries:
        # In order, and inside the frame.
        x1, y1, x2, y2 = entry.numbers
        left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        ordered = (left, top, right, bottom)
        clipped = tuple(min(max(side, 0.0), GRID) for side in ordered)
        if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
            remarks[NO_AREA] += 1
            continue

        remarks[SWAPPED] += ordered != entry.numbers
        remarks[CLIPPED] += clipped != ordered
        kept.append((time, (clipped[0] / GRID, clipped[1] / GRID, clipped[2] / GRID, clipped[3] / GRID)))
    return kept


def _number(value: Value | None) -> float | None:
    if not isinstance(value, str) or _NUMBER.fullmatch(value.strip()) is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _seconds(value: Value | None) -> float | None:
    """A time that is not negative: 3.5, "3.5s", "<3.5 seconds>", "00:03.5" or "1:00:03.5"."""
    if not isinstance(value, str):
        return None
    plain = _SECONDS.fullmatch(value.strip())
    if plain is not None:
        seconds = float(plain[1])
        return seconds if math.isfinite(seconds) else None

    clock = _CLOCK.fullmatch(value.strip())
    if clock is None:
        return None
    seconds = float(clock[1] or 0) * 3600 + float(clock[2]) * 60 + float(clock[3])
    return seconds if math.isfinite(seconds) else None


def _clock_window(words: str) -> tuple[float, float] | None:
    """Exactly two clock times in words, such as "from 00:02 to 00:04.5"."""
    times = [_seconds(match) for match in _CLOCK_IN_WORDS.findall(words)]
    return (times[0], times[1]) if len(times) == 2 and times[0] is not None and times[1] is not None else None
