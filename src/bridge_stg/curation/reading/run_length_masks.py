"""Boxes of masks in COCO's compressed run-length text, without making the masks.

By hand: the library of the format is a compiled extension, and it draws each mask to find its box.
"""

from __future__ import annotations

from itertools import accumulate

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.types import Box


def runs(counts: str) -> list[int]:
    """Lengths of alternating runs of background and object, down the columns.

    Each number is written in groups of five bits, low ones first, as one character from "0" on; bit 5 of a
    character says that another one follows, and the highest bit of the last one is the sign. From the fourth
    number on, the difference to the number two before it is written.

    Raises:
        Unusable: the text breaks off or holds other characters.
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise Unusable("a mask that is no run-length text", repr(character))
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue

        # The last character of a number: its sign, then what it is a difference to.
        if bits & 16:
            value -= 1 << shift
        numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
        value, shift = 0, 0

    if shift or min(numbers, default=0) < 0:
        raise Unusable("a mask that is no run-length text", repr(counts[-20:]))
    return numbers


def mask_box(counts: str, height: int, width: int) -> Box | None:
    """The smallest box around a mask: xyxy with the last pixel's far edge; None for an empty mask.

    Raises:
        Unusable: the text is malformed or does not fill a picture of this size.
    """
    # Runs alternate: the odd ones are of the object.
    lengths = runs(counts)
    ends = list(accumulate(lengths))
    if not ends or ends[-1] != height * width:
        raise Unusable(
            "a mask that does not fill its picture", f"{ends[-1] if ends else 0} of {height * width}"
        )

    # Pixels are counted down the columns.
    rows: list[int] = []
    columns: list[int] = []
    for end, length in zip(ends[1::2], lengths[1::2], strict=True):
        if not length:
            continue

        first, last = end - length, end - 1
        columns += [first // height, last // height]
        # A run over the end of a column touches the last row and the first one.
        rows += [first % height, last % height] if first // height == last // height else [0, height - 1]

    if not columns:
        return None
    return float(min(columns)), float(min(rows)), float(max(columns) + 1), float(max(rows) + 1)
