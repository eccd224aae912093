"""HC-STVG: frames from 1, the box list is the event, the video's own rate, broken boxes and videos."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.built_folder import built, write, write_video

from bridge_stg.errors import DataError, InputError

V1, V2 = "7_AbCdEfGhIjK.mp4", "8_LmNoPqRsTuV.mkv"


def first(**changes: Any) -> dict[str, Any]:
    return {
        "bbox": [[10, 12, 20, 30], [11, 12, 20, 30], [12, 13, 20, 29]],
        "st_time": 4.01,
        "ed_time": 4.45,
        "img_num": 500,
        "caption": "The man in the grey coat stands up.",
        "width": 64,
        "height": 48,
        "st_frame": 101,
    } | changes


SECOND: dict[str, Any] = {
    "bbox": [[10, 12, 20, 30], [11, 12, -3, 30], [50, 30, 30, 30]],
    "st_time": 2.0,
    "ed_time": 2.5,
    "img_num": 600,
    "English": "The woman in red walks to the door.",
    "img_size": [48, 64],
    "st_frame": 61,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def annotated(root: Path, clips: dict[str, Any]) -> Path:
    write(root / "train.json", clips)
    return root


def unseen(root: Path, clips: dict[str, Any]) -> Any:
    return built("hcstvg-v1", annotated(root, clips), split="train", annotations_only=True)


def test_the_first_frame_is_number_one_and_the_boxes_are_the_event(root: Path) -> None:
    record = unseen(root, {V1: first()}).only
    # 1-based frames 101, 102, 103; ed_time * 25 would be frame 111.
    assert (record.window, record.clip) == ((100, 103), (0, 500))
    assert record.boxes == {100: (10, 12, 30, 42), 101: (11, 12, 31, 42), 102: (12, 13, 32, 42)}
    assert (record.fps, record.frame_count) == (25.0, 500)
    assert (record.id, record.query) == (f"hcstvg-v1/train/{V1}", "The man in the grey coat stands up.")


def test_version_2_has_other_names_height_first_and_boxes_that_are_none(root: Path) -> None:
    write(root / "anno_v2/train_v2.json", {V2: SECOND})
    data = built("hcstvg-v2", root, split="train", annotations_only=True)
    record = data.only
    assert (record.width, record.height, record.fps) == (64, 48, 30.0)
    assert record.query == "The woman in red walks to the door."
    assert record.window == (60, 63)
    assert record.boxes == {60: (10, 12, 30, 42), 62: (50, 30, 64, 48)}
    assert data.notes[record.id] == [
        "1 box(es) cut at the edge of the image",
        "1 box(es) without size left out",
    ]


@pytest.mark.parametrize("name", ["train_v2.json", "trainv2.json", "annos/hcstvg_v2/train.json"])
def test_version_2_in_the_places_and_words_of_other_tools(name: str, root: Path) -> None:
    write(root / name, {V2: first()})
    assert built("hcstvg-v2", root, split="train", annotations_only=True).only.window == (100, 103)


def test_rate_and_length_are_those_of_the_video(root: Path) -> None:
    rate = Fraction(30000, 1001)
    write_video(root / "video/12/" / V1, 20, rate)
    clip = first(st_frame=19)
    data = built("hcstvg-v1", annotated(root, {V1: clip}), split="train")
    record = data.only
    assert (record.fps, record.frame_count, record.clip) == (float(rate), 20, (0, 20))
    assert record.video == f"video/12/{V1}"
    assert record.window == (18, 20)
    assert data.notes[record.id] == ["1 box(es) behind the end of the video left out"]


def test_the_last_frame_of_the_video_is_part_of_it(root: Path) -> None:
    record = unseen(root, {V1: first(img_num=103)}).only
    assert (record.window, max(record.boxes), record.frame_count) == ((100, 103), 102, 103)


def test_videos_of_both_kinds_and_broken_ones(root: Path) -> None:
    names = ["a.mp4", "b.mkv", "tiny.mp4", "missing.mp4", "small.mp4"]
    for name in names[:2]:
        write_video(root / "v1_video" / name, 20, 25)
    write(root / "v1_video/tiny.mp4", "x" * 5000)
    write_video(root / "v1_video/small.mp4", 20, 25, 48, 64)
    data = built("hcstvg-v1", annotated(root, {name: first(st_frame=1) for name in names}), split="train")
    assert [record.video for record in data.records.values()] == ["v1_video/a.mp4", "v1_video/b.mkv"]
    reasons = {name.rpartition("/")[2]: reason for name, (reason, _) in data.skipped.items()}
    assert reasons == {
        "tiny.mp4": "the video cannot be opened",
        "missing.mp4": "no video file",
        "small.mp4": "annotation and video differ in size",
    }
    assert str(root) not in (data.out / "skipped.jsonl").read_text()
    assert (data.count("train", "clips")["read"], data.count("train", "clips")["kept"]) == (5, 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"st_frame": 0}, "st_frame counts from 1"),
        ({"st_frame": 501}, "the event lies behind the end of the video"),
        ({"bbox": []}, "the event lies behind the end of the video"),
        ({"bbox": [[1, 2, 0, 4], [1, 2, 3, -4]]}, "no usable box"),
        ({"bbox": [[70, 2, 5, 4]]}, "no usable box"),
        ({"bbox": [[float("nan"), 2, 5, 4]]}, "no usable box"),
        ({"bbox": [[1, 2, 3]]}, "malformed"),
        ({"bbox": {"1": [1, 2, 3, 4]}}, "malformed"),
        ({"st_time": 9.0}, "st_time is after ed_time"),
        ({"caption": None}, "malformed"),
        ({"img_num": "500"}, "malformed"),
    ],
)
def test_a_bad_clip_is_left_out_with_its_reason(changes: dict[str, Any], reason: str, root: Path) -> None:
    data = unseen(root, {"bad.mp4": first(**changes), V1: first()})
    assert data.skipped["hcstvg-v1/train/bad.mp4"][0] == reason
    assert list(data.records) == [f"hcstvg-v1/train/{V1}"]


def test_a_clip_that_stands_twice_in_the_file_is_not_lost_in_silence(root: Path) -> None:
    text = json.dumps({V1: first()})
    write(root / "train.json", f"{text[:-1]}, {text[1:]}")
    with pytest.raises(DataError, match=f"'{V1}'"):
        built("hcstvg-v1", root, split="train", annotations_only=True)


def test_a_name_that_climbs_out_is_refused(root: Path) -> None:
    write_video(root / "video" / V1, 20, 25)
    write_video(root.parent / "outside.mp4", 20, 25)
    clip = first(st_frame=1)
    data = built("hcstvg-v1", annotated(root, {"../../outside.mp4": clip, V1: clip}), split="train")
    assert [reason for reason, _ in data.skipped.values()] == ["the path leads out of the data set's folder"]
    assert list(data.records) == [f"hcstvg-v1/train/{V1}"]


def test_two_files_of_one_name_are_not_guessed_between(root: Path) -> None:
    for place in ("1", "2"):
        write_video(root / "video" / place / V1, 20, 25)
    message = r"1 of 1 .*100\.0%.*\(1\): several"
    with pytest.raises(DataError, match=message):
        built("hcstvg-v1", annotated(root, {V1: first(st_frame=1)}), split="train")


def test_the_hidden_split_says_so(root: Path) -> None:
    with pytest.raises(InputError, match=r"'test' .* train, val"):
        built("hcstvg-v2", root, split="test")
