"""Careful answers: a clip is looked at several times, and what looks agree on is the answer.

Elsewhere that is called test-time augmentation, or self-consistency.

A look is an answer in one style about one reading of the clip. The second reading has the frames between those
of the first, so that together the looks see twice as many; and one style errs where the other does not. The
mean of windows that agree is nearer to the true one than any of them, and a window of one look is doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bridge_stg.inference.notes import NO_BOXES
from bridge_stg.prompting.templates import windows_text
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan, Tube

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
        return TimeSpan(fmean(span.start for span in spans), fmean(span.end for span in spans))


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


def join_looks(looks: Sequence[GroundingResult], own: int, begin: float) -> GroundingResult:
    """What several looks say of one sentence together; without boxes where it names a window.

    Where more looks refuse than agree on any window, the answer is a refusal. A window stands if at least half
    of the looks, and more than one, have it (tIoU of 0.5 with the one that agrees best with all); else there is
    only the one that most have. Its score is the mean of these looks and of those that have no window which
    stands; they count as 0.

    Args:
        looks: those at the clip itself first, ``own`` of them; the others begin later.
        begin: seconds at which the clip begins; those that an answer names count from there.
    """
    absent = [look for look in looks if look.status == "absent"]
    groups = _agreements([list(look.windows) for look in looks])
    if len(absent) > max((len(one.windows) for one in groups), default=0):
        sure = sum(look.confidence or 0.0 for look in absent) / len(looks)
        notes = _with_count(absent[0], "looks that refuse", len(absent), len(looks))
        return replace(absent[0], confidence=sure, notes=notes)

    if not groups:
        return looks[0]
    common = [one for one in groups if 2 * len(one.windows) >= len(looks) and len(one.windows) > 1]
    standing = common or groups[:1]
    silent = set(range(len(looks))).difference(*(one.windows for one in standing))

    scored = []
    for one in standing:
        sure = sum(found.score or 0.0 for found in one.windows.values()) / (len(one.windows) + len(silent))
        scored.append((ScoredSpan(one.span, sure), sorted(one.windows)))
    scored.sort(key=lambda pair: -(pair[0].score or 0.0))
    best, members = scored[0]

    # The reasoning is that of a scan of the clip itself, whose seconds are those of the answer.
    having = [looks[number] for number in members]
    told = [looks[number] for number in members if number < own and looks[number].reasoning]
    said = told[0] if told else having[0]
    return replace(
        said,
        answer=windows_text([one.span.shifted(-begin) for one, _ in scored]),
        reasoning=told[0].reasoning if told else "",
        window=best.span,
        windows=tuple(one for one, _ in scored),
        confidence=best.score,
        tube=None,
        notes=_with_count(said, "looks that have the best window", len(having), len(looks)),
    )


def wants_boxes(joined: GroundingResult, looks: Sequence[GroundingResult]) -> bool:
    """Whether boxes belong to what was agreed on: some look has them."""
    return bool(joined.windows) and any(look.tube is not None for look in looks)


def with_boxes(joined: GroundingResult, tube: Tube | None) -> GroundingResult:
    """The result with its boxes, without a note of a look that had none."""
    notes = tuple(note for note in joined.notes if tube is None or note != NO_BOXES)
    return replace(joined, tube=tube, notes=notes)


def _with_count(said: GroundingResult, what: str, count: int, all_of_them: int) -> tuple[str, ...]:
    """The notes of the look whose words are shown, and how many agree with it unless all do."""
    return said.notes if count == all_of_them else (*said.notes, f"{what}: {count} of {all_of_them}")


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
