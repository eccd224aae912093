"""VidSTG: exclusive event ends, inclusive segment ends, the segment as the clip, and VidOR's gaps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.built_folder import built, write

from bridge_stg.errors import DataError
from bridge_stg.geometry.spans import sampled_in_span

THINGS = [{"tid": 0, "category": "adult"}, {"tid": 3, "category": "dog"}]
CAPTION = {"description": "an adult in blue watches a dog.", "type": "person", "target_id": 0}
QUESTION = {"description": "what does the adult in blue watch?", "type": "object", "target_id": 3}


def row(segment: tuple[int, int], event: tuple[int, int], **changes: Any) -> dict[str, Any]:
    begin, end = event
    relation = {"subject_tid": 0, "object_tid": 3, "predicate": "watch", "begin_fid": begin, "end_fid": end}
    return {
        "vid": "1234567890",
        "frame_count": 60,
        "fps": 10.0,
        "width": 64,
        "height": 48,
        "subject/objects": THINGS,
        "used_segment": {"begin_fid": segment[0], "end_fid": segment[1]},
        "used_relation": relation,
        "temporal_gt": {"begin_fid": begin, "end_fid": end},
        "captions": [CAPTION],
        "questions": [],
    } | changes


def thing(tid: int, frame: int) -> dict[str, Any]:
    box = {"xmin": 4 + frame / 2, "ymin": 5, "xmax": 20 + frame / 2, "ymax": 40}
    box = box if tid == 0 else {"xmin": 30, "ymin": 25, "xmax": 50, "ymax": 44}
    return {"tid": tid, "bbox": box, "generated": int(frame > 0), "tracker": "none"}


VIDOR: dict[str, Any] = {
    "version": "VERSION 1.0",
    "video_id": "1234567890",
    "video_hash": "0",
    "video_path": "0001/1234567890.mp4",
    "frame_count": 60,
    "fps": 10.0,
    "width": 64,
    "height": 48,
    "subject/objects": THINGS,
    # The dog is away in frame 25, everybody in frame 30.
    "trajectories": [
        [] if frame == 30 else [thing(tid, frame) for tid in (0, 3) if (tid, frame) != (3, 25)]
        for frame in range(60)
    ],
    "relation_instances": [
        {"subject_tid": 0, "object_tid": 3, "predicate": "watch", "begin_fid": 0, "end_fid": 3}
    ],
}


def folder(root: Path, rows: list[Any], vidor: Any = VIDOR, split: str = "val") -> Path:
    write(root / f"VidSTG-Dataset/annotations/{split}_annotations.json", rows)
    write(root / f"VidSTG-Dataset/annotations/{split}_files.json", ["1234567890"])
    if vidor is not None:
        write(root / "vidor/annotation/training/0001/1234567890.json", vidor)
    write(root / "vidor/video/0001/1234567890.mp4", "a video")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_an_event_may_end_with_the_video_and_the_segment_ends_on_its_last_frame(root: Path) -> None:
    record = built("vidstg", folder(root, [row((10, 59), (20, 60))]), split="val").only
    assert (record.clip, record.window) == ((10, 60), (20, 60))
    assert record.id == "vidstg/val/0/caption0"
    assert record.video == "vidor/video/0001/1234567890.mp4"
    assert (record.fps, record.frame_count, record.width, record.height) == (10.0, 60, 64, 48)
    assert (record.query, record.qtype, record.category) == (CAPTION["description"], "declarative", "adult")
    assert (record.source, record.split) == ("vidstg", "val")


def test_a_segment_inside_the_video_keeps_its_end_frame(root: Path) -> None:
    record = built("vidstg", folder(root, [row((0, 30), (4, 8))]), split="val").only
    assert (record.clip, record.window) == ((0, 31), (4, 8))
    assert sorted(record.boxes) == [4, 5, 6, 7]
    assert record.boxes[5] == (6.5, 5, 22.5, 40)


def test_a_question_has_its_own_target_and_its_gaps_are_noted(root: Path) -> None:
    data = built("vidstg", folder(root, [row((10, 59), (20, 60), questions=[QUESTION])]), split="val")
    dog, adult = data.records["vidstg/val/0/question0"], data.records["vidstg/val/0/caption0"]
    assert (dog.qtype, dog.category) == ("interrogative", "dog")
    assert set(range(20, 60)) - set(dog.boxes) == {25, 30}
    assert set(range(20, 60)) - set(adult.boxes) == {30}
    assert data.notes == {dog.id: ["2 of 40 frames have no box"], adult.id: ["1 of 40 frames have no box"]}


def test_the_same_sentence_of_the_same_video_stays_twice(root: Path) -> None:
    data = built("vidstg", folder(root, [row((10, 59), (20, 60)), row((0, 30), (4, 8))]), split="val")
    assert [record.clip for record in data.records.values()] == [(10, 60), (0, 31)]
    assert len({record.query for record in data.records.values()}) == 1


@pytest.mark.parametrize("fps", [10, 10.0, 29.97, 23.976])
def test_the_rate_may_be_a_whole_number_or_not(fps: float, root: Path) -> None:
    assert built("vidstg", folder(root, [row((0, 30), (4, 8), fps=fps)]), split="val").only.fps == fps


def test_an_event_between_two_sampled_frames_still_has_one(root: Path) -> None:
    record = built("vidstg", folder(root, [row((0, 30), (6, 9))]), split="val").only
    assert record.window is not None
    sampled = np.arange(0, 3.1, 0.5)  # 2 per second: none of them within [0.6, 0.9)
    span = record.clock.span(*record.window)
    assert not ((sampled >= span.start) & (sampled < span.end)).any()
    assert sampled_in_span(sampled, span).tolist() == [1]


def test_a_trajectory_list_may_be_shorter_than_the_video(root: Path) -> None:
    short = VIDOR | {"trajectories": VIDOR["trajectories"][:50]}
    data = built("vidstg", folder(root, [row((10, 59), (40, 60))], short), split="val")
    assert sorted(data.only.boxes) == list(range(40, 50))
    assert data.notes[data.only.id] == ["10 of 20 frames have no box"]


def test_the_size_of_vidor_wins_because_the_boxes_are_in_it(root: Path) -> None:
    data = built("vidstg", folder(root, [row((0, 30), (4, 8), width=48, height=64)]), split="val")
    assert (data.only.width, data.only.height) == (64, 48)
    assert data.notes[data.only.id] == ["VidSTG says 48x64, VidOR 64x48; VidOR's size is kept"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (row((0, 30), (40, 50)), "the event is not inside its segment"),
        (row((10, 30), (5, 20)), "the event is not inside its segment"),
        (row((0, 30), (30, 31), captions=[CAPTION | {"target_id": 9}]), "no usable box"),
        (row((0, 30), (4, 8), vid="55"), "no VidOR boxes of this video"),
        (row((0, 30), (4, 8), fps="10"), "malformed"),
        (row((0, 30), (4, 8), fps=0), "the fields contradict each other"),
        (row((0, 30), (4, 8), captions=[{"description": "x"}]), "a field is missing"),
        (row((0, 30), (4, 8), temporal_gt=None), "malformed"),
    ],
)
def test_a_bad_row_is_left_out_with_its_reason(broken: dict[str, Any], reason: str, root: Path) -> None:
    data = built("vidstg", folder(root, [broken, row((0, 30), (4, 8))]), split="val")
    assert data.skipped["vidstg/val/0/caption0"][0] == reason
    assert list(data.records) == ["vidstg/val/1/caption0"]
    assert data.counts["splits"]["val"]["reasons"] == {reason: 1}


@pytest.mark.parametrize("nothing", [None, 5, [], {"vid": "1234567890"}])
def test_a_row_that_is_no_row_loses_no_other(nothing: Any, root: Path) -> None:
    data = built("vidstg", folder(root, [nothing, row((0, 30), (4, 8))]), split="val")
    assert list(data.records) == ["vidstg/val/1/caption0"]
    assert {reason for reason, _ in data.skipped.values()} == {"malformed"}


def test_a_video_that_is_not_there_is_left_out_unless_videos_are_not_looked_for(root: Path) -> None:
    folder(root, [row((0, 30), (4, 8))])
    other = copy.deepcopy(VIDOR) | {"video_path": "0002/9.mp4"}
    write(root / "vidor/annotation/validation/0002/9.json", other)
    write(
        root / "VidSTG-Dataset/annotations/val_annotations.json",
        [row((0, 30), (4, 8), vid="9"), row((0, 30), (4, 8))],
    )
    data = built("vidstg", root, split="val")
    assert data.skipped == {"vidstg/val/0/caption0": ("no video file", "0002/9.mp4")}
    unseen = built("vidstg", root, root.with_name("unseen"), split="val", annotations_only=True)
    assert [record.video for record in unseen.records.values()] == [
        "vidor/video/0002/9.mp4",
        "vidor/video/0001/1234567890.mp4",
    ]


def test_a_path_that_climbs_out_of_the_folder_is_refused(root: Path) -> None:
    evil = VIDOR | {"video_path": "../../../etc/passwd"}
    folder(root, [row((0, 30), (4, 8)), row((0, 30), (4, 8), vid="9")], evil)
    write(root / "vidor/annotation/training/0001/9.json", VIDOR)
    data = built("vidstg", root, split="val", annotations_only=True)
    assert data.skipped["vidstg/val/0/caption0"] == (
        "the path leads out of the data set's folder",
        "'../../../etc/passwd'",
    )
    assert list(data.records) == ["vidstg/val/1/caption0"]


def test_counts_are_those_of_the_file_whatever_is_kept(root: Path) -> None:
    rows = [row((0, 30), (4, 8), questions=[QUESTION, QUESTION]), row((0, 30), (40, 50))]
    data = built("vidstg", folder(root, rows), split="val")
    spoken, asked = data.count("val", "declarative"), data.count("val", "interrogative")
    assert (spoken["read"], spoken["kept"], spoken["published"]) == (2, 1, 3996)
    assert (asked["read"], asked["kept"], asked["published"]) == (2, 2, 4960)
    assert spoken["difference"] == 2 - 3996
    assert spoken["explanation"].startswith("the files hold 3994 fewer than published; half a download")
    assert data.count("val", "videos")["read"] == 1


def test_a_vidor_file_that_is_cut_off_takes_only_its_own_rows(root: Path) -> None:
    folder(root, [row((0, 30), (4, 8)), row((0, 30), (4, 8), vid="9")])
    write(root / "vidor/annotation/training/0001/9.json", '{"version": "VERS')
    data = built("vidstg", root, split="val")
    assert data.skipped["vidstg/val/1/caption0"][0] == "VidOR's file cannot be read"
    assert list(data.records) == ["vidstg/val/0/caption0"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "VidSTG-Dataset",
            "VidSTG's sentences not found; expected VidSTG-Dataset/annotations/val_annotations.json",
        ),
        ("vidor/annotation", "VidOR's boxes not found; expected vidor/annotation/training"),
        ("vidor", "VidOR's boxes not found"),
    ],
)
def test_a_wrong_folder_says_what_was_expected(missing: str, message: str, root: Path) -> None:
    folder(root, [row((0, 30), (4, 8))])
    (root / missing).rename(root.with_name("elsewhere"))
    with pytest.raises(DataError, match=message):
        built("vidstg", root, split="val")


def test_a_sentence_file_that_is_cut_off_is_an_error(root: Path) -> None:
    path = folder(root, [row((0, 30), (4, 8))]) / "VidSTG-Dataset/annotations/val_annotations.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match=r"val_annotations\.json: .*JSON"):
        built("vidstg", root, split="val")
