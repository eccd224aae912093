"""A user's own tubes in five formats: what becomes of them, and one clear line for what is wrong."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from support.built_folder import built, write, write_video
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import DataError, InputError

LINE = {
    "video": "clips/a.mp4",
    "query": "the red car",
    "boxes": {"2": [1, 2, 11, 12], "4": [3, 2, 13, 12]},
}
FACTS = {"fps": 5, "frame_count": 20, "width": 64, "height": 48}
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>t</name><size>4</size><start_frame>2</start_frame><stop_frame>11</stop_frame>
    <frame_filter>step=3</frame_filter>
    <original_size><width>64</width><height>48</height></original_size><source>a.mp4</source></task></meta>
  <track id="7" label="red car">
    <box frame="2" keyframe="1" outside="0" xtl="0" ytl="0" xbr="10" ybr="10"/>
    <box frame="5" keyframe="1" outside="0" xtl="6" ytl="0" xbr="16" ybr="10"/>
    <box frame="8" keyframe="1" outside="1" xtl="6" ytl="0" xbr="16" ybr="10"/>
  </track>
</annotations>
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_video(tmp_path / "data" / "clips" / "a.mp4", 20, Fraction(30000, 1001))
    return tmp_path / "data"


def test_a_line_takes_what_the_video_knows(root: Path) -> None:
    write(root / "tubes.jsonl", json.dumps(LINE) + "\n")
    record = built("custom", root).only
    assert record.task == "stvg"
    assert record.window == (2, 5)
    assert record.boxes == {2: (1, 2, 11, 12), 4: (3, 2, 13, 12)}
    assert (record.fps, record.frame_count, record.clip) == (pytest.approx(30000 / 1001), 20, (0, 20))
    assert (record.id, record.provenance) == ("custom/tubes.jsonl/1", "tubes.jsonl:1")


def test_boxes_between_are_filled_only_when_asked(root: Path) -> None:
    write(root / "tubes.jsonl", json.dumps(LINE | {"interpolate": True, "id": "mine"}))
    record = built("custom", root).records["mine"]
    assert record.boxes == {2: (1, 2, 11, 12), 3: (2, 2, 12, 12), 4: (3, 2, 13, 12)}


@pytest.mark.parametrize(
    ("said", "window"),
    [
        ({"window": [1, 9]}, (1, 9)),
        ({"start": 0.4, "end": 1.0}, (2, 5)),
        ({"start": 0.0, "end": 4.0}, (0, 20)),
        ({"start": 0.41, "end": 0.45}, (2, 3)),  # shorter than a frame still is one
        ({"start": 3.0, "end": 9.0}, (15, 20)),
    ],
)
def test_windows(tmp_path: Path, said: dict[str, object], window: tuple[int, int]) -> None:
    line = {key: LINE[key] for key in ("video", "query")} | FACTS | said
    write(tmp_path / "data" / "tubes.jsonl", json.dumps(line))
    data = built("custom", tmp_path / "data", annotations_only=True)
    assert data.only.window == window
    assert data.only.task == "vtg"
    assert data.only.seconds == ((said["start"], said["end"]) if "start" in said else None)


def test_rows_of_one_tube_come_together(root: Path) -> None:
    text = "video,query,frame,x1,y1,x2,y2\na.mp4,the car,3,0,0,5,5\na.mp4,the dog,3,1,1,5,5\n"
    text += 'a.mp4,the car,4,1,0,6,5\na.mp4,"the cat, black",9,1,0,6,5\n'
    write(root / "tubes.csv", text)
    data = built("custom", root)
    shown = {record.query: (record.window, record.boxes) for record in data.records.values()}
    assert shown == {
        "the car": ((3, 5), {3: (0, 0, 5, 5), 4: (1, 0, 6, 5)}),
        "the dog": ((3, 4), {3: (1, 1, 5, 5)}),
        "the cat, black": ((9, 10), {9: (1, 0, 6, 5)}),
    }
    assert {record.video for record in data.records.values()} == {"clips/a.mp4"}


def test_a_task_that_takes_every_third_frame(root: Path) -> None:
    write(root / "annotations.xml", CVAT)
    data = built("custom", root)
    record = data.only
    assert record.query == "red car"
    assert record.window == (2, 8)
    assert [box[0] for box in record.boxes.values()] == [0, 2, 4, 6, 6, 6]
    assert record.provenance == "annotations.xml:7#track 7"
    # The task stops before the video does, which is not odd.
    assert data.notes == {}


def test_a_sequence_of_pictures(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(1, 4):
        write(root / "seq" / "img1" / f"{number:06d}.jpg", "a picture")
    info = "[Sequence]\nname=seq\nimDir=img1\nframeRate=2\nseqLength=3\nimWidth=64\nimHeight=48\nimExt=.jpg\n"
    write(root / "seq" / "seqinfo.ini", info)
    write(root / "seq" / "gt" / "gt.txt", "1,1,1,1,10,10,1,1,1\n3,1,2,1,10,10,1,1,1\n2,2,2,1,10,10,0,1,1\n")
    write(root / "seq" / "gt" / "queries.txt", "1\tthe first\n")
    record = built("custom", root).only
    assert (record.media, record.video, record.fps) == ("frames", "seq/img1", 2.0)
    assert record.boxes == {0: (1, 1, 11, 11), 2: (2, 1, 12, 11)}
    shifted = built("custom", root, root.with_name("shifted"), one_based_boxes=True).only
    assert shifted.boxes[0] == (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"boxes": {"20": [0, 0, 5, 5]}}, "a box after the end of the video"),
        ({"boxes": {"2": [0, 0, 5]}}, "malformed"),
        ({"boxes": {"2": [0, 0, 5, "wide"]}}, "not a number"),
        ({"boxes": {"2.5": [0, 0, 5, 5]}}, "not a whole number"),
        ({"boxes": {"2": [70, 0, 80, 5]}}, "no usable box"),
        ({"query": "  "}, "no query"),
        ({"colour": "red"}, "an unknown field"),
        ({"video": "../a.mp4"}, "the path leads out of the data set's folder"),
        ({"video": "b.mp4"}, "no video file"),
        ({"start": 1.0, "end": 0.5}, "a window that ends before it starts"),
        ({"window": [0, 4], "start": 0.0, "end": 0.5}, "window and seconds"),
        ({"window": [10, 14]}, "all boxes lie outside the window"),
        ({"window": [0, 40]}, "the fields contradict each other"),
        ({"width": 32, "height": 48}, "annotated on frames of another size"),
        ({"qtype": "imperative"}, "an unknown qtype"),
    ],
)
def test_what_cannot_be_used_has_a_reason(root: Path, change: dict[str, object], reason: str) -> None:
    write(root / "tubes.jsonl", "\n".join(json.dumps(line) for line in (LINE, LINE | change)))
    data = built("custom", root)
    assert list(data.records) == ["custom/tubes.jsonl/1"]
    assert data.skipped["custom/tubes.jsonl/2"][0] == reason


BOMB = '<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;">]>\n<annotations>&m;</annotations>'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", json.dumps(LINE) + "\n{", r"a\.jsonl:2: .*JSON"),
        ("a.jsonl", '{"query": "q"}', r"a\.jsonl:1: .*'video'"),
        ("a.csv", "video,query,frame\na.mp4,q", r"a\.csv:2: .*2 .*3 "),
        ("a.csv", "video,query,colour\n", r"a\.csv:1: .*'colour'"),
        ("a.xml", BOMB, r"a\.xml: .*document type"),
        ("a.xml", CVAT[:600], r"a\.xml:11: .*XML"),
        ("a.xml", "<svg></svg>", r"a\.xml:1: .*<svg>"),
        ("a.xml", "<a>" * 400, r"a\.xml:1: .*depth"),
        ("a.xml", CVAT.replace("1.1</v", "1.0</v"), r"version 1\.0 of CVAT"),
        ("a.json", "[1]", r"a\.json: \[0\]: "),
        ("a.json", '[{"data": {"video": "a.mp4"}, "annotations": [{}]}]', r"\[0\]\.annotations\[0\]"),
        ("s/gt/gt.txt", "1,1,1", r"gt\.txt:1: 3 values"),
        ("notes.txt", "", "no annotations"),
    ],
)
def test_a_broken_file_stops_the_build_with_its_line(root: Path, name: str, text: str, said: str) -> None:
    write(root / name, text)
    with pytest.raises(DataError, match=said):
        built("custom", root)
    assert not root.with_name("data-built").exists()


@pytest.mark.parametrize(
    ("line", "said"), [("1,1,1", r"gt\.txt:2: 3 values"), ("1,x,1,1,1,1", r"gt\.txt:2: not")]
)
def test_a_broken_line_of_a_sequence(root: Path, line: str, said: str) -> None:
    write(root / "s" / "seqinfo.ini", "[Sequence]\nvideo=a.mp4\n")
    write(root / "s" / "gt" / "gt.txt", f"1,1,1,1,1,1,1\n{line}\n")
    with pytest.raises(DataError, match=said):
        built("custom", root)


def test_several_formats_need_a_word(root: Path) -> None:
    write(root / "a.jsonl", json.dumps(LINE))
    write(root / "a.xml", CVAT)
    with pytest.raises(DataError, match=r"jsonl \(a.jsonl\) and cvat \(a.xml\)"):
        built("custom", root)
    assert built("custom", root, annotation_format="cvat").only.query == "red car"
    with pytest.raises(InputError, match="'coco'"):
        built("custom", root, annotation_format="coco")
    with pytest.raises(InputError, match="vidstg"):
        built("vidstg", root, annotation_format="csv")


def test_the_command(root: Path, tmp_path: Path) -> None:
    write(root / "a.xml", CVAT)
    words = ["data", "build", "custom", "--root", str(root), "--out", str(tmp_path / "o"), "--format", "cvat"]
    done = CliRunner().invoke(main.app, words)
    assert done.exit_code == 0, done.output
    assert "1 records" in done.output
