"""Bins of tIoU and slices of length, against tables worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.report_rows import judged, said, true

from bridge_stg.evaluation.report.slices import event_slices, tiou_bins, video_slices


def test_bins_of_temporal_overlap() -> None:
    """Truth 2.0-4.0 s, boxes right: vIoU equals tIoU. 0, 0.25 | 0.3, 0.45 | 0.5 | 0.7, 1."""
    ends = {"far": None, "a": 2.5, "b": 2.6, "c": 2.9, "d": 3.0, "e": 3.4, "f": 4.0}
    truth = [true(name) for name in ends]
    answers = [said(name, 2.0, end) for name, end in ends.items() if end is not None]
    bins = tiou_bins(judged(truth, answers))
    assert [(part.name, part.n) for part in bins] == [
        ("[0.0, 0.3)", 2),
        ("[0.3, 0.5)", 2),
        ("[0.5, 0.7)", 1),
        ("[0.7, 1.0]", 2),
    ]
    assert [part.mean for part in bins] == pytest.approx([12.5, 37.5, 50.0, 85.0])
    assert [part.metrics["m_vIoU"] for part in bins] == pytest.approx([12.5, 37.5, 50.0, 85.0])
    # Strictly above 0.5 in the stcat protocol: neither 0.5 itself nor anything below.
    assert [part.metrics["vIoU@0.5"] for part in bins] == pytest.approx([0, 0, 0, 100])


def test_a_bin_without_queries_has_no_score() -> None:
    bins = tiou_bins(judged([true("a")], [said("a", 2.0, 4.0)]))
    assert [(part.n, part.mean, part.metrics) for part in bins[:3]] == [(0, None, {})] * 3


def test_slices_of_length() -> None:
    """Clips of 2.9, 3.0, 9.0, 90.0 s; events of 0.9, 1.0, 3.0, 10.0 s. All perfect but the last."""
    rows = [("a", 29, 9), ("b", 30, 10), ("c", 90, 30), ("d", 900, 100)]
    truth = [true(n, 0, event, frame_count=900, clip=(0, clip)) for n, clip, event in rows]
    answers = [said(name, 0.0, event / 10) for name, _, event in rows[:3]]
    found = judged(truth, answers)
    video = {part.name: (part.n, part.mean, part.metrics.get("m_tIoU")) for part in video_slices(found)}
    assert video == {
        "under 3 s": (1, pytest.approx(2.9), pytest.approx(100)),
        "3 to 10 s": (2, pytest.approx(6.0), pytest.approx(100)),
        "10 to 30 s": (0, None, None),
        "30 to 90 s": (0, None, None),
        "90 s and over": (1, pytest.approx(90.0), 0.0),
    }
    event = {part.name: (part.n, part.mean, part.metrics.get("m_vIoU")) for part in event_slices(found)}
    assert event == {
        "under 1 s": (1, pytest.approx(0.9), pytest.approx(100)),
        "1 to 3 s": (1, pytest.approx(1.0), pytest.approx(100)),
        "3 to 10 s": (1, pytest.approx(3.0), pytest.approx(100)),
        "10 s and over": (1, pytest.approx(10.0), 0.0),
    }


def test_a_whole_second_counts_as_reached_whatever_it_is_subtracted_from() -> None:
    """2.3 - 1.3 is 0.9999999999999998 in floating point; the event still lasts a second."""
    parts = {part.name: part.n for part in event_slices(judged([true("a", 13, 23)], []))}
    assert parts == {"under 1 s": 0, "1 to 3 s": 1, "3 to 10 s": 0, "10 s and over": 0}


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 60), st.floats(0, 9), st.floats(0, 5)), min_size=1)
)
def test_parts_add_up_to_the_whole(rows: list[tuple[int, int, float, float]]) -> None:
    truth = [true(str(i), s, min(s + length, 100)) for i, (s, length, _, _) in enumerate(rows)]
    answers = [said(str(i), start, start + length) for i, (_, _, start, length) in enumerate(rows)]
    found = judged(truth, answers)
    for cut in (tiou_bins, video_slices, event_slices):
        parts = [part for part in cut(found) if part.n]
        assert sum(part.n for part in parts) == len(rows)
        for name, whole in found.means().items():
            assert np.average([p.metrics[name] for p in parts], weights=[p.n for p in parts]) == pytest.approx(
                whole
            )
