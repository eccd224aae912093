"""Long videos in pieces: the pieces cover the video, and the surest whole window stands."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.long_videos import merge_results, pieces_of
from bridge_stg.prompting.parsing import parse_windows
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan, Tube, VideoInfo

INFO = VideoInfo("a.mp4", 10, 10, Fraction(2), 20.0, 40)


@given(start=st.floats(0, 100), length=st.floats(0.1, 5000), seconds=st.floats(1, 100), where=st.floats(0, 1))
def test_every_event_of_half_a_piece_lies_in_one(
    start: float, length: float, seconds: float, where: float
) -> None:
    extent = TimeSpan(start, start + length)
    pieces = pieces_of(extent, seconds)
    assert pieces[0].start == extent.start
    assert pieces[-1].end == pytest.approx(extent.end)
    assert all(piece.length == pytest.approx(min(seconds, length)) for piece in pieces)
    assert len(pieces) <= 2 * length / seconds + 1
    begin = start + where * max(length - seconds / 2, 0)
    event = TimeSpan(begin, begin + min(seconds / 2, length))
    near = 1e-6
    assert any(piece.start <= event.start + near and event.end <= piece.end + near for piece in pieces)


def test_pieces_that_would_fill_the_memory_are_refused() -> None:
    with pytest.raises(InputError, match="longer chunk"):
        pieces_of(TimeSpan(0.0, 9e8), 16.0)


def said(
    status: str, *windows: tuple[float, float, float | None], confidence: float | None = None
) -> GroundingResult:
    spans = tuple(ScoredSpan(TimeSpan(start, end), score) for start, end, score in windows)
    return GroundingResult(
        video="a.mp4",
        query="q",
        status=status,  # type: ignore[arg-type]
        answer=status,
        info=INFO,
        sampled_fps=2.0,
        checkpoint="c",
        window=spans[0].span if spans else None,
        windows=spans,
        confidence=spans[0].score if spans else confidence,
    )


def test_a_window_that_begins_with_its_piece_gives_way_to_the_whole_one() -> None:
    # An event from 3.1 to 6.2 is under way as the second piece begins; what is seen of it there starts late.
    pieces = [TimeSpan(0.0, 16.0), TimeSpan(4.0, 20.0)]
    found = [said("ok", (2.9, 6.3, 0.9)), said("ok", (4.3, 6.1, 0.97))]
    assert merge_results(pieces, found).window == TimeSpan(2.9, 6.3)
    # Half a second and more into the piece it may as well begin there.
    late = [said("ok", (4.4, 6.3, 0.9)), said("ok", (4.6, 6.1, 0.97))]
    assert merge_results(pieces, late).window == TimeSpan(4.6, 6.1)


PIECES = pieces_of(TimeSpan(0.0, 20.0), 10.0)


def test_a_cut_window_gives_way_to_a_whole_one() -> None:
    found = [said("ok", (7.0, 10.0, 0.9)), said("ok", (7.0, 11.0, 0.6)), said("absent", confidence=0.9)]
    merged = merge_results(PIECES, found, ["long"])
    assert (merged.status, merged.window, merged.confidence) == ("ok", TimeSpan(7.0, 11.0), 0.6)
    assert merged.notes == ("long",)
    assert len(merged.windows) == 1


def test_apart_windows_stay_and_unsure_ones_go() -> None:
    found = [said("ok", (1.0, 3.0, 0.5)), said("ok", (6.0, 8.0, 0.1)), said("ok", (16.0, 18.0, 0.8))]
    merged = merge_results(PIECES, found)
    assert [one.span.start for one in merged.windows] == [16.0, 1.0]
    assert parse_windows(merged.answer) == [(1.0, 3.0), (16.0, 18.0)]


SCAN = "The red circle spins: 0 before 1 spins 2 spins 3 after. It happens from 1 to 2."
LATER = "The red circle spins: 5 before 6 spins 7 spins 8 after. It happens from 6 to 7."


def test_what_is_said_of_a_piece_is_told_in_seconds_of_the_video() -> None:
    """The second piece is 5-15; what it calls second 1 is second 6."""
    answer = "The event starts at 1.0 seconds and ends at 2.5 seconds."
    seen = replace(said("ok", (6.0, 7.5, 0.9)), answer=answer, reasoning=SCAN)
    merged = merge_results(PIECES, [said("ok", (6.0, 7.5, 0.8)), seen, said("absent", confidence=0.9)])
    assert parse_windows(merged.answer) == [(6.0, 7.5)]
    merged = merge_results(PIECES, [said("absent", confidence=0.9), seen, said("absent", confidence=0.9)])
    assert parse_windows(merged.text) == [(6.0, 7.5)]
    assert merged.reasoning == LATER

    # Of an event that is put together from pieces, and of one that happens nowhere.
    pieces = pieces_of(TimeSpan(5.0, 25.0), 10.0)
    long = [said("ok", (6.0, 15.0, 0.9)), said("ok", (10.0, 20.0, 0.9)), said("ok", (15.0, 22.0, 0.9))]
    merged = merge_results(pieces, [replace(long[0], reasoning=SCAN), *long[1:]])
    assert (parse_windows(merged.answer), merged.window) == ([(6.0, 22.0)], TimeSpan(6.0, 22.0))
    assert merged.reasoning == LATER
    nowhere = [said("absent", confidence=sure) for sure in (0.9, 0.4, 0.7)]
    nowhere[1] = replace(nowhere[1], reasoning=SCAN)
    merged = merge_results(PIECES, nowhere)
    assert (merged.answer, merged.reasoning) == ("absent", LATER)

    # Also where its answer names a window that does not count, as its scan saw nothing or as it is reversed.
    nowhere[1] = replace(nowhere[1], answer=answer)
    assert parse_windows(merge_results(PIECES, nowhere).answer) == [(6.0, 7.5)]
    reversed_ = replace(said("empty_window"), answer="From 4.0 to 2 seconds. The frames are: [8, 4].")
    merged = merge_results(PIECES[1:], [reversed_, said("no_window", confidence=0.9)])
    assert merged.answer == "From 9.0 to 7.0 seconds. The frames are: [8, 4]."
    # An answer that was cut in its scan.
    short, later = SCAN.partition(" It")[0], LATER.partition(" It")[0]
    cut = [replace(said("no_window"), answer=short), said("no_window", confidence=0.9)]
    assert merge_results(PIECES[1:], cut).answer == later

    # What is no scan may name seconds in any way.
    thought = replace(seen, reasoning="Around 1 s it spins.")
    assert merge_results(PIECES, [said("absent"), thought, said("absent")]).reasoning == ""


def test_a_window_is_as_sure_as_the_pieces_that_hold_it_whole() -> None:
    # 0-10, 5-15 and 10-20: the first two hold 6.0-8.0 whole, the last two 11-13, the first one alone 1-3.
    both = [said("ok", (6.0, 8.0, 0.5)), said("ok", (6.5, 8.0, 0.7)), said("absent", confidence=0.9)]
    merged = merge_results(PIECES, both)
    assert (merged.window, merged.confidence) == (TimeSpan(6.5, 8.0), pytest.approx(0.6))

    # What the neighbour sees elsewhere, or not at all, counts as nothing.
    one = [said("absent", confidence=0.9), said("ok", (11.0, 13.0, 0.8)), said("ok", (17.0, 19.0, 0.5))]
    merged = merge_results(PIECES, one)
    assert [(span.span.start, span.score) for span in merged.windows] == [(17.0, 0.5), (11.0, 0.4)]

    alone = [said("ok", (1.0, 3.0, 0.8)), said("absent", confidence=0.9), said("absent", confidence=0.9)]
    assert merge_results(PIECES, alone).confidence == 0.8


def test_a_window_keeps_what_its_own_piece_says() -> None:
    """Also one that has no score, has no length, or is longer than its piece by a rounding."""
    absent = said("absent", confidence=0.9)
    merged = merge_results(PIECES, [said("ok", (6.0, 8.0, None)), said("ok", (6.0, 8.0, None)), absent])
    assert (merged.window, merged.confidence) == (TimeSpan(6.0, 8.0), None)
    assert merge_results(PIECES, [said("ok", (3.0, 3.0, 0.8)), absent, absent]).confidence == 0.8

    # 5-15 and 10-20 hold it, and the latter alone sees it.
    longer = said("ok", (10.0 - 1e-9, 14.0, 0.8))
    assert merge_results(PIECES, [absent, absent, longer]).confidence == pytest.approx(0.4)

    # Two windows of one answer are not told apart by the surer one's score.
    merged = merge_results(PIECES, [said("ok", (1.0, 4.0, 0.3), (1.0, 3.0, 0.6)), absent, absent])
    assert [(one.span.end, one.score) for one in merged.windows] == [(3.0, 0.6)]


def test_three_pieces_may_see_one_event() -> None:
    """The last piece, 11-21, is moved back."""
    pieces = pieces_of(TimeSpan(0.0, 21.0), 10.0)
    seen = [said("ok", (11.5, 14.0, score)) for score in (0.9, 0.6, 0.3)]
    merged = merge_results(pieces, [said("absent", confidence=0.9), *seen])
    assert [(one.span.start, one.score) for one in merged.windows] == [(11.5, pytest.approx(0.6))]


def test_the_time_of_all_pieces_is_told() -> None:
    found = [said("ok", (1.0, 3.0, 0.8)), said("absent", confidence=0.9), said("absent", confidence=0.7)]
    timed = [
        replace(result, timing_ms=stages)
        for result, stages in zip(found, [{"vision": 2.0, "spatial": 3.0}, {"vision": 4.0}, {}], strict=True)
    ]
    assert merge_results(PIECES, timed).timing_ms == {"vision": 6.0, "spatial": 3.0}
    assert merge_results(PIECES[1:], timed[1:]).timing_ms == {"vision": 4.0}


def test_a_short_unsure_window_does_not_stand_for_a_long_one() -> None:
    found = [said("ok", (2.0, 10.0, 0.8)), said("ok", (6.0, 7.0, 0.05)), said("ok", (10.0, 18.0, 0.8))]
    merged = merge_results(PIECES, found)
    assert [(one.span.start, one.score) for one in merged.windows] == [(2.0, 0.8), (10.0, 0.8)]


def test_an_event_that_is_longer_than_a_piece_is_put_together() -> None:
    """0-10, 5-15, 10-20 see 2-10, all of theirs, and 10.1-17: it is 2-17. Boxes come from each of them."""
    found = [said("ok", (2.0, 10.0, 0.9)), said("ok", (5.0, 15.0, 0.6)), said("ok", (10.1, 13.0, 0.3))]
    merged = merge_results(PIECES, found)
    # If the event went on at 15, 10-20 would see it until then; it sees 10.1-13, which gives way to 2-15.
    assert [(one.span.start, one.span.end) for one in merged.windows] == [(2.0, 15.0)]

    found[2] = said("ok", (10.1, 17.0, 0.45))
    seconds = np.arange(0.0, 20.0, 0.5)

    def tube(piece: TimeSpan, score: float) -> Tube:
        times = seconds[(seconds >= piece.start) & (seconds < piece.end)]
        boxes = np.tile([0.0, 0.0, 1.0, 1.0], (len(times), 1))
        return Tube(times, (times * 2).astype(int), boxes, np.full(len(times), score))

    with_boxes = [replace(one, tube=tube(piece, piece.start)) for one, piece in zip(found, PIECES, strict=True)]
    merged = merge_results(PIECES, with_boxes)
    assert [(one.span.start, one.span.end) for one in merged.windows] == [(2.0, 17.0)]
    assert merged.confidence == pytest.approx(0.65)
    assert merged.tube is not None
    assert merged.tube.times.tolist() == seconds[4:34].tolist()
    assert sorted(set(merged.tube.scores.tolist())) == [0.0, 5.0, 10.0]

    # What one of two pieces sees beyond an end that the other one knows has no box.
    spans = ((6.0, 10.0, 0.9), (5.0, 8.5, 0.6)), ((5.2, 10.0, 0.9), (5.0, 9.8, 0.6))
    for (first, second), (begin, end) in zip(spans, ((6.0, 10.0), (5.2, 9.8)), strict=True):
        seen = [said("ok", first), said("ok", second), said("absent", confidence=0.9)]
        seen[:2] = [replace(one, tube=tube(piece, 1.0)) for one, piece in zip(seen, PIECES[:2], strict=False)]
        merged = merge_results(PIECES, seen)
        assert (merged.window, len(merged.windows)) == (TimeSpan(begin, end), 1)
        assert merged.tube is not None
        assert begin <= merged.tube.times.min() < merged.tube.times.max() < end


@pytest.mark.parametrize(
    ("scores", "windows"),
    [
        ((0.9, 0.6, 0.45), [(2.0, 17.0, 0.65)]),
        # Less than half as sure as the surest: the last part, the first, and the middle.
        ((0.9, 0.6, 0.44), [(2.0, 15.0, 0.75)]),
        ((0.2, 0.6, 0.9), [(5.0, 17.0, 0.75)]),
        ((0.9, 0.4, 0.9), [(2.0, 10.0, 0.9), (10.0, 17.0, 0.9)]),
        # Half of the middle one, which is the surest.
        ((0.4, 0.8, 0.4), [(2.0, 17.0, 1.6 / 3)]),
        ((0.4, 0.9, 0.4), [(5.0, 15.0, 0.9)]),
        # Each is half as sure as its neighbour or more, but the last one a third as sure as the first.
        ((0.9, 0.5, 0.3), [(2.0, 15.0, 0.7)]),
        ((None, None, None), [(2.0, 17.0, None)]),
    ],
)
def test_a_part_of_an_event_is_about_as_sure_as_the_rest(
    scores: tuple[float | None, ...], windows: list[tuple[float, float, float | None]]
) -> None:
    """0-10, 5-15, 10-20 see 2-10, 5-15 and 10-17."""
    spans = ((2.0, 10.0), (5.0, 15.0), (10.0, 17.0))
    found = [said("ok", (*span, score)) for span, score in zip(spans, scores, strict=True)]
    merged = [(one.span.start, one.span.end, one.score) for one in merge_results(PIECES, found).windows]
    expected = [(start, end, score if score is None else pytest.approx(score)) for start, end, score in windows]
    assert merged == expected


def test_two_events_are_not_put_together() -> None:
    """What one piece sees from its start on has to be seen there by the one before it too."""
    found = [said("ok", (6.0, 10.0, 0.9)), said("ok", (5.0, 8.0, 0.8)), said("absent", confidence=0.9)]
    assert len(merge_results(PIECES, found).windows) == 1
    assert merge_results(PIECES, found).window == TimeSpan(6.0, 10.0)
    touching = [said("ok", (2.0, 10.0, 0.8)), said("absent", confidence=0.1), said("ok", (10.0, 18.0, 0.8))]
    assert [one.span.start for one in merge_results(PIECES, touching).windows] == [2.0, 10.0]


def test_pieces_that_share_next_to_nothing_join_nothing() -> None:
    """The last piece is moved back by a tenth of a second, or by a rounding; the one between sees nothing."""
    between = said("absent", confidence=0.5)
    for length in (19.9, 20.0 - 1e-12):
        pieces = pieces_of(TimeSpan(0.0, length), 10.0)
        start = pieces[2].start
        apart = [said("ok", (2.0, start, 0.8)), between, said("ok", (10.0, 18.0, 0.8))]
        assert [one.span.start for one in merge_results(pieces, apart).windows] == [2.0, 10.0]
        short = [said("ok", (start + 1e-13, 10.0, 0.5)), between, said("ok", (start, start, 0.5))]
        assert len(merge_results(pieces, short).windows) == 2


def test_notes_are_those_of_the_pieces_that_the_answer_is_from() -> None:
    found = [said("ok", (1.0, 3.0, 0.9)), said("absent", confidence=0.9), said("ok", (16.0, 18.0, 0.1))]
    found = [replace(one, notes=("all", name)) for one, name in zip(found, "abc", strict=True)]
    assert merge_results(PIECES, found, ["long"]).notes == ("long", "all", "a")
    nowhere = [replace(said("absent", confidence=sure), notes=(str(sure),)) for sure in (0.9, 0.4, 0.7)]
    assert merge_results(PIECES, nowhere).notes == ("0.4",)


def test_nowhere_is_absent() -> None:
    found = [said("no_window"), said("absent", confidence=0.4), said("absent", confidence=0.7)]
    merged = merge_results(PIECES, found)
    assert (merged.status, merged.confidence, merged.window) == ("absent", 0.4, None)


def test_pieces_equal_parts_of_the_video(taught_checkpoint: Path, clip: Path) -> None:
    """What is merged is what each piece alone gives, on the clock of the file."""
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    told: list[str] = []
    result = grounder.ground(clip, "the first thing", chunk=2.0, progress=told.append)
    pieces = pieces_of(TimeSpan(0.0, result.info.duration), 2.0)
    assert told.count("piece 2 of " + f"{len(pieces)}: answer") == 1
    alone = [grounder.ground(clip, "the first thing", clip=piece) for piece in pieces]
    expected = merge_results(pieces, alone)
    assert (result.status, result.window) == (expected.status, expected.window)
    if result.tube is not None and expected.tube is not None:
        np.testing.assert_allclose(result.tube.boxes, expected.tube.boxes)


@pytest.mark.parametrize(
    ("length", "starts"), [(16.0, [0.0]), (16.5, [0.0]), (17.0, [0.0, 1.0]), (33.0, [0.0, 8.0, 16.0, 17.0])]
)
def test_a_checkpoint_reads_what_it_knows(length: float, starts: list[float]) -> None:
    extent = TimeSpan(0.0, length)
    assert [piece.start for piece in pieces_of(extent, None, 16.0)] == starts
    assert pieces_of(extent, None) == [extent]
    assert pieces_of(extent, 100.0, 16.0) == [extent]


def test_what_is_longer_than_the_checkpoint_knows_is_read_in_pieces(
    taught_checkpoint: Path, clip: Path
) -> None:
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    grounder.processor.config.longest_clip = 2.0
    # The pieces are as long as it knows; nothing is said of the length of the whole.
    (note,) = grounder.ground(clip, "the first thing").notes
    assert "pieces of 2 s" in note
    # Pieces of 3.5 s are not.
    assert len(grounder.ground(clip, "the first thing", chunk=3.5).notes) == 2
    grounder.processor.config.longest_clip = 100.0
    assert replace(grounder.ground(clip, "the first thing"), notes=()).status == "ok"
    assert grounder.ground(clip, "the first thing").notes == ()
