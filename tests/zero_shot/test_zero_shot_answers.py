"""Reading what a stock Qwen3-VL answers: forms worked by hand, and what holds for any text."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge_stg.zero_shot import answers as module
from bridge_stg.zero_shot.answers import (
    CLIPPED,
    CUT,
    MORE_BOXES,
    NO_AREA,
    NO_NUMBERS,
    NO_TIME,
    NO_WINDOW,
    NOTHING_KNOWN,
    OTHER_UNIT,
    OTHER_WINDOW,
    OUTSIDE_VIDEO,
    SAME_TIME,
    SWAPPED,
    ZeroShotAnswer,
    parse_image_answer,
    parse_video_answer,
    zero_shot_question,
)
from bridge_stg.zero_shot.lenient_json import Container, read_values

DURATION = 10.0
A, B = (100, 200, 300, 400), (110, 210, 310, 410)

# text, window, {time: box in the grid}, remarks; the video lasts ten seconds.
VIDEO: dict[str, tuple[str, tuple[float, float] | None, dict[float, tuple[float, ...]], dict[str, int]]] = {
    "as asked": (
        '{"start": 2.0, "end": 4.5, "boxes": [{"time": 2.0, "bbox_2d": [100, 200, 300, 400]}, '
        '{"time": 3.0, "bbox_2d": [110, 210, 310, 410]}]}',
        (2.0, 4.5),
        {2.0: A, 3.0: B},
        {},
    ),
    "a list without window": ('[{"time": 2, "bbox_2d": [100, 200, 300, 400]}]', None, {2.0: A}, {}),
    "one object": ('{"time": 2, "bbox_2d": [100, 200, 300, 400]}', None, {2.0: A}, {}),
    "a code fence": ('```json\n[{"time": 2, "bbox_2d": [100, 200, 300, 400]}]\n```', None, {2.0: A}, {}),
    "words around": (
        'Sure! Here you are: [{"time": 2, "bbox_2d": [100, 200, 300, 400]}] I hope it\'s of use.',
        None,
        {2.0: A},
        {},
    ),
    "trailing commas": ('[{"time": 2, "bbox_2d": [100, 200, 300, 400,],},]', None, {2.0: A}, {}),
    "key bbox": ('[{"time": 2, "bbox": [100, 200, 300, 400]}]', None, {2.0: A}, {}),
    "key box, other time keys": (
        '[{"timestamp": 2, "box": [100, 200, 300, 400]}, {"t": 3, "Box": [110, 210, 310, 410]}]',
        None,
        {2.0: A, 3.0: B},
        {},
    ),
    "times as text": (
        '[{"time": "3.5s", "bbox_2d": [100, 200, 300, 400]}, '
        '{"time": "00:04.5", "bbox_2d": [110, 210, 310, 410]}]',
        None,
        {3.5: A, 4.5: B},
        {},
    ),
    "times with unit, mark or hours": (
        '[{"time": "<3.5 seconds>", "bbox_2d": [100, 200, 300, 400]}, '
        '{"time": "0:00:04.5", "bbox_2d": [110, 210, 310, 410]}]',
        None,
        {3.5: A, 4.5: B},
        {},
    ),
    "no quotes at all": (
        "{start: 2s, end: 00:04.5, boxes: [{time: 2.0 seconds, bbox_2d: [100, 200, 300, 400]}]}",
        (2.0, 4.5),
        {2.0: A},
        {},
    ),
    "single quotes": ("[{'time': '2', 'bbox_2d': [100, 200, 300, 400]}]", None, {2.0: A}, {}),
    "box as text": ('[{"time": 2, "bbox_2d": "[100, 200, 300, 400]"}]', None, {2.0: A}, {}),
    "box by names": (
        '[{"time": 2, "bbox_2d": {"x1": 100, "y1": 200, "x2": 300, "y2": 400}}]',
        None,
        {2.0: A},
        {},
    ),
    "numbers as text": ('[{"time": 2, "bbox_2d": ["100", "200.0", "3e2", "+400"]}]', None, {2.0: A}, {}),
    "box in a list": ('[{"time": 2, "bbox_2d": [[100, 200, 300, 400]]}]', None, {2.0: A}, {}),
    "several boxes at once": (
        '[{"time": 2, "bbox_2d": [[100, 200, 300, 400], [0, 0, 9, 9]]}]',
        None,
        {2.0: A},
        {SAME_TIME: 1},
    ),
    "unsorted and twice": (
        '[{"time": 3, "bbox_2d": [110, 210, 310, 410]}, {"time": 2, "bbox_2d": [100, 200, 300, 400]}, '
        '{"time": 3.0, "bbox_2d": [1, 2, 3, 4]}]',
        None,
        {2.0: A, 3.0: B},
        {SAME_TIME: 1},
    ),
    "flipped": ('[{"time": 2, "bbox_2d": [300, 400, 100, 200]}]', None, {2.0: A}, {SWAPPED: 1}),
    "a little outside": (
        '[{"time": 2, "bbox_2d": [-20, 200, 300, 1040]}]',
        None,
        {2.0: (0, 200, 300, 1000)},
        {CLIPPED: 1},
    ),
    "no area": (
        '[{"time": 2, "bbox_2d": [100, 200, 100, 400]}, {"time": 3, "bbox_2d": [1001, 2, 1050, 4]}]',
        None,
        {},
        {NO_AREA: 2},
    ),
    "pixels of a large frame": (
        '[{"time": 2, "bbox_2d": [100, 200, 300, 400]}, {"time": 3, "bbox_2d": [1500, 300, 1800, 900]}]',
        None,
        {},
        {OTHER_UNIT: 2},
    ),
    "fractions": ('[{"time": 2, "bbox_2d": [0.1, 0.2, 0.3, 0.4]}]', None, {}, {OTHER_UNIT: 1}),
    "cut in a box": (
        '{"start": 2.0, "end": 4.5, "boxes": [{"time": 2.0, "bbox_2d": [100, 200, 300, 400]}, '
        '{"time": 3.0, "bbox_2d": [110, 210',
        (2.0, 4.5),
        {2.0: A},
        {CUT: 1},
    ),
    "cut in a number": ('{"start": 2.0, "end": 4', None, {}, {NO_WINDOW: 1, CUT: 1}),
    "cut in a time": (
        '[{"time": 2, "bbox_2d": [100, 200, 300, 400]}, {"bbox_2d": [110, 210, 310, 410], "time": 1',
        None,
        {2.0: A},
        {CUT: 1},
    ),
    "cut in a key": ('[{"time": 2, "bbox_2d": [100, 200, 300, 400]}, {"ti', None, {2.0: A}, {CUT: 1}),
    "cut between entries": ('[{"time": 2, "bbox_2d": [100, 200, 300, 400]},', None, {2.0: A}, {}),
    "a brace forgotten": ('[{"time": 2, "bbox_2d": [100, 200, 300, 400]]', None, {2.0: A}, {}),
    "a quote forgotten": (
        '[{"time": 2, "label": "cat,\n "bbox_2d": [100, 200, 300, 400]}]',
        None,
        {2.0: A},
        {},
    ),
    "no time": ('[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]', None, {}, {NO_TIME: 1}),
    "a bare box": ("[100, 200, 300, 400]", None, {}, {NO_TIME: 1}),
    "one box for a window": (
        '{"start": 2, "end": 4, "bbox_2d": [100, 200, 300, 400]}',
        (2.0, 4.0),
        {2.0: A},
        {},
    ),
    "a span for a time": (
        '[{"time": [2.0, 4.5], "bbox_2d": [100, 200, 300, 400]}]',
        (2.0, 4.5),
        {2.0: A},
        {},
    ),
    "window as a list": ('{"window": [2.0, "4.5s"]}', (2.0, 4.5), {}, {}),
    "window as an object": ('{"window": {"start_time": 2.0, "end_time": 4.5}}', (2.0, 4.5), {}, {}),
    "two windows": (
        '[{"start": 2.0, "end": 4.5}, {"start": 6.0, "end": 7.0}]',
        (2.0, 4.5),
        {},
        {OTHER_WINDOW: 1},
    ),
    "half a window": ('{"start": 2.0, "end": "later"}', None, {}, {NO_WINDOW: 1, NOTHING_KNOWN: 1}),
    "reversed": ('{"start": 4.5, "end": 2.0}', (4.5, 2.0), {}, {}),
    "negative time": ('[{"time": -1, "bbox_2d": [100, 200, 300, 400]}]', None, {}, {NO_TIME: 1}),
    "not finite": (
        '[{"time": 1e999, "bbox_2d": [100, 200, 300, 400]}, {"time": 2, "bbox_2d": [NaN, 1, 2, 1e999]}]',
        None,
        {},
        {NO_NUMBERS: 1, NO_TIME: 1},
    ),
    "not seen": ('[{"time": 2, "bbox_2d": null}]', None, {}, {NO_NUMBERS: 1}),
    "three numbers": ('[{"time": 2, "bbox_2d": [1, 2, 3]}]', None, {}, {NO_NUMBERS: 1}),
    "after the end": (
        '[{"time": 10.9, "bbox_2d": [100, 200, 300, 400]}, {"time": 11.1, "bbox_2d": [110, 210, 310, 410]}]',
        None,
        {10.9: A},
        {OUTSIDE_VIDEO: 1},
    ),
    "something else": ('{"answer": "no such thing"}', None, {}, {NOTHING_KNOWN: 1}),
    "a line each": (
        '{"time": 2, "bbox_2d": [100, 200, 300, 400]}\n{"time": 3, "bbox_2d": [110, 210, 310, 410]}',
        None,
        {2.0: A, 3.0: B},
        {},
    ),
    "words only": ("It happens from 2.0 to 4.5 seconds.", (2.0, 4.5), {}, {}),
    "clock times in words": ("It happens from 00:02 to 00:04.5.", (2.0, 4.5), {}, {}),
    "window in words, boxes in JSON": (
        'From 2.0 to 4.5 seconds:\n[{"time": 2, "bbox_2d": [100, 200, 300, 400]}]',
        (2.0, 4.5),
        {2.0: A},
        {},
    ),
    "one time in words": ("It starts at 2.0 seconds.", None, {}, {}),
    "nothing": ("", None, {}, {}),
    "no": ("I cannot see that in the video.", None, {}, {}),
    "thought first": (
        'From 8.0 to 9.0 seconds? {"start": 8, "end": 9}</think>{"start": 2, "end": 4.5}',
        (2.0, 4.5),
        {},
        {},
    ),
    "a thought without end": ('<think>From 8.0 to 9.0 seconds? {"start": 8, "end": 9}', None, {}, {}),
}


def check(answer: ZeroShotAnswer) -> None:
    """What holds whatever was read."""
    assert answer.boxes.shape == (len(answer.times), 4)
    assert (np.diff(answer.times) > 0).all()
    assert ((answer.boxes >= 0) & (answer.boxes <= 1)).all()
    assert (answer.boxes[:, 2:] > answer.boxes[:, :2]).all()
    assert (answer.times >= 0).all()
    assert answer.window is None or all(math.isfinite(time) for time in answer.window)
    assert all(count > 0 for _, count in answer.remarks)


@pytest.mark.parametrize("form", sorted(VIDEO))
def test_video_answers_by_hand(form: str) -> None:
    text, window, boxes, remarks = VIDEO[form]
    answer = parse_video_answer(text, DURATION)
    check(answer)
    assert answer.window == window
    found = zip(answer.times.tolist(), answer.boxes, strict=True)
    assert {time: tuple(box * 1000) for time, box in found} == {
        time: pytest.approx(box) for time, box in boxes.items()
    }
    assert dict(answer.remarks) == remarks


@pytest.mark.parametrize(
    ("text", "box", "remarks"),
    [
        ('```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]\n```', A, {}),
        ("[100, 200, 300, 400]", A, {}),
        ('{"box": [300, 200, 100, 400]}', A, {SWAPPED: 1}),
        ('[{"bbox_2d": [100, 200, 300, 400]}, {"bbox_2d": [1, 2, 3, 4]}]', A, {MORE_BOXES: 1}),
        ('[{"bbox_2d": [5, 5, 5, 5]}, {"bbox_2d": [100, 200, 300, 400]}]', A, {NO_AREA: 1}),
        ('[{"bbox_2d": [100, 200, 300', None, {CUT: 1}),
        ("It is on the left.", None, {}),
    ],
)
def test_image_answers_by_hand(text: str, box: tuple[int, ...] | None, remarks: dict[str, int]) -> None:
    answer = parse_image_answer(text)
    check(answer)
    assert answer.window is None
    assert (answer.boxes * 1000).tolist() == ([] if box is None else [pytest.approx(box)])
    assert dict(answer.remarks) == remarks


def test_remarks_are_one_line() -> None:
    answer = parse_video_answer(VIDEO["cut in a number"][0])
    assert answer.remarks_text() == "window left out: not two readable times (1), entry left out: cut off (1)"


WORDS = 'time "time": "bbox_2d": start "end": 2.5 -1 1e999 NaN 00:03 s [1,2,3,4] 1000 99999 </think> ``` \u0663'
PIECES = st.sampled_from([*"{}[],:\"'\\\n x", *WORDS.split()])


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)), st.floats(0, 100))
@example("[" * 20_000, 1.0)
@example('{"a":' * 20_000, 1.0)
@example('"' * 20_000, 1.0)
@example("[" + "9" * 20_000, 1.0)
@example("{" + '"' * 20_000, 1.0)
@example("{" + "a" * 20_000, 1.0)
@example('{"start": ' + "9" * 5_000 + ', "end": 1}', 1.0)
def test_any_text_is_read_without_an_error(text: str, duration: float) -> None:
    check(parse_video_answer(text, duration))
    check(parse_image_answer(text))


# x, y, and how far the opposite corner is, at least two steps of the grid.
CORNERS = st.tuples(st.integers(0, 998), st.integers(0, 998), st.integers(0, 998), st.integers(0, 998))
BOXES = CORNERS.map(lambda c: (c[0], c[1], c[0] + 2 + c[2] % (999 - c[0]), c[1] + 2 + c[3] % (999 - c[1])))
TRACKS = st.dictionaries(st.integers(0, 99).map(lambda tenths: tenths / 10), BOXES, min_size=1, max_size=6)


def written(track: dict[float, Any], window: tuple[float, float]) -> str:
    boxes = [{"time": time, "bbox_2d": list(box)} for time, box in track.items()]
    return json.dumps({"start": window[0], "end": window[1], "boxes": boxes})


@given(TRACKS, st.tuples(st.floats(0, 99), st.floats(0, 99)))
def test_what_is_well_formed_is_read_as_written(track: dict[float, Any], window: tuple[float, float]) -> None:
    answer = parse_video_answer(written(track, window), DURATION)
    assert answer.remarks == ()
    assert answer.window == window
    assert answer.times.tolist() == sorted(track)
    expected = [track[time] for time in sorted(track)]
    assert (answer.boxes * 1000).round(9).tolist() == [list(map(float, box)) for box in expected]


@given(TRACKS, st.data())
def test_what_is_cut_keeps_every_complete_entry_and_no_other(track: dict[float, Any], data: Any) -> None:
    text = written(track, (1.5, 2.5))
    end = data.draw(st.integers(0, len(text)))
    answer = parse_video_answer(text[:end], DURATION)
    # An entry is complete with the bracket of its box; the last one of all closes the list.
    kept = dict(list(track.items())[: text[:end].count("]")])
    assert answer.times.tolist() == sorted(kept)
    # A number that the cut touches may have lost digits.
    assert answer.window == ((1.5, 2.5) if end > text.index('"boxes"') - 2 else None)


def test_the_question_holds_the_sentence_and_the_form() -> None:
    question = zero_shot_question(" the {red} cat \n", image=False)
    assert "\nthe {red} cat\n" in question
    assert '{"start": 0.0, "end": 0.0, "boxes": [{"time": 0.0, "bbox_2d": [x1, y1, x2, y2]}]}' in question
    assert f"{module.MAX_BOXES} at most" in question
    image = zero_shot_question("the cat", image=True)
    assert '[{"bbox_2d": [x1, y1, x2, y2]}]' in image
    assert "time" not in image


def test_values_and_words() -> None:
    values, words = read_values('a [1, {"b": "c, d"}] e } {"f": [')
    assert words == "a   e } "
    assert [(value.is_object, value.cut) for value in values] == [(False, False), (True, True)]
    inner = values[0].items[1][1]
    assert isinstance(inner, Container)
    assert inner.items == [("b", "c, d")]
    assert values[0].items[0] == ("", "1")
