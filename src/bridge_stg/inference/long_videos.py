"""Long videos in pieces that a checkpoint knows: where they lie, and one answer out of theirs.

Neighbouring pieces overlap by half, so that an event of up to half a piece lies whole in one of them. A window
that ends where its piece ends is cut there, and the neighbour sees the rest. Most events lie whole in two
pieces: a window that only one of them sees is half as sure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bridge_stg.errors import InputError
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.door import OnCost, Progress
from bridge_stg.inference.tubes import join_tubes, part_of
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan

OVERLAP = 0.5
# Longer than what a checkpoint knows by this much is not longer: two pieces would be nearly the same.
LONGER = 1.05
# A window that ends this near to an inner end of its piece is cut there (seconds).
NEAR_END = 0.25
# Windows below this share of the best one's confidence are what a checkpoint says of pieces without the event.
KEPT_SHARE = 0.5
# Windows of two pieces are of one event from this tIoU on: one of them may be cut at the end of its piece.
SAME = 0.25
# A piece overlaps its neighbours, and the last one, which is moved back, the one before them too.
REACH = 2
# Pieces of one video: of 16 s they are nine days of it, which take hours. Many more would fill the memory.
MOST_PIECES = 100_000


def pieces_of(extent: TimeSpan, seconds: float | None, longest: float | None = None) -> list[TimeSpan]:
    """Overlapping pieces that cover the clip, each of at most ``seconds``.

    Where None are given they are as long as the ``longest`` clip that a checkpoint knows; what is longer by no
    more than LONGER stays whole.

    >>> pieces_of(TimeSpan(0.0, 20.0), 10.0)
    [TimeSpan(start=0.0, end=10.0), TimeSpan(start=5.0, end=15.0), TimeSpan(start=10.0, end=20.0)]
    >>> pieces_of(TimeSpan(0.0, 9.0), 10.0)
    [TimeSpan(start=0.0, end=9.0)]

    Raises:
        InputError: there would be more than MOST_PIECES.
    """
    if seconds is None:
        if longest is None or extent.length <= LONGER * longest:
            return [extent]
        seconds = longest
    if extent.length <= seconds:
        return [extent]
    step = seconds * (1 - OVERLAP)
    count = 1 + int(np.ceil((extent.length - seconds) / step - 1e-9))
    if count > MOST_PIECES:
        raise InputError(
            f"a video of {extent.length:,.0f} s would be read in {count:,} pieces of {seconds:g} s, and "
            f"{MOST_PIECES:,} are the most; give a longer chunk or a part of the video"
        )
    # The last piece is moved back instead of cut: a short rest would be a clip of another kind.
    starts = [extent.start + min(number * step, extent.length - seconds) for number in range(count)]
    return [TimeSpan(start, min(start + seconds, extent.end)) for start in starts]


def ground_in_pieces(
    pieces: Sequence[TimeSpan],
    ground: Callable[[TimeSpan, Progress | None, OnCost], list[GroundingResult]],
    notes: Sequence[str],
    progress: Progress | None,
    on_cost: OnCost | None,
) -> list[GroundingResult]:
    """One answer per sentence from all pieces, one after the other.

    Args:
        ground: answers all sentences about one piece, and tells its stages and its cost.
        notes: of the whole video.
    """
    found: list[list[GroundingResult]] = []
    costs: list[ClipCost] = []
    for number, piece in enumerate(pieces, start=1):
        tell = None if progress is None else _in_piece(progress, number, len(pieces))
        found.append(ground(piece, tell, costs.append))
    if on_cost is not None:
        on_cost(merge_costs(costs))
    read = f"read in {len(pieces)} overlapping pieces of {pieces[0].length:g} s"
    return [merge_results(pieces, row, (*notes, read)) for row in map(list, zip(*found, strict=True))]


def _in_piece(progress: Progress, number: int, count: int) -> Progress:
    """What tells the stages of one of several pieces."""
    return lambda stage: progress(f"piece {number} of {count}: {stage}")


def merge_results(
    pieces: Sequence[TimeSpan], found: Sequence[GroundingResult], notes: Sequence[str] = ()
) -> GroundingResult:
    """One answer to a sentence out of its answers about the pieces, in order of time.

    A window is as sure as the pieces that hold it whole are in the mean. Windows that are far less sure than
    the best one are left out. Of others that overlap the surest one stands; one that is cut at an end of its
    piece gives way to one that is not. The answer is that of the piece with the best window, in seconds of that
    piece; milliseconds are those of all pieces.

    Args:
        notes: of the whole video; those of the pieces follow.
    """
    candidates = [
        (_is_cut(one.span, piece, pieces), _as_all_see_it(one, index, pieces, found), one.score or 0.0, index)
        for index, (piece, result) in enumerate(zip(pieces, found, strict=True))
        for one in result.windows
    ]
    least = KEPT_SHARE * max((one.score or 0.0 for _, one, _, _ in candidates), default=0.0)
    candidates = [candidate for candidate in candidates if (candidate[1].score or 0.0) >= least]
    # Where all pieces are equally sure of two windows, the one whose own piece is surer comes first.
    candidates.sort(key=lambda item: (item[0], -(item[1].score or 0.0), -item[2], item[1].span.start))
    kept_of: list[list[TimeSpan]] = [[] for _ in pieces]
    kept: list[tuple[ScoredSpan, int]] = []
    for _, one, _, index in candidates:
        near = (other for number in _near(index, pieces) for other in kept_of[number])
        if all(one.span.cut_to(other) is None for other in near):
            kept_of[index].append(one.span)
            kept.append((one, index))
    kept.sort(key=lambda item: -(item[0].score or 0.0))

    notes = tuple(dict.fromkeys([*notes, *(note for result in found for note in result.notes)]))
    timing_ms = _summed([result.timing_ms for result in found])
    if not kept:
        # It happens nowhere: nobody can be surer of that than the piece that is least sure.
        absent = [result for result in found if result.status == "absent"]
        chosen = min(absent or found, key=lambda result: result.confidence or 0.0)
        return replace(chosen, notes=notes, timing_ms=timing_ms)
    best = found[kept[0][1]]
    boxes = [(one, found[index].tube) for one, index in kept]
    return replace(
        best,
        window=kept[0][0].span,
        windows=tuple(one for one, _ in kept),
        confidence=kept[0][0].score,
        tube=join_tubes([part_of(tube, one.span) for one, tube in boxes if tube is not None]),
        notes=notes,
        timing_ms=timing_ms,
    )


def merge_costs(costs: Sequence[ClipCost]) -> ClipCost:
    """What all pieces took together."""

    def totals(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(map(sum, zip(*rows, strict=True)))

    return replace(
        costs[0],
        frames=sum(cost.frames for cost in costs),
        visual_tokens=sum(cost.visual_tokens for cost in costs),
        prompt_tokens=totals([cost.prompt_tokens for cost in costs]),
        answer_tokens=totals([cost.answer_tokens for cost in costs]),
        located_frames=totals([cost.located_frames for cost in costs]),
        milliseconds=_summed([cost.milliseconds for cost in costs]),
    )


def _summed(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Milliseconds of each stage in all pieces."""
    stages = dict.fromkeys(stage for row in rows for stage in row)
    return {stage: sum(row.get(stage, 0.0) for row in rows) for stage in stages}


