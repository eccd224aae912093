"""RefCOCO: boxes joined from instances.json, file names that exist, pickles that are no program, mirrors."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.built_folder import built, write

from bridge_stg.curation.reading.plain_pickle import read_plain_pickle
from bridge_stg.errors import DataError

PICTURE = "COCO_train2014_000000000009.jpg"
PLACE = "images/mscoco/images/train2014"


def sentence(number: int, raw: str, sent: str) -> dict[str, Any]:
    return {"sent_id": number, "raw": raw, "sent": sent, "tokens": sent.split()}


REFS: list[dict[str, Any]] = [
    {
        "ref_id": 0,
        "ann_id": 501,
        "image_id": 9,
        "category_id": 18,
        "split": "train",
        "sent_ids": [0, 1],
        "file_name": "COCO_train2014_000000000009_3.jpg",
        "sentences": [sentence(0, "Left dog", "left dog"), sentence(1, "dog near tree!", "dog near tree")],
    },
    {
        "ref_id": 1,
        "ann_id": 502,
        "image_id": 9,
        "category_id": 18,
        "split": "testA",
        "sent_ids": [2],
        "file_name": "COCO_train2014_000000000009_4.jpg",
        "sentences": [sentence(2, "right dog", "right dog")],
    },
]
COCO: dict[str, Any] = {
    "images": [{"id": 9, "file_name": PICTURE, "width": 64, "height": 48}],
    "annotations": [
        {
            "id": 501,
            "image_id": 9,
            "category_id": 18,
            "bbox": [2.5, 10.0, 20.0, 30.25],
            "area": 605.0,
            "iscrowd": 0,
        },
        {
            "id": 502,
            "image_id": 9,
            "category_id": 18,
            "bbox": [40.0, 8.0, 20.0, 30.0],
            "area": 600.0,
            "iscrowd": 0,
        },
    ],
    "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
}


def folder(
    root: Path, refs: Any = REFS, name: str = "refcoco", file: str = "refs(unc).p", protocol: int = 2
) -> Path:
    write(root / name / "instances.json", COCO)
    (root / name / file).write_bytes(pickle.dumps(refs, protocol=protocol))
    write(root / PLACE / PICTURE, "a picture")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_one_record_per_sentence_with_the_box_of_its_annotation(protocol: int, root: Path) -> None:
    data = built("refcoco", folder(root, protocol=protocol), split="train")
    one, two = data.records.values()
    assert (one.task, one.media, one.query, two.query) == ("rec", "image", "left dog", "dog near tree")
    assert one.boxes == two.boxes == {0: (2.5, 10.0, 22.5, 40.25)}
    assert (one.frame_count, one.clip, one.width, one.height) == (1, (0, 1), 64, 48)
    assert one.category == "dog"
    # Not the name in the pickle, which has a number too many.
    assert one.video == f"{PLACE}/{PICTURE}"
    assert [data.count("train", what)["read"] for what in ("references", "sentences", "videos")] == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "file", "split"),
    [
        ("refcoco+", "refs(unc).p", "testA"),
        ("refcocog", "refs(umd).p", "test"),
        ("refcoco", "refs(unc).p", "testB"),
    ],
)
def test_the_three_sets_and_their_splits(name: str, file: str, split: str, root: Path) -> None:
    refs = [REFS[0], REFS[1] | {"split": split}]
    record = built(name, folder(root, {"refs": refs}, name, file), split=split).only
    assert (record.source, record.split, record.query) == (name, split, "right dog")


def test_all_splits_together_stay_apart(root: Path) -> None:
    refs = [
        REFS[0] | {"split": split, "ref_id": number}
        for number, split in enumerate(("train", "val", "testA", "testB"))
    ]
    data = built("refcoco", folder(root, refs))
    assert sorted(data.records) == sorted(
        f"refcoco/{split}/{number}-{index}"
        for number, split in enumerate(("train", "val", "testA", "testB"))
        for index in (0, 1)
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ann_id": 999}, "not in instances.json"),
        ({"image_id": 999}, "not in instances.json"),
        ({"split": "dev"}, "a split that does not exist"),
        ({"sentences": "left dog"}, "malformed"),
        ({"sentences": [{"raw": "x"}]}, "a field is missing"),
        ({"ref_id": 0, "sentences": [sentence(0, "x", "x")]}, "the same id twice"),
    ],
)
def test_a_bad_reference_is_left_out_with_its_reason(changes: dict[str, Any], reason: str, root: Path) -> None:
    data = built("refcoco", folder(root, [REFS[0], REFS[0] | {"ref_id": 7} | changes]), split="train")
    assert {why for why, _ in data.skipped.values()} == {reason}
    assert len(data.records) == 2


def test_a_picture_that_is_missing_or_a_box_without_size(root: Path) -> None:
    coco = copy.deepcopy(COCO)
    coco["images"].append({"id": 10, "file_name": "COCO_train2014_000000000010.jpg", "width": 64, "height": 48})
    coco["annotations"].append({"id": 503, "image_id": 9, "category_id": 18, "bbox": [1, 1, 0, 5]})
    refs = [REFS[0], REFS[0] | {"ref_id": 2, "image_id": 10}, REFS[0] | {"ref_id": 3, "ann_id": 503}]
    folder(root, refs)
    write(root / "refcoco/instances.json", coco)
    data = built("refcoco", root, split="train")
    assert [reason for reason, _ in data.skipped.values()] == ["no picture"] * 2 + ["no usable box"] * 2


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("value", [Evil(), [REFS[0], {"x": Evil()}], {1, 2}.__class__, frozenset, print])
def test_a_pickle_that_is_a_program_is_not_run(
    value: Any, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"pickle .*\(it asks for .*\)"):
        built("refcoco", folder(root, value), split="train")
    assert not (tmp_path / "pwned").exists()


def test_text_that_python_2_wrote_as_bytes(tmp_path: Path) -> None:
    # Protocol 1 short strings (U) and unicode (X), as Python 2 writes 'caf\xe9' and u'cafe'.
    path = tmp_path / "refs.p"
    path.write_bytes(b"(lp0\nU\x04caf\xe9aU\x03dogaX\x04\x00\x00\x00cafea.")
    assert read_plain_pickle(path) == ["caf\xe9", "dog", "cafe"]
    path.write_bytes(b"(lp0\nU\x05caf\xc3\xa9a.")
    assert read_plain_pickle(path) == ["caf\xe9"]


@pytest.mark.parametrize("cut", [0, 1, 10, 200])
def test_half_a_pickle(cut: int, root: Path) -> None:
    path = folder(root) / "refcoco/refs(unc).p"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: .*pickle"):
        built("refcoco", root, split="train")


def test_files_that_are_missing(root: Path) -> None:
    folder(root)
    with pytest.raises(DataError, match=r"refcoco\+/refs\(unc\)\.p"):
        built("refcoco+", root, split="val")
    (root / "refcoco/instances.json").unlink()
    with pytest.raises(DataError, match=r"instances\.json: "):
        built("refcoco", root, split="train")
    (root / "images").rename(root / "elsewhere")
    write(root / "refcoco/instances.json", COCO)
    with pytest.raises(DataError, match="pictures"):
        built("refcoco", root, split="train")
    assert built("refcoco", root, split="train", annotations_only=True).records


def mirror(root: Path, file: str, as_text: Any = json.dumps, **changes: Any) -> Path:
    rows = []
    for ref, annotation in zip(REFS, COCO["annotations"], strict=True):
        left, top, width, height = annotation["bbox"]
        row = {
            **ref,
            "image_path": f"coco/train2014/{PICTURE}",
            "bbox": [left, top, left + width, top + height],
            "captions": [one["sent"] for one in ref["sentences"]],
            "raw_anns": as_text(annotation),
            "raw_image_info": as_text(COCO["images"][0]),
            "raw_sentences": as_text(ref["sentences"]),
        }
        rows.append({name: value for name, value in (row | changes).items() if value is not None})
    path = root / "data" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows[:1]), path)
    write(root / "coco/train2014" / PICTURE, "a picture")
    return root


@pytest.mark.parametrize("as_text", [json.dumps, repr])
def test_a_parquet_mirror_has_corners_already(as_text: Any, root: Path) -> None:
    root = mirror(root, "train-00000-of-00001-abc.parquet", as_text)
    data = built("refcoco", root, split="train")
    assert [record.query for record in data.records.values()] == ["left dog", "dog near tree"]
    assert {record.boxes[0] for record in data.records.values()} == {(2.5, 10.0, 22.5, 40.25)}
    assert data.records["refcoco/train/0-0"].video == f"coco/train2014/{PICTURE}"


@pytest.mark.parametrize(("split", "file"), [("testA", "test-0.parquet"), ("val", "validation-0.parquet")])
def test_a_mirror_calls_its_splits_otherwise(split: str, file: str, root: Path) -> None:
    assert len(built("refcoco", mirror(root, file), split=split).records) == 2


def test_a_mirror_whose_box_is_not_corners_is_noticed(root: Path) -> None:
    mirror(root, "train-0.parquet", bbox=[2.5, 10.0, 20.0, 30.25])
    with pytest.raises(DataError, match=r"2 of 2 .*two boxes"):
        built("refcoco", root, split="train")
    (line, _) = (root.with_name("data-built") / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["detail"] == "[2.5, 10.0, 20.0, 30.25] and [2.5, 10.0, 22.5, 40.25]"


def test_a_mirror_for_evaluation_is_refused_because_its_val_mixes_two_splits(root: Path) -> None:
    mirror(root, "validation-0.parquet", raw_anns=None, sentences=None)
    with pytest.raises(DataError, match="raw_anns, sentences"):
        built("refcoco", root, split="val")


def test_half_a_parquet_file(root: Path) -> None:
    path = mirror(root, "train-0.parquet") / "data/train-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="Parquet"):
        built("refcoco", root, split="train")
