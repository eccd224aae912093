"""Confidences worked by hand, and what becomes of windows that are not sure enough."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bridge_stg.inference.answer_outcome import read_outcome
from bridge_stg.inference.answering import RefusalRule
from bridge_stg.inference.confidence import (
    answer_probability,
    calibrate,
    choice_probability,
    drop_unsure,
    expected_overlaps,
    scan_probability,
    window_probabilities,
)
from bridge_stg.inference.tubes import join_tubes, part_of
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan, Tube, VideoInfo

PIECES = ["It", " moves", ".", " From", " ", "1", ".", "5", " to", " ", "3", ".2", " seconds", "."]


def test_a_window_is_as_probable_as_the_way_to_it_and_its_whole_seconds() -> None:
    log_probs = [math.log(value) for value in (0.9, 0.8, 1, 0.1, 1, 0.5, 0.1, 0.1, 0.1, 1, 0.25, 0.1, 0.1, 0.1)]
    (found,) = window_probabilities(PIECES, log_probs, "It moves.", [(1.5, 3.2)])
    assert found == pytest.approx(0.9 * 0.8 * 0.5 * 0.25)
    (found,) = window_probabilities(PIECES, log_probs, "", [(1.5, 3.2)])
    assert found == pytest.approx(0.5 * 0.25)


def test_each_of_several_windows_has_its_own_digits() -> None:
    text = "From 1 to 2 s. The frames are [3]. From 3 to 14 s."
    pieces = list(text)
    log_probs = [0.0] * len(text)
    for place, value in ((text.index("1"), 0.5), (text.index("14"), 0.25), (text.index("4 s"), 0.5)):
        log_probs[place] = math.log(value)
    found = window_probabilities(pieces, log_probs, "", [(1.0, 2.0), (3.0, 14.0)])
    assert found == pytest.approx([0.5, 0.125])


def test_a_scan_is_as_probable_as_its_words() -> None:
    log_probs = [
        math.log(value) for value in (0.9, 0.8, 0.5, 0.1, 1, 0.5, 0.1, 0.1, 0.1, 1, 0.25, 0.1, 0.1, 0.1)
    ]
    assert scan_probability(PIECES, log_probs) == pytest.approx(0.9 * 0.8 * 0.5)


def likely(**texts: float) -> list[tuple[str, float]]:
    return [(text.removeprefix("_"), math.log(value)) for text, value in texts.items()]


def test_a_short_answer_counts_for_the_overlap_that_it_expects() -> None:
    pieces = ["From ", "2", ".5", " to ", "6", ".5", " s."]
    alternatives = [(), likely(_2=0.5, _4=0.25, no=0.25), (), (), likely(_6=0.8, _3=0.2), (), ()]
    # [2.5, 6.5) by .4, [2.5, 3.5) by .1, [4.5, 6.5) by .2; [4.5, 3.5) is none, and "no" is no second.
    (found,) = expected_overlaps(pieces, alternatives, [(2.5, 6.5)])
    assert found == pytest.approx(0.5 * 0.8 * 1 + 0.5 * 0.2 * 0.25 + 0.25 * 0.8 * 0.5)


def test_digits_of_a_number_are_changed_one_at_a_time() -> None:
    pieces = ["1", "2", " to ", "1", "4", " s"]
    alternatives = [likely(_1=0.5, _0=0.5), likely(_2=0.75, _3=0.25), (), likely(_1=1.0), likely(_4=1.0), ()]
    # Starts: 12 by .375, 13 by .125 and 02 by .5.
    (found,) = expected_overlaps(pieces, alternatives, [(12.0, 14.0)])
    assert found == pytest.approx(0.375 * 1 + 0.125 * 1 / 2 + 0.5 * 2 / 12)
    assert expected_overlaps(pieces, alternatives, [(12.0, 15.0)]) == [0.0]


def test_a_refusal_needs_its_probability_and_no_more() -> None:
    first = [(7, math.log(0.6)), (9, math.log(0.3)), (5, math.log(0.1))]
    assert RefusalRule(9, 0.3 - 1e-9).choose(first)[0] == 9
    assert RefusalRule(9, 0.31).choose(first)[0] == 7
    assert RefusalRule(7, 0.5).choose(first)[0] == 7
    assert RefusalRule(7, 0.7).choose(first) == first[1]
    assert RefusalRule(4, 0.1).choose(first)[0] == 7


def test_calibration_is_a_line_in_log_odds() -> None:
    for probability in (0.0, 0.2, 0.5, 1.0):
        assert 0 < calibrate(probability, None) < 1
        assert 0 < calibrate(probability, (100.0, -3.0)) < 1
    assert calibrate(0.2, None) == calibrate(0.2, (1.0, 0.0)) == pytest.approx(0.2)
    assert calibrate(0.2, (2.0, 1.0)) == pytest.approx(1 / (1 + math.exp(-(2 * math.log(0.25) + 1))))
    assert answer_probability([math.log(0.5), math.log(0.5)]) == pytest.approx(0.25)


def test_a_choice_is_as_sure_as_its_words() -> None:
    half = math.log(0.5)
    assert choice_probability(
        ["moves", " up", " (", "C", ")"], [half, half, half, half, half]
    ) == pytest.approx(0.25)
    assert choice_probability(["C"], [half]) == pytest.approx(0.5)
    assert choice_probability(["(", "C", ")"], [half, half, half]) == pytest.approx(0.125)
    assert choice_probability([], []) == 1.0


def tube(times: list[float], score: float) -> Tube:
    count = len(times)
    frames = np.array([round(2 * time) for time in times], dtype=np.int64)
    return Tube(np.array(times), frames, np.tile([0.0, 0.0, 5.0, 5.0], (count, 1)), np.full(count, score))


def result(*windows: tuple[float, float, float]) -> GroundingResult:
    spans = tuple(ScoredSpan(TimeSpan(start, end), score) for start, end, score in windows)
    return GroundingResult(
        video="a.mp4",
        query="q",
        status="ok",
        answer="",
        info=VideoInfo("a.mp4", 10, 10, Fraction(2), 20.0, 40),
        sampled_fps=2.0,
        checkpoint="c",
        window=spans[0].span,
        tube=join_tubes([tube([start, start + 0.5], score) for start, _, score in windows]),
        windows=spans,
        confidence=spans[0].score,
    )


def test_windows_below_the_least_confidence_go_with_their_boxes() -> None:
    both = result((5.0, 6.0, 0.8), (1.0, 2.0, 0.3))
    assert both.tube is not None
    assert both.tube.times.tolist() == [1.0, 1.5, 5.0, 5.5]
    assert drop_unsure(both, 0.3) == both
    kept = drop_unsure(both, 0.5)
    assert (kept.status, kept.window, len(kept.windows)) == ("ok", TimeSpan(5.0, 6.0), 1)
    assert kept.tube is not None
    assert kept.tube.times.tolist() == [5.0, 5.5]
    none = drop_unsure(both, 0.9)
    assert (none.status, none.window, none.windows, none.tube) == ("no_window", None, (), None)
    assert len(none.notes) == 1


def test_an_unsure_refusal_says_nothing() -> None:
    absent = replace(result((5.0, 6.0, 0.8)), status="absent", window=None, windows=(), tube=None)
    assert drop_unsure(absent, 0.8) == absent
    dropped = drop_unsure(absent, 0.9)
    assert (dropped.status, dropped.confidence, len(dropped.notes)) == ("no_window", 0.8, 1)


def test_a_short_window_keeps_the_nearest_box() -> None:
    part = part_of(tube([0.0, 1.0, 2.0], 0.5), TimeSpan(1.2, 1.4))
    assert part.times.tolist() == [1.0]


def test_tubes_and_results_compare_and_hash() -> None:
    one, same, other = (tube([0.0, 1.0], score) for score in (0.5, 0.5, 0.6))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert result((5.0, 6.0, 0.8)) == result((5.0, 6.0, 0.8))
    assert len({result((5.0, 6.0, 0.8)), result((5.0, 6.0, 0.8)), result((5.0, 6.0, 0.7))}) == 2


@pytest.mark.parametrize(
    ("text", "status", "windows"),
    [
        ("It starts at 1.0 seconds and ends at 2.0 seconds. It starts at 4.0 s and ends at 9.0 s.", "ok", 2),
        ("It starts at 1.0 seconds and ends at 2.0 seconds. It starts at 9.0 s and ends at 9.5 s.", "ok", 1),
        ("The red star spins: 0 before 1 before. This does not happen.", "absent", 0),
        ("This does not happen.", "absent", 0),
        ("It spins: 0 before 1 after. It starts at 1.0 seconds and ends at 2.0 seconds.", "absent", 0),
        ("It spins: 0 before 1 spins. It starts at 1.0 seconds and ends at 2.0 seconds.", "ok", 1),
        ("It starts at 1.0 seconds.", "no_window", 0),
        ("It starts at 9.0 seconds and ends at 9.5 seconds.", "empty_window", 0),
    ],
)
def test_outcomes_in_a_clip_of_eight_seconds(text: str, status: str, windows: int) -> None:
    found = read_outcome(text, TimeSpan(10.0, 18.0))
    assert (found.status, len(found.windows), len(found.spoken)) == (status, windows, windows)
    assert all(10.0 <= span.start < span.end <= 18.0 for span in found.windows)
