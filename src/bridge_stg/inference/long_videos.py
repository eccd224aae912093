"""Long videos in pieces that a checkpoint knows: where they lie, and one answer out of theirs.

Neighbouring pieces overlap by half, so that an event of up to half a piece lies whole in one of them. A window
that ends where its piece ends is cut there, and the neighbour sees the rest: what both see from end to end of
the time they share, and are about as sure of, is one event, however long. Most events lie whole in two pieces:
a window that only one of them sees is half as sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge_stg.errors import InputError
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.door import OnCost, Progress
from bridge_stg.inference.tubes import join_tubes, part_of
from bridge_stg.prompting.parsing import times_later
from bridge_stg.prompting.scan_times import told_later
from bridge_stg.prompting.templates import windows_text
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan

OVERLAP = 0.5
# Longer than what a checkpoint knows by this much is not longer: two pieces would be nearly the same.
LONGER = 1.05
# A window that ends this near to an inner end of its piece is cut there: a pair of frames (seconds).
NEAR_END = 0.5
# Windows below this share of the best one's confidence are what a checkpoint says of pieces without the event;
# so are parts of an event below this share of its surest part.
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
    progress: Progress | None,
    on_cost: OnCost | None,
) -> list[GroundingResult]:
    """One answer per sentence from all pieces, one after the other.

    Args:
        ground: answers all sentences about one piece, and tells its stages and its cost.
    """
    found: list[list[GroundingResult]] = []
    costs: list[ClipCost] = []
    for number, piece in enumerate(pieces, start=1):
        tell = None if progress is None else _in_piece(progress, number, len(pieces))
        found.append(ground(piece, tell, costs.append))
    if on_cost is not None:
        on_cost(merge_costs(costs))
    read = f"read in {len(pieces)} overlapping pieces of {pieces[0].length:g} s"
    return [merge_results(pieces, row, [read]) for row in map(list, zip(*found, strict=True))]


def _in_piece(progress: Progress, number: int, count: int) -> Progress:
    """What tells the stages of one of several pieces."""
    return lambda stage: progress(f"piece {number} of {count}: {stage}")


# The pieces, by number, that each see a part of a window, in order of time, and what each of them sees.
_Parts = list[tuple[int, ScoredSpan]]


@dataclass(frozen=True)
class _Seen:
    """A window of the video and its score. ``own``: how sure the surest of its own pieces is."""

    span: ScoredSpan
    own: float
    parts: _Parts
    is_cut: bool


def merge_results(
    pieces: Sequence[TimeSpan], found: Sequence[GroundingResult], notes: Sequence[str] = ()
) -> GroundingResult:
    """One answer to a sentence out of its answers about the pieces, in order of time.

    A window is as sure as the pieces that hold it whole are in the mean, one of several pieces as these are.
    Windows that are far less sure than the best one are left out. Of others that overlap the surest one stands;
    one that is cut at an end of its piece gives way to one that is not. The answer names all windows that stay,
    the reasoning is the scan of the piece in which the best one begins, both in seconds of the video;
    milliseconds are those of all pieces.

    Args:
        notes: of the whole video; those of the pieces that the answer is from follow.
    """
    candidates = [_seen(parts, pieces, found) for parts in _chains(pieces, found)]
    least = KEPT_SHARE * max((one.span.score or 0.0 for one in candidates), default=0.0)
    candidates = [one for one in candidates if (one.span.score or 0.0) >= least]
    # Where all pieces are equally sure of two windows, the one whose own piece is surer comes first.
    candidates.sort(key=lambda one: (one.is_cut, -(one.span.score or 0.0), -one.own, one.span.span.start))
    kept_of: list[list[TimeSpan]] = [[] for _ in pieces]
    kept: list[_Seen] = []
    for one in candidates:
        numbers = {near for index, _ in one.parts for near in _near(index, pieces)}
        if all(one.span.span.cut_to(other) is None for number in numbers for other in kept_of[number]):
            for index, _ in one.parts:
                kept_of[index].append(one.span.span)
            kept.append(one)
    kept.sort(key=lambda one: -(one.span.score or 0.0))

    def noted(results: Iterable[GroundingResult]) -> tuple[str, ...]:
        """What is said of the video and of those pieces that the answer is from."""
        return tuple(dict.fromkeys([*notes, *(note for result in results for note in result.notes)]))

    timing_ms = _summed([result.timing_ms for result in found])
    if not kept:
        # It happens nowhere: nobody can be surer of that than the piece that is least sure.
        absent = [number for number, result in enumerate(found) if result.status == "absent"]
        number = min(absent or range(len(found)), key=lambda number: found[number].confidence or 0.0)
        said, start = found[number].answer, pieces[number].start
        return replace(
            found[number],
            # An answer that was cut is a scan.
            answer=told_later(said, start) or times_later(said, start),
            reasoning=told_later(found[number].reasoning, start),
            notes=noted([found[number]]),
            timing_ms=timing_ms,
        )
    best = kept[0]
    first = best.parts[0][0]
    # Where two pieces see an end of the window, one of them may see a little more of it than it has.
    boxes = [
        (part.span.cut_to(one.span.span) or part.span, found[index].tube)
        for one in kept
        for index, part in one.parts
    ]
    return replace(
        found[first],
        answer=windows_text([one.span.span for one in kept]),
        reasoning=told_later(found[first].reasoning, pieces[first].start),
        window=best.span.span,
        windows=tuple(one.span for one in kept),
        confidence=best.span.score,
        tube=join_tubes([part_of(tube, span) for span, tube in boxes if tube is not None]),
        notes=noted(found[index] for one in kept for index, _ in one.parts),
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
    return one.tiou(other) >= SAME


def _chains(pieces: Sequence[TimeSpan], found: Sequence[GroundingResult]) -> list[_Parts]:
    """The windows of all pieces; those that go on in the next piece together with what it sees of them."""
    chains: list[_Parts] = []
    # Which of them may go on, by the piece in which they end.
    going_on: list[list[_Parts]] = [[] for _ in pieces]
    for index, result in enumerate(found):
        for one in result.windows:
            earlier = (chain for number in _near(index, pieces) if number < index for chain in going_on[number])
            seen = (index, one)
            chain = next(
                (
                    chain
                    for chain in earlier
                    if _goes_on(chain[-1], seen, pieces) and _equally_sure([*chain, seen])
                ),
                None,
            )
            if chain is None:
                chain = []
                chains.append(chain)
            else:
                going_on[chain[-1][0]].remove(chain)
            chain.append(seen)
            going_on[index].append(chain)
    return chains


def _goes_on(one: tuple[int, ScoredSpan], other: tuple[int, ScoredSpan], pieces: Sequence[TimeSpan]) -> bool:
    """Whether two pieces see the same event from the beginning to the end of what they share.

    Pieces that share next to nothing, or a rounding, cannot say.
    """
    shared = pieces[one[0]].cut_to(pieces[other[0]])
    if shared is None or shared.length <= 2 * NEAR_END:
        return False
    return all(
        seen.span.start <= shared.start + NEAR_END and seen.span.end >= shared.end - NEAR_END
        for _, seen in (one, other)
    )


def _equally_sure(parts: _Parts) -> bool:
    """Whether no part of an event is far less sure than its surest one; parts without a score say nothing."""
    scores = [one.score for _, one in parts if one.score is not None]
    return not scores or min(scores) >= KEPT_SHARE * max(scores)


def _seen(parts: _Parts, pieces: Sequence[TimeSpan], found: Sequence[GroundingResult]) -> _Seen:
    """A window that one piece sees, or several one after the other."""
    (first, begin), (last, end) = parts[0], parts[-1]
    scores = [one.score for _, one in parts if one.score is not None]
    if len(parts) == 1:
        span = _as_all_see_it(begin, first, pieces, found)
    else:
        mean = sum(scores) / len(scores) if scores else None
        span = ScoredSpan(TimeSpan(begin.span.start, end.span.end), mean)
    at_start = span.span.start <= pieces[first].start + NEAR_END and pieces[first].start > pieces[0].start
    at_end = span.span.end >= pieces[last].end - NEAR_END and pieces[last].end < pieces[-1].end
    return _Seen(span, max(scores, default=0.0), parts, at_start or at_end)
