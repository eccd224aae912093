"""GOT-10k: four files of labels per sequence, absent objects, pixels from 1, a test split without answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.built_folder import built, write

from bridge_stg.errors import DataError, InputError
from bridge_stg.metrics.tracking import score_queries

NAME = "GOT-10k_Train_000001"
INI = """[METAINFO]
url: https://youtu.be/xxxxxxxxxxx
begin: 00:00:01
end: 00:00:02
anno_fps: 10Hz
object_class: fox
motion_class: running
major_class: mammal
root_class: animal
motion_adverb: quickly
resolution: (64, 48)
"""
BOXES = "10.0000,12.0000,20.5,15.0\n11.5000,12.0000,20.5,15.0\n-1.0000,-1.0000,-1.0,-1.0\n"
FILES = {
    "groundtruth.txt": BOXES,
    "absence.label": "0\n0\n1\n",
    "cover.label": "8\n5\n0\n",
    "cut_by_image.label": "0\n1\n0\n",
    "meta_info.ini": INI,
    "00000001.jpg": "a picture",
    "00000002.jpg": "a picture",
    "00000003.jpg": "a picture",
}


def folder(root: Path, *names: str, place: str = "train", **changes: Any) -> Path:
    """Sequences of the usual files; ``changes`` replace files of the first, None takes one away."""
    write(root / place / "list.txt", "".join(f"{name}\n" for name in names))
    for number, name in enumerate(names):
        for file, text in (FILES | (changes if number == 0 else {})).items():
            if text is not None:
                write(root / place / name / file, text)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_boxes_of_the_pictures_that_show_the_object(root: Path) -> None:
    data = built("got10k", folder(root, NAME), split="train")
    record = data.only
    assert (record.task, record.media, record.video) == ("vot", "frames", f"train/{NAME}")
    assert record.boxes == {0: (10, 12, 30.5, 27), 1: (11.5, 12, 32, 27)}
    assert (record.width, record.height, record.fps, record.frame_count) == (64, 48, 10.0, 3)
    assert (record.query, record.category, record.kind) == ("fox", "fox", "running")
    assert data.notes == {record.id: ["1 of 3 pictures do not show the object"]}
    assert data.count("train", "sequences")["published"] == 9335


def test_pixels_that_count_from_1_are_an_option(root: Path) -> None:
    record = built("got10k", folder(root, NAME), split="train", one_based_boxes=True).only
    assert record.boxes[0] == (9, 11, 29.5, 26)


def test_a_box_that_is_hidden_or_outside_or_sticks_out(root: Path) -> None:
    lines = "0,0,10,10\n60,40,10,10\n70,1,5,5\n1,1,5,5\n1,1,0,5\n"
    ones = {f"0000000{number}.jpg": "a picture" for number in range(1, 6)}
    labels = {"absence.label": "0\n" * 5, "cover.label": "8\n8\n8\n0\n8\n", "cut_by_image.label": "0\n" * 5}
    data = built("got10k", folder(root, NAME, **{"groundtruth.txt": lines}, **labels, **ones), split="train")
    assert data.only.boxes == {0: (0, 0, 10, 10), 1: (60, 40, 64, 48)}
    assert data.notes[data.only.id] == [
        "1 of 5 pictures do not show the object",
        "1 box(es) cut at the edge of the image",
        "1 box(es) outside the image left out",
        "1 box(es) without size left out",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"00000003.jpg": None}, "pictures, boxes and labels differ in number"),
        ({"absence.label": "0\n0\n"}, "pictures, boxes and labels differ in number"),
        ({"groundtruth.txt": BOXES[:30]}, "pictures, boxes and labels differ in number"),
        ({"absence.label": "1\n0\n1\n"}, "no box in the first picture, where tracking starts"),
        ({"cover.label": None}, "a file of the sequence cannot be read"),
        ({"cover.label": "8\nx\n0\n"}, "malformed"),
        ({"groundtruth.txt": "1,2,3\n" * 3}, "malformed"),
        (
            {"meta_info.ini": INI.replace("(64, 48)", "?")},
            "meta_info.ini lacks resolution, anno_fps or object_class",
        ),
        (
            {"meta_info.ini": INI.replace("10Hz", "")},
            "meta_info.ini lacks resolution, anno_fps or object_class",
        ),
    ],
)
def test_a_bad_sequence_is_left_out_with_its_reason(changes: dict[str, Any], reason: str, root: Path) -> None:
    data = built("got10k", folder(root, NAME, "GOT-10k_Train_000002", **changes), split="train")
    assert data.skipped[f"got10k/train/{NAME}"][0] == reason
    assert list(data.records) == ["got10k/train/GOT-10k_Train_000002"]


def test_sequences_that_are_missing_wrong_or_outside(root: Path) -> None:
    folder(root, NAME)
    write(root / "train/list.txt", f"{NAME}\nGOT-10k_Train_008628\nGOT-10k_Train_000009\n../../etc\n")
    data = built("got10k", root, split="train", max_skipped=0.67)
    assert [reason for reason, _ in data.skipped.values()] == [
        "the boxes of this sequence are known to be wrong",
        "no folder of the sequence",
        "the path leads out of the data set's folder",
    ]
    counts = data.counts["splits"]["train"]
    # What is known to be wrong counts as left out, not as lost: 2 of 3 are lost.
    assert (counts["read"], counts["skipped"], counts["left_out_by_design"]) == (4, 2, 1)


def test_without_pictures_their_number_is_not_asked_for(root: Path) -> None:
    folder(root, NAME, **{"00000003.jpg": None}, place="GOT-10k/val")
    assert built("got10k", root, split="val", annotations_only=True).only.video == f"GOT-10k/val/{NAME}"


def test_of_the_test_split_only_the_first_box_is_there(root: Path) -> None:
    """As it is unpacked: pictures and one line; one sequence lacks it."""
    write(root / "test/list.txt", "GOT-10k_Test_000001\nGOT-10k_Test_000002\n")
    place = root / "test/GOT-10k_Test_000001"
    write(place / "groundtruth.txt", "10.0000,12.0000,20.5,15.0\n")
    write(root / "test/GOT-10k_Test_000002/groundtruth.txt", "")
    for number in range(1, 13):
        Image.new("RGB", (64, 48)).save(place / f"{number:08d}.jpg")
    write(place / "._00000001.jpg", "what a Mac leaves behind")

    data = built("got10k", root, split="test")
    record = data.only
    assert (record.task, record.media, record.video) == ("vot", "frames", "test/GOT-10k_Test_000001")
    assert (record.boxes, record.query, record.category) == ({0: (10, 12, 30.5, 27)}, "the object", None)
    assert (record.width, record.height, record.fps, record.clip) == (64, 48, 10.0, (0, 12))
    assert [reason for reason, _ in data.skipped.values()] == ["no pictures, or no first box"]
    with pytest.raises(InputError, match="annotations-only"):
        built("got10k", root, root.with_name("other"), split="test", annotations_only=True)
    # What the server writes back cannot be reckoned here.
    with pytest.raises(DataError, match="two frames"):
        score_queries([record], [None])


def test_the_test_split_is_built_only_where_it_is_asked_for(root: Path) -> None:
    folder(folder(root, NAME), NAME, place="val")
    data = built("got10k", root)
    assert list(data.counts["splits"]) == ["train", "val"]
    with pytest.raises(InputError, match="train, val, test"):
        built("got10k", root, root.with_name("other"), split="tset")


def test_an_archive_that_was_not_unpacked_is_named(root: Path) -> None:
    write(root / "train_data.zip", "PK")
    with pytest.raises(DataError, match=r"train/list\.txt .*train_data\.zip"):
        built("got10k", root, split="train")
