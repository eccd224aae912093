"""Careful answers: a clip is looked at several times, and what most looks agree on is the answer.

A look is an answer in one style about one reading of the clip. The second reading has the frames between those
of the first, so that together the looks see twice as many; and one style errs where the other does not. The
mean of windows that agree is nearer to the true one than any of them, and a window of one look is doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge_stg.prompting.templates import windows_text
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan

# Windows of two looks are of one event from this tIoU on.
AGREE = 0.5


@dataclass(frozen=True)
class _Agreement:
    """The windows that agree, by the number of the look that each is of."""

    windows: dict[int, ScoredSpan]

    @property
    def span(self) -> TimeSpan:
        """Their mean."""
        spans = [one.span for one in self.windows.values()]
        start, end = (float(np.mean([getattr(span, side) for span in spans])) for side in ("start", "end"))
        return TimeSpan(round(start, 3), round(end, 3))


def readings_of(extent: TimeSpan, sample_fps: float) -> list[TimeSpan]:
    """The parts of a clip whose frames are read: all of it, and all from half a frame later on.

    A clip of less than two pairs of frames is read once.

    >>> readings_of(TimeSpan(0.0, 8.0), 2.0)
    [TimeSpan(start=0.0, end=8.0), TimeSpan(start=0.25, end=8.0)]
    >>> readings_of(TimeSpan(3.0, 4.0), 2.0)
    [TimeSpan(start=3.0, end=4.0)]
    """
    if extent.length < 4 / sample_fps:
        return [extent]
    return [extent, TimeSpan(extent.start + 0.5 / sample_fps, extent.end)]


def join_looks(looks: Sequence[GroundingResult], begin: float) -> GroundingResult:
    """What several looks say of one sentence together; without boxes where it names a window.

    Where more looks refuse than agree on any window, the answer is a refusal. A window stands if at least half
    of the looks have it (tIoU of 0.5 with the one that agrees best with all); else there is only the one that
    most have. Its score is the mean of these looks and of those that have no window which stands; they count as
    0.

    Args:
        begin: seconds at which the clip begins; those that an answer names count from there.
    """
    notes = tuple(dict.fromkeys(note for look in looks for note in look.notes))
    absent = [look for look in looks if look.status == "absent"]
    groups = _agreements([list(look.windows) for look in looks])
    if len(absent) > max((len(one.windows) for one in groups), default=0):
        sure = sum(look.confidence or 0.0 for look in absent) / len(looks)
        return replace(absent[0], confidence=sure, notes=notes)

    if not groups:
        return replace(looks[0], notes=notes)
    standing = [one for one in groups if 2 * len(one.windows) >= len(looks)] or groups[:1]
    silent = set(range(len(looks))).difference(*(one.windows for one in standing))

    windows = []
    for one in standing:
        sure = sum(found.score or 0.0 for found in one.windows.values()) / (len(one.windows) + len(silent))
        windows.append(ScoredSpan(one.span, sure))
    order = sorted(range(len(windows)), key=lambda number: -(windows[number].score or 0.0))
    windows = [windows[number] for number in order]

    # The words are of a look that has the best window, and of those one that says what it saw.
    having = [looks[number] for number in sorted(standing[order[0]].windows)]
    said = max(having, key=lambda look: len(look.reasoning) > 0)
    in_order = sorted((one.span for one in windows), key=lambda span: span.start)
    return replace(
        said,
        answer=windows_text([TimeSpan(span.start - begin, span.end - begin) for span in in_order]),
        status="ok",
        window=windows[0].span,
        windows=tuple(windows),
        confidence=windows[0].score,
        tube=None,
        notes=(*notes, f"{len(having)} of {len(looks)} looks agree on its window"),
    )


def _agreements(looks: list[list[ScoredSpan]]) -> list[_Agreement]:
    """Windows of different looks that agree, those first that agree best; no window is in two of them.

    What overlaps a window that was found, and does not agree with it, is dropped.
    """
    left = [list(windows) for windows in looks]
    found = []
    while any(left):
        groups = [_Agreement(_group(one, left)) for windows in left for one in windows]
        best = max(groups, key=_support)
        found.append(best)
        taken = best.span
        left = [
            [one for one in windows if one is not best.windows.get(number) and one.span.cut_to(taken) is None]
            for number, windows in enumerate(left)
        ]
    return found


def _group(middle: ScoredSpan, left: list[list[ScoredSpan]]) -> dict[int, ScoredSpan]:
    """Of each look the window that agrees best with ``middle``, if one does."""
    group = {}
    for number, windows in enumerate(left):
        near = max(windows, key=lambda one: one.span.tiou(middle.span), default=None)
        if near is not None and near.span.tiou(middle.span) >= AGREE:
            group[number] = near
    return group


def _support(group: _Agreement) -> tuple[float, float]:
    """How much its windows have in common with their mean, then how sure they are."""
    shared = sum(one.span.tiou(group.span) for one in group.windows.values())
    return shared, sum(one.score or 0.0 for one in group.windows.values())
