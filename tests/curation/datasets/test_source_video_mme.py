"""Video-MME: letters in the options, files that begin with a dash, endings in capitals, subtitles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.built_folder import built, write, write_video

from bridge_stg.errors import DataError
from bridge_stg.records.record import read_truth
from bridge_stg.records.subtitles import read_subtitles, said_at
from bridge_stg.types import TimeSpan

ROW: dict[str, Any] = {
    "video_id": "001",
    "duration": "short",
    "domain": "Knowledge",
    "sub_category": "Astronomy",
    "url": "https://www.youtube.com/watch?v=-bC_123xyz0",
    "videoID": "-bC_123xyz0",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "How many balloons are visible at the start?",
    "options": ["A. 1.", "B. 2.", "C. 3.", "D. 4."],
    "answer": "C",
}
SRT = """1
00:00:00,500 --> 00:00:02,000
<font color="white" size=".72c">hello there</font>

2
01:00:02,000 --> 01:00:03,250
<font color="white" size=".72c">two</font>
<font color="white" size=".72c">lines</font>
"""


def table(root: Path, *rows: dict[str, Any]) -> Path:
    path = root / "videomme/test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    write_video(root / "data/-bC_123xyz0.mp4", 20, 10).rename(root / "data/-bC_123xyz0.MP4")
    return root


def test_options_lose_their_letters_and_subtitles_are_found(root: Path) -> None:
    write(root / "subtitle/-bC_123xyz0.srt", SRT)
    data = built("video-mme", table(root, ROW))
    record = data.only
    assert record.choices == ("1.", "2.", "3.", "4.")
    assert (record.choice, record.kind, record.category) == ("C", "short", "Counting Problem")
    assert (record.video, record.subtitles) == ("data/-bC_123xyz0.MP4", "subtitle/-bC_123xyz0.srt")
    assert (record.fps, record.frame_count) == (10.0, 20)
    assert record.id == "video-mme/test/001-1"
    line = data.count("test", "questions")
    assert (line["published"], line["difference"]) == (2700, -2699)
    assert "early revisions have 2,541 or 2,544 rows" in line["explanation"]


def test_the_paths_in_the_truth_lead_from_its_own_folder(root: Path, tmp_path: Path) -> None:
    write(root / "subtitle/-bC_123xyz0.srt", SRT)
    out = tmp_path / "elsewhere/built"
    built("video-mme", table(root, ROW), out, truth=True)
    (record,) = read_truth(out / "truth.jsonl")
    assert (out / record.video).is_file()
    assert record.subtitles is not None
    assert read_subtitles(out / record.subtitles)[0][1] == "hello there"


def test_a_video_without_subtitles_and_options_without_letters(root: Path) -> None:
    data = built("video-mme", table(root, ROW | {"options": ["A. 1.", "2.", "C. C. 3.", "D. D."]}))
    assert data.only.subtitles is None
    assert data.only.choices == ("1.", "2.", "C. 3.", "D.")
    assert data.notes[data.only.id] == ["option B does not carry its letter"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": ["A. 1.", "B. 2."]}, "not four options with a letter as the answer"),
        ({"answer": "E"}, "not four options with a letter as the answer"),
        ({"answer": "AB"}, "not four options with a letter as the answer"),
        ({"duration": "eternal"}, "an unknown length class"),
        ({"videoID": "nowhere"}, "no video file"),
        ({"videoID": "../../etc/passwd"}, "the path leads out of the data set's folder"),
        ({"question_id": "001-1"}, "the same id twice"),
        ({"question": None}, "malformed"),
    ],
)
def test_a_bad_row_is_left_out_with_its_reason(changes: dict[str, Any], reason: str, root: Path) -> None:
    data = built("video-mme", table(root, ROW, ROW | {"question_id": "001-2"} | changes))
    assert [why for why, _ in data.skipped.values()] == [reason]


def test_an_early_revision_and_half_a_file(root: Path) -> None:
    table(root, {key: value for key, value in ROW.items() if key not in ("options", "videoID")})
    with pytest.raises(DataError, match="options, videoID"):
        built("video-mme", root)
    path = table(root, ROW) / "videomme/test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="Parquet"):
        built("video-mme", root)


def test_subtitles_without_their_tags_at_the_wanted_times(tmp_path: Path) -> None:
    subtitles = read_subtitles(write(tmp_path / "a.srt", SRT))
    assert subtitles == ((TimeSpan(0.5, 2.0), "hello there"), (TimeSpan(3602.0, 3603.25), "two lines"))
    assert said_at(subtitles, [0.0, 0.49, 2.0]) == ()
    assert said_at(subtitles, [0.5, 1.0, 3602.0]) == ("hello there", "two lines")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff\xfe\x00"])
def test_a_file_without_subtitles_says_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.srt: "):
        read_subtitles(tmp_path / "a.srt")
