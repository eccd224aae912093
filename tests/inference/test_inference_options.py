"""What can be asked of a grounder: good values are kept, others are refused before anything is read."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.inference.door import Grounder
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.options import GroundOptions, as_span, as_times, as_windows
from bridge_stg.types import TimeSpan
from bridge_stg.zero_shot.grounder import ZeroShotGrounder


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("task", ["stgv", 3]),
        ("answer", ["short", 1]),
        ("clip", [(1.0, 2.0), 3.0]),
        ("window", [(1.0, 2.0), [TimeSpan(0.0, 1.0)], "0-1"]),
        ("box_fps", [0, -1.0, 1001, float("nan"), "2", True, np.bool_(True)]),
        ("min_confidence", [-0.1, 1.1, float("nan"), None, np.bool_(True)]),
        ("chunk", [0, -3, 0.1, float("inf"), float("nan"), "x", np.bool_(True)]),
        ("max_answer_tokens", [0, -1, 2.5, True, np.float64(3.0), np.bool_(True)]),
    ],
)
def test_values_that_mean_nothing_are_refused(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InputError):
            GroundOptions(**{field: value})


def test_numbers_of_numpy_are_numbers() -> None:
    options = GroundOptions(
        box_fps=np.float32(4),
        min_confidence=np.float64(0.5),
        chunk=np.int64(8),
        max_answer_tokens=np.int64(50),
        max_query_tokens=np.uint8(9),
    )
    assert (options.box_fps, options.max_answer_tokens, options.max_query_tokens) == (4, 50, 9)


def test_both_grounders_take_the_same_by_name() -> None:
    """An editor shows every option of ``GroundOptions``, and both grounders share the door."""
    names = {field.name for field in fields(GroundOptions)}
    for method in (Grounder.ground, Grounder.ground_many):
        assert names | {"progress", "on_cost"} == set(inspect.signature(method).parameters) - {
            "self",
            "video",
            "query",
            "queries",
        }
    assert VideoGrounder.ground is ZeroShotGrounder.ground is Grounder.ground


def test_windows_and_times_in_the_forms_people_write() -> None:
    span = TimeSpan(1.0, 2.5)
    assert as_span("clip", (1, 2.5)) == as_span("clip", np.array([1.0, 2.5])) == as_span("clip", span) == span
    assert as_windows((1, 2.5)) == span
    assert as_windows([(1, 2.5), span]) == (span, span)
    assert as_times(np.array([0.0, 0.5])) == (0.0, 0.5)
    for wrong in ((2.0, 1.0), (1.0,), "12", None, (1.0, float("nan")), 5):
        with pytest.raises(InputError):
            as_span("clip", wrong)
    with pytest.raises(InputError):
        as_times([0.0, "x"])


def test_one_window_serves_all_sentences() -> None:
    span, other = TimeSpan(1.0, 2.0), TimeSpan(2.0, 3.0)
    assert GroundOptions().windows_for(2) is None
    assert GroundOptions(window=span).windows_for(2) == [span, span]
    assert GroundOptions(window=(span, other)).windows_for(2) == [span, other]
    with pytest.raises(InputError):
        GroundOptions(window=(span, other)).windows_for(3)


@pytest.mark.parametrize(
    "written",
    [
        "(0, 560, 60, 840)",
        "[100 250 500 900]",
        "[0.1,0.2,0.5,0.9]",
        "[-1,250,500,900]",
        "[100.5,250,500,900]",
        "[100, 250, 500]",
        "[100; 250; 500; 900]",
        "[10%, 25%, 50%, 90%]",
        "{100, 250, 500, 900}",
        "(100,250),(500,900)",
        "[100, 250, 500, 900, 0.9]",
        "[.1, .2, .5, .9]",
        "[1., 2., 5., 9.]",
    ],
)
def test_what_is_meant_as_a_box_of_a_video_is_written_as_one(written: str) -> None:
    for query in (f"track it at {written}", f"{written}: track it from 2 s"):
        with pytest.raises(InputError, match=re.escape(f"{written} is not how a box is written; give [left,")):
            GroundOptions().task_for([query], still=False)
    # A task that is named stands.
    assert GroundOptions(task="vqa").task_for([query], still=False) == "vqa"


@pytest.mark.parametrize(
    "query",
    [
        "the dog (3) that jumps [twice]",
        "the player (number 10, 11 or 12)",
        "the dogs 1, 2, 3 and 4",
        "the score is (3, 2)",
        "what was filmed (2020-01-02) here",
        "it shows (0:01:02)",
        "the dog ) 1, 2, 3 (",
    ],
)
def test_other_numbers_are_words(query: str) -> None:
    assert GroundOptions().task_for([query], still=False) == "stvg"


@pytest.mark.parametrize("query", ["track it at [100, 250, 500, 900]", "track it at [[100, 250, 500, 900]]"])
def test_a_box_is_tracked_through_a_whole_video(query: str) -> None:
    assert GroundOptions().task_for([query], still=False) == "vot"
    with pytest.raises(InputError, match="give a video"):
        GroundOptions().task_for([query], still=True)
    span = TimeSpan(1.0, 2.0)
    for window in (span, (span,)):
        with pytest.raises(InputError, match="leave out the window"):
            GroundOptions(window=window).task_for([query], still=False)
    assert GroundOptions(task="rec").task_for([query], still=True) == "rec"
    assert GroundOptions(task="stvg", window=span).task_for([query], still=False) == "stvg"