def _near(index: int, pieces: Sequence[TimeSpan]) -> range:
    """A piece and those that it can share a time with."""
    return range(max(index - REACH, 0), min(index + REACH + 1, len(pieces)))


def _as_all_see_it(
    one: ScoredSpan, index: int, pieces: Sequence[TimeSpan], found: Sequence[GroundingResult]
) -> ScoredSpan:
    """A window with the mean of its score and those of the other pieces that hold it whole.

    That is 0 in one that does not see it; a window without a score has none.

    Args:
        index: of the piece that names it.
    """
    if one.score is None:
        return one
    scores = [one.score]
    for number in _near(index, pieces):
        piece = pieces[number]
        if number != index and piece.start <= one.span.start and one.span.end <= piece.end:
            seen = (other.score or 0.0 for other in found[number].windows if _same(one.span, other.span))
            scores.append(max(seen, default=0.0))
    return replace(one, score=sum(scores) / len(scores))


def _same(one: TimeSpan, other: TimeSpan) -> bool:
    """Whether two windows are of one event."""
    shared = one.cut_to(other)
    return shared is not None and shared.length >= SAME * (one.length + other.length - shared.length)


def _is_cut(window: TimeSpan, piece: TimeSpan, pieces: Sequence[TimeSpan]) -> bool:
    """Whether a window touches an end of its piece at which the video goes on."""
    at_start = window.start <= piece.start + NEAR_END and piece.start > pieces[0].start
    at_end = window.end >= piece.end - NEAR_END and piece.end < pieces[-1].end
    return at_start or at_end
