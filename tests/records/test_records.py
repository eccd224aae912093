"""Lines of truth.jsonl: what is written is read, and whatever is wrong with one is a single clear line."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge_stg.errors import DataError
from bridge_stg.records.open import truth_in
from bridge_stg.records.prediction import read_predictions
from bridge_stg.records.record import TruthRecord, read_truth, write_truth

LINE: dict[str, Any] = {
    "id": "q1",
    "task": "stvg",
    "video": "a.mp4",
    "fps": 10.0,
    "frame_count": 100,
    "clip": [0, 100],
    "width": 64,
    "height": 48,
    "query": "?",
    "window": [20, 22],
    "boxes": {"20": [1, 2, 3, 4], "21": [1.5, 2, 3, 4]},
}


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_record_survives_writing_and_reading(tmp_path: Path) -> None:
    first = read_truth(write(tmp_path / "truth.jsonl", LINE))
    assert first[0].boxes == {20: (1, 2, 3, 4), 21: (1.5, 2, 3, 4)}
    write_truth(tmp_path / "again.jsonl", first)
    assert read_truth(tmp_path / "again.jsonl") == first


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"boxes": None}, "boxes"),
        ({"boxes": [[1, 2, 3, 4]]}, "boxes"),
        ({"boxes": {"x": [1, 2, 3, 4]}}, "boxes: .*'x'"),
        ({"boxes": {"-1": [1, 2, 3, 4]}}, "box of frame -1"),
        ({"boxes": {"100": [1, 2, 3, 4]}}, "box of frame 100"),
        ({"boxes": {"20": None}}, "box of frame 20"),
        ({"boxes": {"20": [1, 2, 3]}}, "box of frame 20"),
        ({"boxes": {"20": [1, 2, 3, "4"]}}, "box of frame 20"),
        ({"boxes": {"20": [1, 2, 3, float("nan")]}}, "box of frame 20"),
        ({"boxes": {"20": [1, 2, 3, 1e300]}}, "box of frame 20"),
        ({"boxes": {"20": [3, 2, 1, 4]}}, "box of frame 20"),
        ({"fps": 1e300}, "fps"),
        ({"fps": 1e-300}, "fps"),
        ({"frame_count": 10**12}, "frame_count"),
        ({"window": [1]}, "window"),
        ({"window": [1, 2, 3]}, "window"),
        ({"window": [1.5, 2]}, "window"),
        ({"window": [2, 2]}, r"window \[2, 2\]"),
        ({"window": [20, 101]}, r"window \[20, 101\]"),
        ({"window": None}, "window"),
        ({"clip": None}, "clip"),
        ({"clip": [0]}, "clip"),
        ({"clip": [-1, 100]}, r"clip \[-1, 100\]"),
        ({"clip": [50, 50]}, r"clip \[50, 50\]"),
        ({"clip": [0, 101]}, r"clip \[0, 101\]"),
        ({"qtype": "rhetorical"}, "qtype"),
        ({"qtype": None}, "qtype"),
        ({"task": "sing"}, "task"),
        ({"fps": "30"}, "fps"),
        ({"fps": 0}, "fps"),
        ({"fps": float("inf")}, "fps"),
        ({"frame_count": 0}, "frame_count"),
        ({"frame_count": True}, "frame_count"),
        ({"width": 6.5}, "width"),
        ({"video": None}, "video"),
        ({"choices": "ab"}, "choices"),
        ({"frames": []}, "unknown field 'frames'"),
        ({"windows": [[20, 22], [21, 30]], "window": None}, r"windows \[20, 22\] and \[21, 30\]"),
        ({"windows": [[30, 40], [50, 60]]}, r"window \(20, 22\)"),
        ({"absent": True}, "absent"),
        ({"absent": 1}, "absent"),
        ({"query": "\ud800"}, "half of a character"),
    ],
)
def test_a_malformed_record_is_one_line_that_names_it(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "truth.jsonl", LINE | {"id": "fine"}, LINE | changes)
    with pytest.raises(DataError, match=named) as caught:
        read_truth(path)
    assert str(caught.value).startswith(f"{path}:2: record 'q1': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["id", "task", "video", "fps", "frame_count", "clip", "width", "query"])
def test_a_missing_field_is_named(name: str) -> None:
    line = {key: value for key, value in LINE.items() if key != name}
    with pytest.raises(DataError, match=name):
        TruthRecord.from_json(line)


def test_a_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.jsonl", LINE)
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"truth\.jsonl:2: "):
        read_truth(path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.jsonl", LINE)
    plain = read_truth(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_truth(path) == plain


def test_a_path_may_be_text(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.jsonl", LINE)
    assert read_truth(str(path)) == read_truth(path)
    (tmp_path / "answers").mkdir()
    answers = write(tmp_path / "answers" / "one.jsonl", {"id": "q1", "status": "no_window"})
    for place in (answers, answers.parent):
        assert list(read_predictions(str(place))) == ["q1"]
    with pytest.raises(DataError, match="cannot be read"):
        read_truth(str(tmp_path / "none.jsonl"))


def test_brackets_without_end_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"truth\.jsonl:1: "):
        read_truth(path)


def test_one_window_and_several_are_the_same_field(tmp_path: Path) -> None:
    several = {name: value for name, value in LINE.items() if name != "window"} | {
        "windows": [[20, 22], [40, 50]],
        "seconds": None,
    }
    one, two = read_truth(write(tmp_path / "truth.jsonl", LINE, several | {"id": "q2"}))
    assert (one.window, one.all_windows) == ((20, 22), ((20, 22),))
    assert (two.window, two.all_windows) == ((20, 22), ((20, 22), (40, 50)))

    # A copy with another window is not the old one in disguise.
    assert replace(one, window=(30, 40)).all_windows == ((30, 40),)
    assert replace(one, task="vot", window=None).all_windows == ()
    with pytest.raises(DataError, match="windows"):
        replace(two, window=(30, 40))

    # What is written is read again: one window in the old form, several in the new.
    assert "windows" not in one.to_json()
    assert "window" not in two.to_json()
    assert [TruthRecord.from_json(record.to_json()) for record in (one, two)] == [one, two]


def test_an_absent_event_has_no_window(tmp_path: Path) -> None:
    line = {name: value for name, value in LINE.items() if name not in ("window", "boxes")}
    (record,) = read_truth(write(tmp_path / "truth.jsonl", line | {"absent": True}))
    assert record.absent
    assert record.window is None
    assert record.to_json()["absent"] is True


def test_the_frames_of_a_span_come_in_order_whatever_the_order_of_the_file() -> None:
    boxes = {"30": [3, 3, 4, 4], "20": [1, 1, 2, 2], "22": [2, 2, 3, 3]}
    record = TruthRecord.from_json(LINE | {"boxes": boxes})
    frames, corners = record.boxes_within((20, 30))
    assert frames.tolist() == [20, 22]
    assert corners.tolist() == [[1, 1, 2, 2], [2, 2, 3, 3]]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_named_as_such(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path / "truth.jsonl", LINE)
    path.write_bytes(("\ufeff" + path.read_text()).encode(encoding))
    with pytest.raises(DataError, match="UTF-8"):
        read_truth(path)


def test_records_that_were_built_without_a_truth_are_named_as_such(tmp_path: Path) -> None:
    for cure in ("data build", "data shapes"):
        with pytest.raises(DataError, match=cure):
            truth_in(tmp_path, f"write one with {cure}")
    (tmp_path / "store.json").touch()
    with pytest.raises(DataError, match=r"data build .*--truth"):
        truth_in(tmp_path, "write one with data shapes")


def test_a_compressed_file_is_named_as_such(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.jsonl", LINE)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="gunzip"):
        read_truth(path)
