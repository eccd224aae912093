"""Lines of truth.jsonl: what is written is read, and whatever is wrong with one is a single clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge_stg.errors import DataError
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
    ("changes", "message"),
    [
        ({"boxes": None}, "boxes must be an object"),
        ({"boxes": [[1, 2, 3, 4]]}, "boxes must be an object"),
        ({"boxes": {"x": [1, 2, 3, 4]}}, "boxes must be keyed by frame numbers, got 'x'"),
        ({"boxes": {"-1": [1, 2, 3, 4]}}, "boxes must be keyed by frame numbers, got '-1'"),
        ({"boxes": {"100": [1, 2, 3, 4]}}, r"box of frame 100 is not within \[0, 100\)"),
        ({"boxes": {"20": None}}, "box of frame 20 must be 4 numbers"),
        ({"boxes": {"20": [1, 2, 3]}}, "box of frame 20 must be 4 numbers"),
        ({"boxes": {"20": [1, 2, 3, "4"]}}, "box of frame 20 must be 4 numbers"),
        ({"boxes": {"20": [1, 2, 3, float("nan")]}}, "must be 4 finite numbers"),
        ({"boxes": {"20": [1, 2, 3, 1e300]}}, "must be 4 finite numbers within 1e"),
        ({"boxes": {"20": [3, 2, 1, 4]}}, "negative size"),
        ({"fps": 1e300}, "fps must be positive, 1e-06 to 1e"),
        ({"fps": 1e-300}, "fps must be positive, 1e-06 to 1e"),
        ({"frame_count": 10**12}, "can be 100000000 at most"),
        ({"window": [1]}, "window must be two frame numbers"),
        ({"window": [1, 2, 3]}, "window must be two frame numbers"),
        ({"window": [1.5, 2]}, "window must be two frame numbers"),
        ({"window": [2, 2]}, "half-open"),
        ({"window": [20, 101]}, "half-open"),
        ({"window": None}, "needs a window"),
        ({"clip": None}, "clip must be two frame numbers"),
        ({"clip": [0]}, "clip must be two frame numbers"),
        ({"clip": [-1, 100]}, r"clip \[-1, 100\] must be half-open"),
        ({"clip": [50, 50]}, r"clip \[50, 50\] must be half-open"),
        ({"clip": [0, 101]}, r"clip \[0, 101\] must be half-open"),
        ({"qtype": "rhetorical"}, "qtype must be one of"),
        ({"qtype": None}, "qtype must be one of"),
        ({"task": "sing"}, "task must be one of"),
        ({"fps": "30"}, "fps must be a number"),
        ({"fps": 0}, "fps must be positive"),
        ({"fps": float("inf")}, "fps must be positive"),
        ({"frame_count": 0}, "must be positive"),
        ({"frame_count": True}, "frame_count must be a whole number"),
        ({"width": 6.5}, "width must be a whole number"),
        ({"video": None}, "video must be text"),
        ({"choices": "ab"}, "choices must be a list"),
        ({"windows": []}, "unknown fields"),
    ],
)
def test_a_malformed_record_is_one_line_that_names_it(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "truth.jsonl", LINE | {"id": "fine"}, LINE | changes)
    with pytest.raises(DataError, match=message) as caught:
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
    with pytest.raises(DataError, match=r"truth\.jsonl:2: not one JSON object"):
        read_truth(path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.jsonl", LINE)
    plain = read_truth(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_truth(path) == plain


def test_brackets_without_end_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"truth\.jsonl:1: not one JSON object"):
        read_truth(path)
