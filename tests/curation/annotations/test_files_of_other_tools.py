"""Files as other people's tools write them: their own rates, task ends, renamed uploads, missing side files."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.built_folder import built, write, write_video

from bridge_stg.errors import DataError

JOB = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <job><id>3</id><size>50</size><mode>interpolation</mode><start_frame>10</start_frame>
      <stop_frame>59</stop_frame></job>
    <original_size><width>64</width><height>48</height></original_size>
    <source>a.mp4</source>
  </meta>
  <track id="0" label="the car">
    <box frame="10" keyframe="1" outside="0" xtl="0" ytl="0" xbr="10" ybr="10"/>
  </track>
</annotations>
"""


def label_studio(*sequence: dict[str, Any], video: str = "a.mp4", **value: Any) -> list[dict[str, Any]]:
    """An export of one rectangle; boxes are a quarter of the frame."""
    box = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0, "enabled": True}
    shown = {"labels": ["the car"], "sequence": [box | entry for entry in sequence], **value}
    result = {"id": "r", "type": "videorectangle", "to_name": "video", "from_name": "box", "value": shown}
    return [{"data": {"video": video}, "annotations": [{"result": [result]}]}]


@pytest.mark.parametrize(
    "keys",
    [
        [{"frame": 25, "time": 1.0}, {"frame": 49, "time": 2.0, "enabled": False}],
        [{"frame": 25}, {"frame": 49, "enabled": False}],
        # The tool's own player stands at frame / rate.
        [{"frame": 24, "time": 1.0}, {"frame": 48, "time": 2.0, "enabled": False}],
        # A time that cannot be: the number of the frame counts.
        [{"frame": 25, "time": 0.0}, {"frame": 49, "time": 0.0, "enabled": False}],
    ],
)
def test_label_studio_counts_at_its_own_rate(tmp_path: Path, keys: list[dict[str, Any]]) -> None:
    """24 frames a second of a video that has 30: what was drawn from 1.0 to 2.0 s stays there."""
    root = tmp_path / "data"
    write_video(root / "a.mp4", 90, 30)
    write(root / "export.json", label_studio(*keys, framesCount=72, duration=3.0))
    data = built("custom", root)
    assert data.only.window == (30, 61)
    assert data.only.boxes[45] == (0, 0, 32, 24)
    assert data.notes == {}


