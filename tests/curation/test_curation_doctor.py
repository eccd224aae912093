"""The doctor against data that was damaged on purpose: everything is found, nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "video"))
from support.video_files import write_file

from bridge_stg.curation.doctor.examine import Diagnosis, examine
from bridge_stg.curation.doctor.findings import KINDS
from bridge_stg.curation.doctor.record_checks import check_record
from bridge_stg.curation.doctor.videos import OpenedFile
from bridge_stg.errors import DataError, InputError
from bridge_stg.files.worker_pool import Died, run_each
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import write_store

FRAMES = 20  # of every video written here: 64x48 at 30 per second


def record(name: str, **changes: Any) -> TruthRecord:
    values: dict[str, Any] = {
        "id": name,
        "task": "stvg",
        "video": "a.mp4",
        "fps": 30.0,
        "frame_count": FRAMES,
        "clip": (0, FRAMES),
        "width": 64,
        "height": 48,
        "query": f"the thing {name}",
        "window": (3, 5),
        "boxes": {3: (1.0, 2.0, 10.0, 20.0), 4: (1.0, 2.0, 64.0, 48.0)},
        "split": "train",
    }
    return TruthRecord(**values | changes)


def lines(folder: Path, *records: TruthRecord | str) -> Path:
    text = [one if isinstance(one, str) else json.dumps(one.to_json()) for one in records]
    (folder / "truth.jsonl").write_text("\n".join(text) + "\n")
    return folder


def kinds(folder: Path, **options: Any) -> dict[str, int]:
    return examine(folder, folder / "out", **options).kinds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_file(tmp_path / "a.mp4")
    return tmp_path


def test_sound_data_has_no_findings(folder: Path) -> None:
    diagnosis = examine(
        lines(folder, record("q1"), record("q2", window=(5, 6), boxes={5: (0, 0, 1, 1)})), folder
    )
    assert (diagnosis.kinds, diagnosis.healthy) == ({}, True)
    assert (diagnosis.annotations.records, len(diagnosis.files.by_path)) == (2, 1)


# What is changed in a sound record, and what is to be said of it.
RECORDS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"boxes": {3: (-0.9, 0, 64.9, 48.9)}}, []),
    ({"boxes": {3: (-1.1, 0, 10, 10)}}, ["box beyond edge"]),
    ({"boxes": {3: (0, 0, 10, 49.5)}}, ["box beyond edge"]),
    ({"boxes": {3: (64, 0, 70, 10)}}, ["box outside image"]),
    ({"boxes": {3: (0, -10, 10, 0)}}, ["box outside image"]),
    ({"boxes": {3: (5, 5, 5, 9)}}, ["box without area"]),
    ({"boxes": {3: (5, 5, 8, 9), 5: (5, 5, 8, 9)}}, ["box outside window"]),
    ({"boxes": {}}, ["no boxes"]),
    ({"boxes": {}, "window": None, "absent": True}, []),
    ({"task": "vtg", "boxes": {}}, []),
    ({"query": "  "}, ["empty query"]),
    ({"clip": (5, 20)}, ["window outside clip"]),
    ({"clip": (0, 3)}, ["window outside clip"]),
    ({"clip": (4, 20)}, ["window beyond clip"]),
    ({"clip": (3, 5)}, []),
]


@pytest.mark.parametrize(("changes", "expected"), RECORDS)
def test_one_record(changes: dict[str, Any], expected: list[str]) -> None:
    assert [finding.kind for finding in check_record(record("q", **changes))] == expected


def test_lines_that_are_no_records_hide_nothing(folder: Path) -> None:
    empty = json.dumps(record("empty").to_json() | {"window": [4, 4]})
    diagnosis = examine(lines(folder, '{"id": "cut', empty, "[]", record("q1"), record("q1")), folder / "out")
    assert diagnosis.annotations.unusable == 3
    assert diagnosis.annotations.records == 2
    assert diagnosis.kinds == {
        "malformed record": 2,
        "empty window": 1,
        "duplicate id": 1,
        "duplicate question": 1,
    }


def test_duplicates_are_the_same_question_about_the_same_part(folder: Path) -> None:
    same = record("q2", query="The  THING q1", boxes={3: (0, 0, 1, 1)})
    later, part = record("q3", query=same.query, window=(3, 6)), record("q4", query=same.query, clip=(1, 20))
    assert kinds(lines(folder, record("q1"), same, later, part)) == {"duplicate question": 1}


def test_files_that_cannot_be_used(folder: Path) -> None:
    whole = write_file(folder / "whole.mp4", stamps=tuple(range(200)), options={}, container_options=MOOV_FIRST)
    content = whole.read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (folder / "text.mp4").write_text("no video\n" * 100)
    (folder / "empty.mp4").write_bytes(b"")
    long = {"frame_count": 200, "clip": (0, 200)}
    found = examine(
        lines(
            folder,
            record("cut", video="cut.mp4", **long),
            record("text", video="text.mp4"),
            record("empty", video="empty.mp4"),
            record("gone", video="gone.mp4"),
            record("gone too", video="gone.mp4"),
        ),
        folder / "out",
    )
    assert found.kinds == {
        "missing video": 1,
        "unreadable video": 2,
        "truncated video": 1,
        "clip after the end": 1,
        "frame count differs": 1,
        "duration differs": 1,
    }
    assert (len(found.files.by_path), len(found.files.missing)) == (3, 1)
    said = next(finding for finding in found.findings if finding.kind == "missing video")
    assert (said.video, said.detail) == ("gone.mp4", "2 record(s) ask about it")


MOOV_FIRST = {"movflags": "faststart"}


def test_damage_at_the_end_of_a_file_of_full_length(folder: Path) -> None:
    whole = write_file(folder / "b.mp4", stamps=tuple(range(40)), gop=10, container_options=MOOV_FIRST)
    content = bytearray(whole.read_bytes())
    begin = content.index(b"mdat") + 4
    # The end becomes noise; the index still promises everything.
    for place in range(begin + 2 * (len(content) - begin) // 3, len(content)):
        content[place] = (place * 37) % 256
    whole.write_bytes(bytes(content))
    found = kinds(lines(folder, record("b", video="b.mp4", frame_count=40, clip=(0, 40))))
    assert found == {"damaged video": 1}


def test_size_shape_and_rotation(folder: Path) -> None:
    write_file(folder / "t1.mp4", turn=90)  # shown as 64x48, stored as 48x64
    # Encoded again it could have other bytes.
    shutil.copy(folder / "t1.mp4", folder / "t2.mp4")
    small = {"width": 32, "height": 24, "boxes": {3: (0, 0, 5, 5)}}
    diagnosis = examine(
        lines(
            folder,
            record("shown", video="t1.mp4"),
            record("stored", video="t2.mp4", width=48, height=64, boxes={3: (0, 0, 5, 5)}),
            record("scaled", **small),
        ),
        folder / "out",
    )
    assert diagnosis.kinds == {"shape differs": 1, "size differs": 1, "rotated container": 2, "copied video": 1}
    shape = diagnosis.findings[0]
    assert shape.video == "t2.mp4"
    assert shape.detail == "annotated 48x64, the file shows 64x48: turned by a quarter"


def test_length_and_rate(folder: Path) -> None:
    write_file(folder / "b.mp4", stamps=tuple(range(60)))
    one_more = record("one more", video="a.mp4", frame_count=21)
    slow = record("slow", video="b.mp4", frame_count=60, fps=20.0, clip=(0, 60))
    assert kinds(lines(folder, one_more, slow)) == {"clip after the end": 1, "duration differs": 1}


def test_two_records_that_disagree_about_a_video(folder: Path) -> None:
    assert kinds(lines(folder, record("q1"), record("q2", fps=29.97))) == {"described twice": 1}


def test_leaks_by_path_by_link_and_by_content(folder: Path) -> None:
    shutil.copy(folder / "a.mp4", folder / "copy.mp4")
    write_file(folder / "b.mp4", stamps=tuple(range(0, 40, 2)))
    os.symlink(folder / "b.mp4", folder / "link.mp4")
    train = [record("a"), record("b", video="b.mp4", fps=15.0)]
    path = [*train, record("q", query="other", split="test")]
    assert kinds(lines(folder, *path)) == {"leak": 1}
    link = [*train, record("q", video="link.mp4", fps=15.0, split="val")]
    assert kinds(lines(folder, *link)) == {"leak": 1}
    content = [*train, record("q", video="copy.mp4", split="test")]
    assert kinds(lines(folder, *content)) == {"leak": 1}
    within = [*train, record("q", video="copy.mp4")]
    assert kinds(lines(folder, *within)) == {"copied video": 1}
    neither = [replace(train[0], split="val"), record("q", video="copy.mp4", split="test")]
    assert kinds(lines(folder, *neither)) == {"split overlap": 1}


def test_a_store_gives_the_findings_of_its_truth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    records = [record("q1"), record("q2", boxes={3: (70, 0, 80, 9)}), record("q3", video="gone.mp4")]
    (folder / "store").mkdir()
    write_store(folder / "store", records, "..")
    of_lines = examine(lines(folder, *records), folder / "out")
    of_store = examine(folder / "store", folder / "out2")
    assert of_store.kinds == {"box outside image": 1, "missing video": 1}
    assert [one.to_json() for one in of_store.findings] == [one.to_json() for one in of_lines.findings]
    assert {sample.record.id for sample in of_store.samples} == {"q1", "q2", "q3"}


def test_folders_of_pictures_and_single_pictures(folder: Path) -> None:
    from PIL import Image

    (folder / "frames").mkdir()
    for number in range(4):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(folder / "frames" / f"{number}.png")
    four = {"video": "frames", "media": "frames", "frame_count": 4, "clip": (0, 4), "boxes": {3: (0, 0, 9, 9)}}
    sound = record("frames", **four, window=(3, 4))
    more = replace(sound, id="more", query="other", frame_count=9)
    picture = record(
        "picture", task="rec", video="frames/0.png", media="image", fps=1.0, frame_count=1, clip=(0, 1),
        window=None, boxes={0: (0, 0, 9, 9)},
    )  # fmt: skip
    assert kinds(lines(folder, sound, picture)) == {}
    assert kinds(lines(folder, sound, more)) == {"frame count differs": 1, "described twice": 1}


def test_a_second_run_goes_on(folder: Path) -> None:
    write_file(folder / "b.mp4")
    place = lines(folder, record("a"), record("b", video="b.mp4"), record("gone", video="gone.mp4"))
    first = examine(place, folder / "out")
    kept = (folder / "out" / "videos.jsonl").read_text()
    one, other = kept.splitlines()
    # Stopped while the second line was written.
    (folder / "out" / "videos.jsonl").write_text(one + "\n" + other[:40])
    told: list[tuple[int, int]] = []
    second = examine(place, folder / "out", progress=lambda done, total: told.append((done, total)))
    assert (first.files.kept, second.files.kept) == (0, 1)
    assert told == [(1, 2), (2, 2)]
    assert second.findings == first.findings
    assert sorted((folder / "out" / "videos.jsonl").read_text().splitlines()) == sorted([one, other])
    # A file that became another one is looked at again; one that came is looked at.
    (folder / "b.mp4").write_text("no video")
    write_file(folder / "gone.mp4", stamps=(0, 3, 4, 9), size=(64, 48))
    third = examine(place, folder / "out")
    assert third.files.kept == 1
    assert third.kinds["unreadable video"] == 1
    assert "missing video" not in third.kinds


def test_what_is_kept_is_never_taken_for_something_else(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "videos.jsonl").write_text('{"id": "q"}\n')
    with pytest.raises(InputError, match="data doctor"):
        examine(lines(folder, record("q")), folder / "out")
    with pytest.raises(DataError, match=r"store\.json .*truth\.jsonl"):
        examine(folder / "out", folder / "out2")
    with pytest.raises(DataError, match=r"store\.json .*truth\.jsonl"):
        examine(folder / "a.mp4", folder / "out2")
    with pytest.raises(InputError, match="no such folder"):
        examine(folder, folder / "out2", videos=folder / "nothing")


def _halve(number: int) -> int:
    if number == 3:
        os._exit(7)
    return number // 2


@pytest.mark.process
def test_a_process_that_dies_costs_one_item() -> None:
    found = dict(run_each(_halve, [8, 6, 3, 4], 2))
    assert isinstance(found.pop(3), Died)
    assert found == {8: 4, 6: 3, 4: 2}


@pytest.mark.process
def test_processes_find_what_one_finds(folder: Path) -> None:
    place = lines(folder, record("a"), record("b", video="gone.mp4"), record("c", boxes={3: (70, 0, 80, 9)}))
    alone, together = (examine(place, folder / f"out{n}", workers=n) for n in (1, 2))
    assert alone.to_json() == together.to_json()
    assert set(alone.kinds) <= set(KINDS)


def test_a_look_is_what_its_line_says() -> None:
    look = OpenedFile("a.mp4", "video", 5, 7, "ab", None, 64, 48, "30", 20, 1.0, "", ("x",), (3,))
    line = json.loads(json.dumps(look.__dict__))
    assert OpenedFile.from_json(line) == look


def test_samples_show_findings_first_and_every_video(folder: Path) -> None:
    for name in "bcd":
        shutil.copy(folder / "a.mp4", folder / f"{name}.mp4")
    records = [record(f"{name}{n}", video=f"{name}.mp4", window=(n, n + 2)) for name in "abcd" for n in (3, 4)]
    bad = record("bad", video="d.mp4", window=(5, 9), boxes={6: (70, 0, 80, 9)})
    found: Diagnosis = examine(lines(folder, *records, bad), folder / "out", samples=6)
    assert found.samples[0].record.id == "bad"
    assert len(found.samples) == 6
    assert {sample.record.video for sample in found.samples} == {"a.mp4", "b.mp4", "c.mp4", "d.mp4"}
    assert len({sample.record.id for sample in found.samples}) == 6
