"""What is written for an annotation tool comes back frame for frame; the files themselves are as documented."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_stg.curation.annotations import coco_vid, cvat, labelstudio, mot
from bridge_stg.curation.annotations.drawn_tubes import (
    DrawnTube,
    DrawnVideo,
    Item,
    Keyframe,
    fill,
    plain,
    separate,
    turned,
)
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError
from bridge_stg.types import Box

VIDEO = DrawnVideo(
    "clips/a b.mp4",
    Fraction(25),
    10,
    200,
    50,
    (DrawnTube('the "red" car & <more>', {3: (10.0, 5.0, 60.0, 30.0), 4: (12.0, 5.0, 62.0, 30.0)}),),
)


@st.composite
def videos(draw: st.DrawFn) -> DrawnVideo:
    width, height = draw(st.integers(2, 8000)), draw(st.integers(2, 5000))
    frames = draw(st.integers(1, 60))

    def ends(side: int) -> tuple[float, float]:
        """Two different hundredths of a pixel."""
        start = draw(st.integers(0, 100 * side - 1))
        return start / 100, draw(st.integers(start + 1, 100 * side)) / 100

    def box() -> Box:
        (left, right), (top, bottom) = ends(width), ends(height)
        return left, top, right, bottom

    tubes = []
    for _ in range(draw(st.integers(1, 3))):
        seen = draw(st.sets(st.integers(0, frames - 1), min_size=1, max_size=12))
        query = draw(st.text(min_size=1).filter(lambda text: plain(text)))
        tubes.append(DrawnTube(query, {frame: box() for frame in sorted(seen)}))
    return DrawnVideo("a.mp4", Fraction(30000, 1001), frames, width, height, tuple(tubes))


def returned(item: Item, video: DrawnVideo) -> tuple[str, dict[int, Box]]:
    drawing = item.read()
    boxes = fill(drawing.keys, video.frame_count)
    if drawing.percent:
        x, y = video.width / 100, video.height / 100
        boxes = {frame: (a * x, b * y, c * x, d * y) for frame, (a, b, c, d) in boxes.items()}
    return drawing.query, {frame: tuple(round(v, 2) for v in box) for frame, box in boxes.items()}  # type: ignore[misc]


@settings(max_examples=60)
@given(videos(), st.sampled_from(["cvat", "mot", "labelstudio"]))
def test_every_frame_and_hundredth_of_a_pixel_comes_back(video: DrawnVideo, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if name == "cvat":
            (path,) = cvat.write([video], Path(folder) / "a.xml")
            items = list(cvat.read(path, "a.xml"))
        elif name == "mot":
            (path,) = mot.write([video], Path(folder))
            items = list(mot.read(path, "a.mp4/gt/gt.txt", one_based_boxes=False))
        else:
            (path,) = labelstudio.write([video], Path(folder) / "a.json")
            items = list(labelstudio.read(path, "a.json"))
        found = {item.name: returned(item, video) for item in items}
    wanted = [(plain(tube.query), tube.boxes) for tube in video.tubes]
    # The lines of MOT are sorted by frame, so its tracks come in the order in which they appear.
    assert sorted(found.values(), key=repr) == sorted(wanted, key=repr)
    assert {item.video for item in items} == {"a.mp4"}


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 400), min_size=4, max_size=4),
    st.lists(st.integers(0, 400), min_size=4, max_size=4),
    st.integers(1, 9),
)
def test_cvat_interpolates_to_what_was_written(first: list[int], last: list[int], steps: int) -> None:
    """A reader that drops keyframe="0" and draws straight lines, as CVAT does, gets the boxes written there."""

    def box(share: float) -> Box:
        x, y, w, h = (a + (b - a) * share for a, b in zip(first, last, strict=True))
        return x, y, x + w + 1, y + h + 1

    tube = DrawnTube("q", {5 + n: box(n / steps) for n in range(steps + 1)}, frozenset({5, 5 + steps}))
    with tempfile.TemporaryDirectory() as folder:
        video = DrawnVideo("a.mp4", Fraction(25), 30, 900, 900, (tube,))
        (path,) = cvat.write([video], Path(folder) / "a.xml")
        boxes = list(ElementTree.parse(path).getroot().iter("box"))
    keys = [box for box in boxes if box.get("keyframe") == "1"]
    assert [int(str(key.get("frame"))) for key in keys] == [5, 5 + steps, 6 + steps]
    drawn = fill([cvat.read_key(key) for key in keys], 30)
    assert set(drawn) == set(tube.boxes)
    for frame, corners in tube.boxes.items():
        assert drawn[frame] == pytest.approx(corners, abs=0.011)


def test_cvat_counts_from_0_and_closes_the_track(tmp_path: Path) -> None:
    (path,) = cvat.write([VIDEO], tmp_path / "a.xml")
    root = ElementTree.parse(path).getroot()
    shown = [
        (box.get("frame"), box.get("outside"), box.get("keyframe"), box.get("xtl"), box.get("ybr"))
        for box in root.iter("box")
    ]
    assert shown == [
        ("3", "0", "1", "10.00", "30.00"),
        ("4", "0", "1", "12.00", "30.00"),
        ("5", "1", "1", "12.00", "30.00"),
    ]
    assert {a.text for a in root.iter("attribute") if a.get("name")} == {'the "red" car & <more>'}
    assert root.findtext("meta/task/source") == "clips/a b.mp4"
    assert root.findtext("meta/task/stop_frame") == "9"


def test_cvat_does_not_close_what_lasts_to_the_end(tmp_path: Path) -> None:
    tube = DrawnTube("q", {9: (0.0, 0.0, 1.0, 1.0)})
    (path,) = cvat.write([DrawnVideo("a.mp4", Fraction(5), 10, 9, 9, (tube,))], tmp_path / "a.xml")
    assert [box.get("frame") for box in ElementTree.parse(path).getroot().iter("box")] == ["9"]


def test_mot_counts_frames_and_tracks_from_1(tmp_path: Path) -> None:
    (path,) = mot.write([VIDEO], tmp_path)
    assert path == tmp_path / "clips" / "a b.mp4" / "gt" / "gt.txt"
    assert path.read_text() == "4,1,10.00,5.00,50.00,25.00,1,1,1\n5,1,12.00,5.00,50.00,25.00,1,1,1\n"
    assert (path.parent / "queries.txt").read_text() == '1\tthe "red" car & <more>\n'
    about = (path.parent.parent / "seqinfo.ini").read_text()
    assert "frameRate=25\nseqLength=10\nimWidth=200\nimHeight=50\n" in about


def test_mot_pixels_count_from_0_unless_asked(tmp_path: Path) -> None:
    (path,) = mot.write([VIDEO], tmp_path)
    (as_is,) = mot.read(path, "s/gt/gt.txt", one_based_boxes=False)
    (shifted,) = mot.read(path, "s/gt/gt.txt", one_based_boxes=True)
    assert as_is.read().keys[0] == Keyframe(3, (10, 5, 60, 30))
    assert shifted.read().keys[0] == Keyframe(3, (9, 4, 59, 29))


def test_label_studio_counts_from_1_in_percent(tmp_path: Path) -> None:
    (path,) = labelstudio.write([VIDEO], tmp_path / "a.json")
    ((task,),) = [json.loads(path.read_text())]
    assert task["data"] == {"video": "clips/a b.mp4", "fps": 25.0}
    rectangle, text = task["annotations"][0]["result"]
    assert rectangle["value"]["sequence"] == [
        {"frame": 4, "time": 0.12, "enabled": True, "rotation": 0, "x": 5, "y": 10, "width": 25, "height": 50},
        {"frame": 5, "time": 0.16, "enabled": False, "rotation": 0, "x": 6, "y": 10, "width": 25, "height": 50},
    ]
    assert (rectangle["value"]["framesCount"], rectangle["value"]["duration"]) == (10, 0.4)
    assert text["id"] == rectangle["id"]
    assert text["value"] == {"text": ['the "red" car & <more>']}


def test_label_studio_straight_lines_and_gaps(tmp_path: Path) -> None:
    """Drawn by a person: two rectangles, a gap, and one that stays."""
    sequence = [
        {"frame": 1, "enabled": True, "x": 0, "y": 0, "width": 10, "height": 10},
        {"frame": 3, "enabled": False, "x": 20, "y": 0, "width": 10, "height": 10},
        {"frame": 6, "enabled": True, "x": 50, "y": 50, "width": 10, "height": 10},
    ]
    value = {"framesCount": 8, "duration": 2.0, "sequence": sequence, "labels": ["the", "dog"]}
    task = {
        "data": {"video": "/data/local-files/?d=clips/a.mp4"},
        "annotations": [{"result": [{"id": "x", "type": "videorectangle", "value": value}]}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps([task]))
    (item,) = labelstudio.read(path, "a.json")
    drawing = item.read()
    assert (item.video, drawing.query, drawing.fps) == ("clips/a.mp4", "the dog", 4.0)
    boxes = fill(drawing.keys, 8)
    assert sorted(boxes) == [0, 1, 2, 5, 6, 7]
    assert boxes[1] == (10, 0, 20, 10)
    assert boxes[7] == (50, 50, 60, 60)


def test_coco_vid_by_hand(tmp_path: Path) -> None:
    tube = DrawnTube("q", {4: (0.0, 0.0, 1.0, 1.0)}, score=0.5)
    (path,) = coco_vid.write(
        [VIDEO, DrawnVideo("b.mp4", Fraction(5), 6, 9, 9, (tube, tube))], tmp_path / "a.json"
    )
    found = json.loads(path.read_text())
    assert [(v["id"], v["name"], v["fps"], v["length"]) for v in found["videos"]] == [
        (1, "clips/a b.mp4", 25.0, 10),
        (2, "b.mp4", 5.0, 6),
    ]
    assert [(i["id"], i["video_id"], i["frame_id"], i["file_name"]) for i in found["images"]] == [
        (1, 1, 3, "clips/a b.mp4/000003.jpg"),
        (2, 1, 4, "clips/a b.mp4/000004.jpg"),
        (3, 2, 4, "b.mp4/000004.jpg"),
    ]
    assert [(a["id"], a["image_id"], a["instance_id"], a["bbox"]) for a in found["annotations"]] == [
        (1, 1, 1, [10.0, 5.0, 50.0, 25.0]),
        (2, 2, 1, [12.0, 5.0, 50.0, 25.0]),
        (3, 3, 2, [0.0, 0.0, 1.0, 1.0]),
        (4, 3, 3, [0.0, 0.0, 1.0, 1.0]),
    ]
    # Readers of the format complain where the field is missing.
    assert {tuple(a["segmentation"]) for a in found["annotations"]} == {()}
    assert [track.get("score") for track in found["tracks"]] == [None, 0.5, 0.5]


def test_keys_fill_the_frames_between() -> None:
    keys = [Keyframe(1, (0, 0, 4, 4)), Keyframe(3, (2, 0, 6, 4)), Keyframe(5, None), Keyframe(7, (1, 1, 2, 2))]
    assert fill(keys, 9) == {
        1: (0, 0, 4, 4),
        2: (1, 0, 5, 4),
        3: (2, 0, 6, 4),
        4: (2, 0, 6, 4),
        7: (1, 1, 2, 2),
        8: (1, 1, 2, 2),
    }
    with pytest.raises(Unusable):
        fill([Keyframe(1, (0, 0, 1, 1)), Keyframe(1, (0, 0, 1, 1))], 9)


@given(st.sets(st.integers(0, 30)))
def test_separate_boxes_stay_on_their_frames(frames: set[int]) -> None:
    boxes: dict[int, Box] = {frame: (float(frame), 0.0, frame + 1.0, 1.0) for frame in frames}
    assert fill(separate(boxes), 40) == boxes


def test_a_turned_box_is_enclosed() -> None:
    assert turned((0, 0, 4, 2), 90, (2, 1)) == pytest.approx((1, -1, 3, 3))


def test_names_that_would_leave_or_meet(tmp_path: Path) -> None:
    tube = DrawnTube("q", {0: (0.0, 0.0, 1.0, 1.0)})
    outside = DrawnVideo("/etc/../../x.mp4", Fraction(5), 6, 9, 9, (tube,))
    assert outside.safe_name.as_posix() == "etc/x.mp4"
    assert DrawnVideo("a/b\0.mp4", Fraction(5), 6, 9, 9, (tube,)).safe_name.as_posix() == "a/b_.mp4"
    with pytest.raises(DataError, match="same file"):
        mot.write([outside, DrawnVideo("etc/x.mp4", Fraction(5), 6, 9, 9, (tube,))], tmp_path)
