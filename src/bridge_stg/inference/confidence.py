"""How sure an answer is: from the probabilities of its own tokens and the objectness of its boxes.

A window is as probable as everything that was said on the way to it, times the whole seconds of its two times
and the objectness of its boxes. Said on the way are the words of a scan. Tenths do not count: a time that is a
tenth of a second off is right all the same. ``calibrate`` turns that into how often such answers are right, as
measured (Platt scaling; Guo et al., 2017).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from bridge_stg.inference.tubes import join_tubes, part_of
from bridge_stg.types import GroundingResult

_NUMBER = re.compile(r"(\d+)(?:\.\d+)?")
# A probability this near to 0 or 1 has log odds that still are numbers.
EDGE = 1e-6

Calibration = Sequence[float]


def calibrate(probability: float, calibration: Calibration | None) -> float:
    """A confidence in (0, 1); as it is where nobody measured how often such answers are right.

    Args:
        calibration: slope and offset of the log odds.

    >>> calibrate(0.5, None), calibrate(0.5, (1.0, 0.0)), round(calibrate(0.5, (1.0, 2.0)), 3)
    (0.5, 0.5, 0.881)
    """
    inside = min(max(probability, EDGE), 1 - EDGE)
    if calibration is None:
        return inside
    slope, offset = calibration
    odds = slope * math.log(inside / (1 - inside)) + offset
    return min(max(1 / (1 + math.exp(-min(max(odds, -50.0), 50.0))), EDGE), 1 - EDGE)


def answer_probability(log_probs: Sequence[float]) -> float:
    """Of all tokens of an answer together, as in "this does not happen"."""
    return math.exp(sum(log_probs))


def window_probabilities(
    pieces: Sequence[str], log_probs: Sequence[float], reasoning: str, windows: Sequence[tuple[float, float]]
) -> list[float]:
    """Of each window that an answer names, without its boxes.

    Args:
        pieces: the text of each token of the answer. log_probs: of each token.
        reasoning: what the answer says before it comes to its windows.
        windows: in the order in which they stand, as they were read from the answer.
    """
    text = "".join(pieces)
    ends: list[int] = []
    for piece in pieces:
        ends.append((ends[-1] if ends else 0) + len(piece))
    begins = [0, *ends[:-1]]
    point = text.find(reasoning) + len(reasoning) if reasoning else 0
    said_before = sum(value for end, value in zip(ends, log_probs, strict=True) if end <= point)

    found = []
    numbers = _NUMBER.finditer(text, point)
    for window in windows:
        digits: list[float] = []
        for time in window:
            # The times stand in this order; other numbers, such as frames, may stand between them.
            place = next((match for match in numbers if float(match[0]) == abs(time)), None)
            if place is not None:
                inside = zip(begins, ends, log_probs, strict=True)
                digits += [
                    value for begin, end, value in inside if begin < place.end(1) and end > place.start(1)
                ]
        found.append(math.exp(said_before + sum(digits)))
    return found


def drop_unsure(result: GroundingResult, least: float) -> GroundingResult:
    """The result without windows below a confidence; if none is left, a note says why."""
    kept = tuple(one for one in result.windows if one.score is None or one.score >= least)
    if len(kept) == len(result.windows):
        return result
    if not kept:
        best = max(one.score or 0.0 for one in result.windows)
        note = f"left out: the best window has a confidence of {best:.2f}, below {least:g}"
        return replace(
            result, status="no_window", window=None, windows=(), tube=None, notes=(*result.notes, note)
        )
    tube = result.tube
    if tube is not None:
        tube = join_tubes([part_of(tube, one.span) for one in kept])
    return replace(result, window=kept[0].span, windows=kept, tube=tube)
