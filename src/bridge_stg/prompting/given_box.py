"""The box by which an object to track is given: how a query writes it, and how it is read back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge_stg.errors import InputError
from bridge_stg.prompting.given_time import FORMS, read_time
from bridge_stg.prompting.templates import GRID, box_text
from bridge_stg.types import Box

# Numbers are short: those with thousands of digits are none to Python.
_NUMBER = r"\s*(\d{1,9})\s*"
_GIVEN = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
# What boxes are mistaken for: numbers, what stands between them, and brackets.
_RUN = re.compile(r"[\d\s.,;+%()\[\]{}-]+")
_BETWEEN = re.compile(r"[\s,;()\[\]{}]+")
_ANY_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)%?")
# How a query gives a box.
_FORM = (
    f"give [left, top, right, bottom], whole numbers from 0 to {GRID}, as in: track it at [100, 250, 500, 900]"
)


@dataclass(frozen=True)
class GivenBox:
    """xyxy in [0, 1] at a second of the clip.

    Raises:
        InputError: it lies outside the frame, or has no area in whole numbers from 0 to GRID, as it is written.
    """

    box: Box
    second: float = 0.0

    def __post_init__(self) -> None:
        if not all(0.0 <= side <= 1.0 for side in self.box):
            raise InputError(f"the box {box_text(self.box)} is outside the frame; {_FORM}")
        x1, y1, x2, y2 = (round(side * GRID) for side in self.box)
        if x1 >= x2 or y1 >= y2:
            raise InputError(
                f"the box {box_text(self.box)} has no area: left must be less than right, and top less than "
                f"bottom; {_FORM}"
            )


def given_text(what: str, given: GivenBox) -> str:
    """What is to be tracked, its first box, and since when, unless it is there from the beginning.

    Examples:
        >>> given_text("track the panda", GivenBox((0.1, 0.25, 0.5, 1.0), 1.5))
        'track the panda at [100, 250, 500, 1000] from 1.5 seconds'
    """
    since = f" from {given.second:.1f} seconds" if given.second else ""
    return f"{what} at {box_text(given.box)}{since}"


def names_box(query: str) -> bool:
    """Whether a query holds a box, of whatever size.

    Examples:
        >>> names_box("track the panda at [100, 250, 100, 250]"), names_box("track the panda")
        (True, False)
    """
    return _GIVEN.search(query) is not None


def check_box_form(query: str) -> None:
    """Three or more numbers in brackets or parentheses are meant as a box, and must be written as one.

    Raises:
        InputError: they are not.
    """
    for run in _RUN.findall(_GIVEN.sub("box", query)):
        opening = re.search(r"[(\[{]", run)
        closing = max(run.rfind(sign) for sign in ")]}")
        if opening is None or closing < opening.start():
            continue
        numbers = [word for word in _BETWEEN.split(run[opening.start() : closing]) if word]
        if len(numbers) >= 3 and all(map(_ANY_NUMBER.fullmatch, numbers)):
            written = run[opening.start() : closing + 1]
            raise InputError(f"{query!r}: {written} is not how a box is written; {_FORM}")


def read_given(query: str, length: float) -> GivenBox:
    """The box of a query, and since when it holds.

    Args:
        length: seconds of the clip.

    Examples:
        >>> read_given("track the panda at [100, 250, 500, 1000] from 1.5 seconds", 4.0)
        GivenBox(box=(0.1, 0.25, 0.5, 1.0), second=1.5)

    Raises:
        InputError: the query gives none or several, one that is outside the frame or has no area, or a time
            that cannot be read or is none of the clip.
    """
    found = list(_GIVEN.finditer(query))
    if not found:
        raise InputError(f"{query!r}: names no box to track; {_FORM}")
    if len(found) > 1:
        raise InputError(f"{query!r}: names {len(found)} boxes; ask once for each object")

    box = found[0]
    second, named = read_time(query[: box.start()], query[box.end() :])
    if second is None:
        raise InputError(
            f"{query!r}: {named!r} cannot be read as the time of the box; write {FORMS} behind the box, and "
            "other words before it"
        )
    if second >= length:
        raise InputError(
            f"{query!r}: gives the box at {named!r}; give seconds from 0 to less than {length:.2f}, as in: "
            "from 1.5 seconds"
        )
    x1, y1, x2, y2 = (int(number) / GRID for number in box.groups())
    try:
        return GivenBox((x1, y1, x2, y2), second)
    except InputError as problem:
        raise InputError(f"{query!r}: {problem}") from problem
