"""How sure an answer is: from the probabilities of its own tokens and the objectness of its boxes.

After a scan a window is as probable as everything that was said on the way to it, times the whole seconds of
its two times. A short answer says nothing on the way, and its likeliest second may be one of several that are
nearly as likely and as good. So its window counts for how much it is expected to overlap the true one, by what
the model gives to *all* seconds, and for how sure it is that the event happens. Tenths do not count: a time
that is a tenth of a second off is right all the same. Both go with the objectness of the boxes. ``calibrate``
turns that into how often such answers are right, as measured (Platt scaling; Guo et al., 2017).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bridge_stg.inference.tubes import join_tubes, part_of
from bridge_stg.prompting.parsing import without_letter
from bridge_stg.types import GroundingResult

_NUMBER = re.compile(r"(\d+)(?:\.\d+)?")
# Probabilities are kept this far from 0 and 1, so that their log odds are finite.
EDGE = 1e-6

Calibration = Sequence[float]
Window = tuple[float, float]
Numbers = NDArray[np.float64]
# What may stand in the place of a token, each with its log probability.
LikelyTexts = Sequence[tuple[str, float]]


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


def choice_probability(pieces: Sequence[str], log_probs: Sequence[float]) -> float:
    """Of the words of a choice, which count before the letter that may follow; else of the whole answer."""
    return _probability_of_beginning(pieces, log_probs, len(without_letter("".join(pieces))))


def scan_probability(pieces: Sequence[str], log_probs: Sequence[float]) -> float:
    """Of the words of a scan together, which is the first sentence of an answer."""
    return _probability_of_beginning(pieces, log_probs, "".join(pieces).find(".") + 1)


def window_probabilities(
    pieces: Sequence[str], log_probs: Sequence[float], reasoning: str, windows: Sequence[Window]
) -> list[float]:
    """Of each window that an answer names, without its boxes.

    Args:
        pieces: the text of each token of the answer. log_probs: of each token.
        reasoning: what the answer says before it comes to its windows.
        windows: in the order in which they stand, as they were read from the answer.
    """
    text, spans = "".join(pieces), _spans(pieces)
    point = text.find(reasoning) + len(reasoning) if reasoning else 0
    said_before = sum(value for (_, end), value in zip(spans, log_probs, strict=True) if end <= point)

    found = []
    for places in _places_of(windows, text, point):
        inside = (_tokens_in(spans, place.span(1)) for place in places if place is not None)
        found.append(math.exp(said_before + sum(log_probs[index] for one in inside for index in one)))
    return found


def expected_overlaps(
    pieces: Sequence[str], alternatives: Sequence[LikelyTexts], windows: Sequence[Window]
) -> list[float]:
    """The tIoU that each window of a short answer is expected to have with the true one, in [0, 1].

    The model gives a probability to every second at which the event could start, and to every one at which it
    could end; they are taken as independent of each other. What it gives to no second at all overlaps nothing.

    Args:
        pieces: the text of each token of the answer.
        alternatives: the likeliest texts in the place of each token, with their log probabilities.
        windows: in the order in which they stand, as they were read from the answer.
    """
    text, spans = "".join(pieces), _spans(pieces)
    found = []
    for window, places in zip(windows, _places_of(windows, text, 0), strict=True):
        if None in places:
            found.append(0.0)
            continue
        (starts, of_starts), (ends, of_ends) = (
            _seconds(pieces, alternatives, spans, place) for place in places if place is not None
        )
        # Whole seconds vary; their tenths are those that were said.
        starts = starts[:, None] + window[0] % 1
        ends = ends[None] + window[1] % 1
        shared = np.minimum(ends, window[1]) - np.maximum(starts, window[0])
        hull = np.maximum(ends, window[1]) - np.minimum(starts, window[0])
        possible = (ends > starts) & (shared > 0)
        overlap = np.divide(shared, hull, out=np.zeros_like(hull), where=possible)
        found.append(float((of_starts[:, None] * of_ends[None] * overlap).sum()))
    return found


def _seconds(
    pieces: Sequence[str],
    alternatives: Sequence[LikelyTexts],
    spans: Sequence[tuple[int, int]],
    place: re.Match[str],
) -> tuple[Numbers, Numbers]:
    """The whole seconds that could stand in the place of a time, and the probability of each.

    A number of several tokens is changed in one token at a time: what follows that one stays as it was said.
    """
    begin, _ = place.span(1)
    tokens = _tokens_in(spans, place.span(1))
    values, probabilities = [], []
    said_before = 0.0
    for index in tokens:
        low, high = spans[index]
        before, after = place[1][: max(low - begin, 0)], place[1][high - begin :]
        for text, log_prob in alternatives[index]:
            # The number as it was said counts once, at its last token.
            counted = text == pieces[index] and index != tokens[-1]
            if text.strip().isdecimal() and not counted:
                values.append(float(before + text.strip() + after))
                probabilities.append(math.exp(said_before + log_prob))
        said_before += dict(alternatives[index])[pieces[index]]
    return np.array(values), np.array(probabilities)


def _probability_of_beginning(pieces: Sequence[str], log_probs: Sequence[float], end: int) -> float:
    """Of the tokens that lie within the first ``end`` characters of an answer, together."""
    spans = _spans(pieces)
    return answer_probability([value for (_, stop), value in zip(spans, log_probs, strict=True) if stop <= end])


def _spans(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Where each token begins and ends in the text of all."""
    ends = np.cumsum([len(piece) for piece in pieces], dtype=int).tolist()
    return list(pairwise([0, *ends]))


def _tokens_in(spans: Sequence[tuple[int, int]], part: tuple[int, int]) -> list[int]:
    """The tokens of which something is in a part of the text."""
    return [index for index, (begin, end) in enumerate(spans) if begin < part[1] and end > part[0]]


def _places_of(windows: Sequence[Window], text: str, point: int) -> list[list[re.Match[str] | None]]:
    """The numbers in the text from ``point`` on that are the two times of each window."""
    # The times stand in this order; other numbers, such as frames, may stand between them.
    numbers = _NUMBER.finditer(text, point)
    return [
        [next((match for match in numbers if float(match[0]) == abs(time)), None) for time in window]
        for window in windows
    ]


def drop_unsure(result: GroundingResult, least: float) -> GroundingResult:
    """The result without windows below a confidence; if none is left, a note says why.

    A refusal below it says nothing either.
    """
    if result.status == "absent" and result.confidence is not None and result.confidence < least:
        note = f"left out: that it does not happen has a confidence of {result.confidence:.2f}, below {least:g}"
        return replace(result, status="no_window", notes=(*result.notes, note))
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
