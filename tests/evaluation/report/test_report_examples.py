"""Which cases are shown, and which frames of them."""

from __future__ import annotations

from support.report_rows import judged, said, true

from bridge_stg.evaluation.report.examples import best_rows, good_and_bad, ranking, worst_rows
from bridge_stg.evaluation.report.scored_queries import ScoredQueries
from bridge_stg.evaluation.report.strips import pick_frames
from bridge_stg.types import TimeSpan


def by_end(ends: dict[str, float], videos: dict[str, str] | None = None) -> ScoredQueries:
    """Queries of 2.0-4.0 s answered from 2.0 s to different ends: the longer, the better."""
    truth = [true(name, video=(videos or {}).get(name, f"{name}.mp4")) for name in ends]
    return judged(truth, [said(name, 2.0, end) for name, end in ends.items()])


def test_ranking_is_by_overlap_and_then_by_name() -> None:
    assert ranking(by_end({"b": 3.0, "a": 3.0, "best": 4.0, "worst": 2.1})) == [3, 1, 0, 2]


def test_the_worst_are_the_worst_whatever_their_kind() -> None:
    found = by_end({"a": 2.6, "b": 2.2, "c": 2.3, "d": 4.0, "e": 2.1, "f": 2.5})
    kinds = ["often", "often", "often", "good", "seldom", "once"]
    assert worst_rows(found, kinds, 10) == [4, 1, 2, 5, 0, 3]
    assert worst_rows(found, kinds, 2) == [4, 1]


def test_of_equally_bad_ones_every_kind_takes_its_turn() -> None:
    found = by_end(dict.fromkeys("abcdef", 2.0))
    kinds = ["often", "often", "often", "often", "seldom", "once"]
    assert worst_rows(found, kinds, 10) == [0, 4, 5, 1, 2, 3]
    assert worst_rows(found, kinds, 2) == [0, 4]


def test_another_video_comes_before_another_sentence() -> None:
    found = by_end({"a": 4.0, "b": 3.9, "c": 3.8}, {"a": "one.mp4", "b": "one.mp4", "c": "two.mp4"})
    assert best_rows(found, 2) == [0, 2]
    assert best_rows(found, 3) == [0, 2, 1]


def test_good_and_bad_as_the_paper_draws_the_line() -> None:
    """Right boxes: vIoU is tIoU. Good from 0.7 (and vIoU 0.5), bad up to 0.2 of vIoU; between is neither."""
    assert good_and_bad(by_end({"a": 4.0, "b": 3.4, "c": 3.2, "d": 2.6, "e": 2.4, "f": 2.1})) == (2, 2)


def test_frames_show_both_windows_and_the_rest_of_the_clip() -> None:
    record = true("a", 20, 40)
    picked = pick_frames(record, [TimeSpan(2.0, 4.0), TimeSpan(7.0, 8.0)])
    assert len(picked) == 6
    assert picked == sorted(picked)
    # Middle and ends of the truth, middle and (half a second apart is enough) an end of the prediction.
    assert [frame for frame in picked if 20 <= frame < 40] == [22, 30, 38]
    assert 75 in picked


def test_frames_of_a_prediction_that_is_not_there_or_outside() -> None:
    record = true("a", 20, 40)
    for window in (None, TimeSpan(30.0, 40.0)):
        picked = pick_frames(record, [TimeSpan(2.0, 4.0), window])
        assert len(picked) == 6
        assert 30 in picked
        assert max(picked) < 100


def test_a_short_clip_shows_each_frame_once() -> None:
    record = true("a", 0, 2, frame_count=3, clip=(0, 3))
    picked = pick_frames(record, [TimeSpan(0.0, 0.2), None])
    assert picked == sorted(set(picked))
    assert set(picked) <= {0, 1, 2}
