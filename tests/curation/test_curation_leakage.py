"""Folders of splits against each other: every shared video is found, and nothing that only looks alike."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "video"))
from support.video_files import write_file

from bridge_stg.cli import main
from bridge_stg.curation.doctor.examine import Diagnosis, examine
from bridge_stg.curation.doctor.leakage import COMPARED_BYTES
from bridge_stg.errors import DataError, InputError
from bridge_stg.records.record import TruthRecord, write_truth

GAPS = {"one.mp4": 1, "two.mp4": 2, "link.mp4": 2, "three.mp4": 3}


def record(video: str, split: str, **changes: Any) -> TruthRecord:
    values: dict[str, Any] = {
        "id": f"{split}/{video}",
        "task": "vtg",
        "video": video,
        "fps": 30.0 / GAPS.get(Path(video).name, 1),
        "frame_count": 20,
        "clip": (0, 20),
        "width": 64,
        "height": 48,
        "query": f"what happens in {video}",
        "window": (3, 5),
        "split": split,
    }
    return TruthRecord(**values | changes)


def split(folder: Path, name: str, *videos: str, **changes: Any) -> Path:
    """A built folder whose records name ``videos``, which lie where the test put them."""
    (folder / name).mkdir(exist_ok=True)
    write_truth(folder / name / "truth.jsonl", [record(video, name, **changes) for video in videos])
    return folder / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three different videos in ``all``."""
    (tmp_path / "all").mkdir()
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        gap = GAPS[name]
        write_file(tmp_path / "all" / name, stamps=tuple(range(0, 20 * gap, gap)))
    return tmp_path


def looked(place: Path, *others: Path) -> Diagnosis:
    return examine(place, place / "doctor", samples=0, against=others)


def test_the_same_file_named_from_two_folders(folder: Path) -> None:
    train = split(folder, "train", "../all/one.mp4", "../all/two.mp4")
    os.symlink(folder / "all" / "two.mp4", folder / "link.mp4")
    test = split(folder, "test", "../link.mp4", "../all/three.mp4")
    found = looked(test, train)
    assert found.kinds == {"leak": 1}
    (leak,) = found.findings
    assert leak.video == "../link.mp4"
    assert leak.detail == (
        f"also in {train}: the same file as ../all/two.mp4 (record train/../all/two.mp4, split train)"
    )
    assert found.to_json()["against"] == [
        {
            "folder": str(train),
            "records": 2,
            "unusable_lines": 0,
            "videos": 2,
            "videos_missing": 0,
            "videos_shared": 1,
        }
    ]
    assert looked(split(folder, "val", "../all/three.mp4"), train).kinds == {}


def test_a_copy_under_another_name(folder: Path) -> None:
    train = split(folder, "train", "../all/one.mp4", "../all/two.mp4")
    test = split(folder, "test", "renamed.mp4", "../all/three.mp4", fps=30.0)
    shutil.copy(folder / "all" / "one.mp4", test / "renamed.mp4")
    found = [finding for finding in looked(test, train).findings if finding.kind == "leak"]
    assert [(leak.video, leak.detail.partition(": ")[2]) for leak in found] == [
        ("renamed.mp4", "the same content as ../all/one.mp4 (record train/../all/one.mp4, split train)")
    ]
    # And from the other side.
    assert looked(train, test).kinds["leak"] == 1


def test_equal_size_and_beginning_are_not_enough(folder: Path) -> None:
    """Beyond the two MiB that are compared nothing is read; within them every byte counts."""
    whole = (folder / "all" / "one.mp4").read_bytes()
    padded = whole + bytes(2 * COMPARED_BYTES)
    (folder / "all" / "one.mp4").write_bytes(padded)
    train = split(folder, "train", "../all/one.mp4")
    test = split(folder, "test", "other.mp4", fps=30.0)
    for place, leaks in ((-1, 0), (0, 0), (len(padded) // 2 + 7, 1)):
        changed = bytearray(padded)
        changed[place] ^= 1
        (test / "other.mp4").write_bytes(bytes(changed))
        assert looked(test, train).kinds.get("leak", 0) == leaks, place


def test_a_name_alone_is_a_note_and_without_the_file_a_warning(folder: Path) -> None:
    train = split(folder, "train", "../all/one.mp4")
    test = split(folder, "test", "one.mkv", "two.mkv", fps=30.0)
    for name in ("one.mkv", "two.mkv"):
        write_file(test / name)
    write_file(folder / "all" / "one.mp4", stamps=tuple(range(1, 21)))
    found = looked(test, train)
    assert found.kinds == {"same name": 1}
    assert found.healthy
    assert found.findings[0].detail.endswith("have the name of one here, the content differs: ../all/one.mp4")
    (folder / "all" / "one.mp4").unlink()
    found = looked(test, train)
    assert found.kinds == {"not compared": 1}
    assert found.findings[0].detail == (
        f"1 of {train} are not there: compared by path and name only; ../all/one.mp4 have the name of one here"
    )
    assert found.against[0].missing == 1
    # Whatever it is called, it could be a copy of one here.
    assert looked(split(folder, "test", "two.mkv", fps=30.0), train).kinds == {"not compared": 1}


def test_a_missing_file_that_both_name_is_a_leak(folder: Path) -> None:
    train, test = split(folder, "train", "../gone.mp4"), split(folder, "test", "../gone.mp4")
    assert looked(test, train).kinds == {"missing video": 1, "leak": 1}


def test_folders_of_pictures(folder: Path) -> None:
    from PIL import Image

    for place, level in (("a", 0), ("copy", 0), ("other", 1)):
        (folder / place).mkdir()
        for number in range(3):
            Image.new("RGB", (64, 48), (level, number, 0)).save(folder / place / f"{number}.png")
    three = {"media": "frames", "frame_count": 3, "clip": (0, 3), "window": (0, 2)}
    train = split(folder, "train", "../a", **three)
    assert looked(split(folder, "test", "../copy", "../other", **three), train).kinds == {"leak": 1}


def test_several_folders_in_table_page_and_json(folder: Path) -> None:
    train = split(folder, "train", "../all/one.mp4")
    val = split(folder, "val", "../all/two.mp4")
    test = split(folder, "test", "../all/one.mp4", "../all/two.mp4", "../all/three.mp4")
    words = ["data", "doctor", str(test), "--against", str(train), "--against", str(val), "--workers", "1"]
    done = CliRunner().invoke(main.app, words)
    assert done.exit_code == 1, done.output
    assert f"{train}: 1 videos; 1 are here too" in done.output
    assert f"{val}: 1 videos; 1 are here too" in done.output
    found = json.loads((test / "doctor" / "doctor.json").read_text())
    assert found["kinds"] == {"leak": 2}
    assert [other["videos_shared"] for other in found["against"]] == [1, 1]
    page = (test / "doctor" / "doctor.html").read_text()
    assert "also in train" in page
    assert "../all/two.mp4" in page


def test_bad_folders_are_refused_before_any_video_is_opened(folder: Path) -> None:
    test = split(folder, "test", "../all/one.mp4")
    for others, said in (
        ([folder / "nowhere"], "no such folder"),
        ([test], "given twice"),
        ([test / "truth.jsonl"], "given twice"),
        ([folder / "all"], r"store\.json .*truth\.jsonl"),
    ):
        with pytest.raises((InputError, DataError), match=said):
            looked(test, *others)
        assert not (test / "doctor").exists()
    (folder / "train").mkdir()
    (folder / "train" / "truth.jsonl").write_text("no record\n")
    with pytest.raises(DataError, match="no records"):
        looked(test, folder / "train")
