"""NExT-QA: the word none, ids per video, the map to folders, and the rate that only the video knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.built_folder import built, write, write_video

from bridge_stg.errors import DataError, InputError

HEADER = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
WHY = "1234567890,20,64,48,why did the child bend down,2,0,CW,to dance,to sleep,pick up the ball,wave,none"
WHERE = "1234567890,20,64,48,where is this happening,4,1,DL,beach,office,kitchen,boat,garden"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    write_video(root / "NExTVideo/1164/1234567890.mp4", 20, 10)
    write(
        root / "dataset/nextqa/map_vid_vidorID.json",
        {"1234567890": "1164/1234567890", "55": "1/55", "66": "../66"},
    )
    return root


def table(root: Path, *rows: str, header: str = HEADER) -> Path:
    write(root / "dataset/nextqa/val.csv", "\n".join([header, *rows]) + "\n")
    return root


def test_options_are_text_and_the_answer_a_letter(root: Path) -> None:
    data = built("nextqa", table(root, WHY, WHERE), split="val")
    why, where = data.records.values()
    assert (why.id, where.id) == ("nextqa/val/1234567890_0", "nextqa/val/1234567890_1")
    assert why.choices == ("to dance", "to sleep", "pick up the ball", "wave", "none")
    assert (why.choice, where.choice) == ("C", "E")
    assert (why.task, why.kind, where.kind) == ("vqa", "CW", "DL")
    assert (why.fps, why.frame_count, why.clip) == (10.0, 20, (0, 20))
    assert why.video == "NExTVideo/1164/1234567890.mp4"
    assert [data.count("val", what)["read"] for what in ("questions", "videos")] == [2, 1]
    assert data.count("val", "questions")["published"] == 4996


def test_a_quoted_question_and_options_that_read_the_same(root: Path) -> None:
    row = '1234567890,21,64,48,"who, then",0,3,TP,one,one,two,three,four'
    data = built("nextqa", table(root, row), split="val")
    assert data.only.query == "who, then"
    assert data.notes[data.only.id] == [
        "two options read the same",
        "the table says 21 frames, the video has 20",
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (WHY.replace(",2,0,", ",5,0,"), "the answer is none of the options"),
        (WHY.replace(",2,0,", ",-1,0,"), "the answer is none of the options"),
        (WHY.replace(",2,0,", ",C,0,"), "malformed"),
        (WHY.replace("CW", "XX"), "an unknown type of question"),
        (WHY.rpartition(",")[0], "malformed"),
        (WHY + ",more", "malformed"),
        (WHY.replace("1234567890", "99"), "the video is not in map_vid_vidorID.json"),
        (WHY.replace("1234567890", "55"), "no video file"),
        (WHY.replace("1234567890", "66"), "the path leads out of the data set's folder"),
        (WHERE, "the same id twice"),
    ],
)
def test_a_bad_row_is_left_out_with_its_reason(row: str, reason: str, root: Path) -> None:
    data = built("nextqa", table(root, WHERE, row), split="val")
    assert [why for why, _ in data.skipped.values()] == [reason]
    assert data.only.query == "where is this happening"


def test_a_table_of_another_kind_or_none(root: Path) -> None:
    with pytest.raises(DataError, match="a0, a1, a2, a3, a4"):
        built("nextqa", table(root, "1,2", header="video,frame_count,question,answer,qid,type"), split="val")
    with pytest.raises(DataError, match=r"val\.csv:.*table"):
        built("nextqa", table(root, WHY, '1,20,64,48,"never closed'), split="val", out=root / "out")
    with pytest.raises(DataError, match=r"dataset/nextqa/test\.csv"):
        built("nextqa", root, split="test")
    with pytest.raises(InputError, match=r"nextqa .*how fast"):
        built("nextqa", root, split="val", annotations_only=True)