def test_label_studio_without_a_length_goes_by_time(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_video(root / "a.mp4", 90, 30)
    write(root / "export.json", label_studio({"frame": 25, "time": 1.0}, {"frame": 49, "time": 2.0}))
    assert built("custom", root).only.window == (30, 90)


def test_more_drawn_frames_than_the_video_has(tmp_path: Path) -> None:
    """60 drawn frames a second on a video of 10: the later of several boxes on one frame holds."""
    root = tmp_path / "data"
    write_video(root / "a.mp4", 20, 10)
    keys = [{"frame": number, "x": number} for number in range(1, 20)]
    keys[-1] |= {"enabled": False}
    write(root / "export.json", label_studio(*keys, framesCount=120, duration=2.0))
    record = built("custom", root).only
    assert sorted(record.boxes) == [0, 1, 2, 3]
    assert record.window == (0, 4)


def test_a_video_of_another_length_is_noted(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_video(root / "a.mp4", 90, 30)
    write(root / "export.json", label_studio({"frame": 25, "enabled": False}, framesCount=120, duration=5.0))
    ((note,),) = built("custom", root).notes.values()
    assert "5.00 s" in note


@pytest.mark.parametrize(
    ("stored", "annotated"),
    [
        ("clip.mp4", "/data/upload/1/b63d369b-clip.mp4"),
        ("b63d369b-clip.mp4", "/data/upload/1/b63d369b-clip.mp4"),
        ("my clip.mp4", "/data/upload/1/b63d369b-my_clip.mp4"),
    ],
)
def test_a_renamed_upload_is_found_again(tmp_path: Path, stored: str, annotated: str) -> None:
    root = tmp_path / "data"
    write_video(root / "videos" / stored, 10, 10)
    write(root / "export.json", label_studio({"frame": 1}, video=annotated, framesCount=10, duration=1.0))
    assert built("custom", root).only.video == f"videos/{stored}"


@pytest.mark.parametrize("frames", [116, None])
def test_a_cvat_task_ends_before_its_video(tmp_path: Path, frames: int | None) -> None:
    """With the video or without it: the drawing ends with the task."""
    root = tmp_path / "data"
    root.mkdir()
    if frames:
        write_video(root / "a.mp4", frames, 30)
    write(root / "job.xml", JOB)
    record = built("custom", root, annotations_only=frames is None, frame_rate=None if frames else 30.0).only
    assert record.window == (10, 60)
    assert (record.width, record.height) == (64, 48)
    assert len(record.boxes) == 50


def test_cvat_boxes_before_the_task_are_not_guessed_at(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_video(root / "a.mp4", 116, 30)
    write(root / "job.xml", JOB.replace('box frame="10"', 'box frame="0"'))
    with pytest.raises(DataError, match="before"):
        built("custom", root)


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".avi", ".dat"])
def test_a_path_that_exists_is_a_video(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "data"
    write_video(root / "a.mp4", 20, 25).rename(root / f"a{suffix}")
    line = {"video": f"a{suffix}", "query": "the car", "window": [2, 5]}
    write(root / "tubes.jsonl", json.dumps(line))
    record = built("custom", root).only
    assert (record.video, record.frame_count) == (f"a{suffix}", 20)


def test_an_annotation_file_is_no_video(tmp_path: Path) -> None:
    """ "clip" is the video "clip.mp4", and never the "clip.jsonl" beside it."""
    root = tmp_path / "data"
    write_video(root / "clip.mp4", 20, 25)
    write(root / "clip.jsonl", json.dumps({"video": "clip", "query": "the car", "window": [2, 5]}))
    assert built("custom", root).only.video == "clip.mp4"


def test_mot_without_side_files(tmp_path: Path) -> None:
    """gt.txt, labels.txt and pictures, as annotation servers export them; the class is the sentence."""
    root = tmp_path / "data"
    write(root / "seq" / "gt" / "gt.txt", "1,1,1,2,10,10,1,2,1.0\n3,1,2,2,10,10,1,2,1.0\n2,9,2,2,10,10,1,7,1\n")
    write(root / "seq" / "gt" / "labels.txt", "the dog\nthe car")
    (root / "seq" / "img1").mkdir()
    for number in range(1, 4):
        picture = Image.fromarray(np.zeros((48, 64, 3), np.uint8))
        picture.save(root / "seq" / "img1" / f"{number:06d}.jpg")
    (root / "seq" / "img1" / "._000001.jpg").write_bytes(b"not a picture")

    data = built("custom", root, frame_rate=10.0)
    record = data.only
    assert (record.query, record.fps, record.frame_count) == ("the car", 10.0, 3)
    assert (record.width, record.height) == (64, 48)
    assert record.boxes == {0: (1, 2, 11, 12), 2: (2, 2, 12, 12)}
    assert [reason for reason, _ in data.skipped.values()] == ["no sentence for the track"]


def test_mot_beside_a_video_of_the_folder_s_name(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_video(root / "seq.mp4", 20, Fraction(30000, 1001))
    write(root / "seq" / "gt" / "gt.txt", "1,1,1,2,10,10,1,1,1.0\n")
    write(root / "seq" / "gt" / "labels.txt", "the dog\n")
    record = built("custom", root).only
    assert (record.video, record.fps) == ("seq.mp4", pytest.approx(30000 / 1001))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.xml", "a.json", "s/gt/gt.txt"])
def test_a_compressed_file_is_called_one(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "data" / name, "")
    path.write_bytes(gzip.compress(b"video,query"))
    with pytest.raises(DataError, match="gunzip"):
        built("custom", tmp_path / "data")


@pytest.mark.parametrize(("times", "options"), [(None, {"frame_rate": 2.0}), ("0\n0.5\n1.0\n1.5\n", {})])
def test_a_folder_of_pictures_is_a_video(tmp_path: Path, times: str | None, options: dict[str, float]) -> None:
    root = tmp_path / "data"
    (root / "shots").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(np.full((48, 64, 3), 9 * number, np.uint8)).save(root / "shots" / f"{number}.png")
    if times is not None:
        write(root / "shots" / "times.txt", times)
    write(root / "tubes.jsonl", json.dumps({"video": "shots", "query": "the car", "start": 0.5, "end": 1.5}))
    record = built("custom", root, **options).only
    assert (record.media, record.video, record.fps, record.window) == ("frames", "shots", 2.0, (1, 3))
    assert (record.frame_count, record.width, record.height) == (4, 64, 48)
