"""Values that no documentation allows, found by damaging files at random: one item is lost or one line said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_source_clevrer as clevrer
import test_source_refcoco as refcoco
from support.built_folder import built, write, write_video
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import DataError, InputError
from bridge_stg.records.record import read_truth

TUBE: dict[str, Any] = {"video": "a.mp4", "query": "the car", "boxes": {"2": [1, 2, 11, 12]}}
HALF_A_CHARACTER = "\ud800"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_video(tmp_path / "data" / "a.mp4", 20, 10)
    return tmp_path / "data"


@pytest.mark.parametrize("value", [1.5, HALF_A_CHARACTER, ["x"]])
@pytest.mark.parametrize("field", ["question_subtype", "question"])
def test_what_is_no_text_costs_its_record_and_not_the_build(tmp_path: Path, field: str, value: object) -> None:
    """The table holds text; a number would be noticed only when thousands of records are written at once."""
    bad = clevrer.COUNT | {"question_id": 7, field: value}
    data = built("clevrer", clevrer.folder(tmp_path / "data", clevrer.COUNT, bad), split="train")
    assert len(data.records) == 1
    assert [reason for reason, _ in data.skipped.values()] == ["malformed"]


def test_half_a_character_is_refused_in_a_line_of_truth(tmp_path: Path) -> None:
    line = {
        "id": "q", "task": "vtg", "video": "a.mp4", "fps": 10, "frame_count": 9, "clip": [0, 9], "width": 8,
        "height": 8, "query": HALF_A_CHARACTER, "window": [1, 2],
    }  # fmt: skip
    with pytest.raises(DataError, match="character"):
        read_truth(write(tmp_path / "bad.jsonl", json.dumps(line)))
    (record,) = read_truth(
        write(tmp_path / "good.jsonl", json.dumps(line | {"query": "die T\u00fcr \U0001f600"}))
    )
    assert record.window == (1, 2)


def test_an_id_that_cannot_be_one_is_an_annotation_that_is_not_there(tmp_path: Path) -> None:
    place = refcoco.folder(tmp_path / "data")
    path = place / "refcoco" / "instances.json"
    coco = json.loads(path.read_text())
    coco["annotations"].insert(0, coco["annotations"][0] | {"id": [1]})
    path.write_text(json.dumps(coco))
    assert len(built("refcoco", place, split="train").records) == 2


def test_a_width_without_a_height(root: Path) -> None:
    write(root / "t.jsonl", json.dumps(TUBE | {"width": 64}))
    assert built("custom", root).only.height == 48
    write(root / "t.jsonl", json.dumps(TUBE | {"width": 64, "fps": 5, "frame_count": 9}))
    with pytest.raises(DataError, match="height"):
        built("custom", root, root.with_name("unseen"), annotations_only=True)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "video;query;frame\na.mp4;the car;2\n", "values are separated by commas"),
        ("t.json", [{"data": {"video": "a.mp4"}, "annotations": 5}], "[0].annotations: must be a list"),
        ("t.zip", "", "t.zip is there: unpack it first"),
    ],
)
def test_one_clear_line(root: Path, name: str, content: object, said: str) -> None:
    write(root / name, content)
    words = ["data", "build", "custom", "--root", str(root), "--out", str(root.with_name("out"))]
    done = CliRunner().invoke(main.app, words)
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert said in done.output


def test_a_sentence_that_is_no_object(root: Path) -> None:
    sequence = [{"frame": 1, "x": 0, "y": 0, "width": 50, "height": 50, "enabled": True}]
    box = {"id": "r", "type": "videorectangle", "value": {"labels": ["car"], "sequence": sequence}}
    results = [{"id": "r", "type": "textarea", "value": True}, box]
    write(root / "t.json", [{"data": {"video": "a.mp4"}, "annotations": [{"result": results}]}])
    assert built("custom", root).only.query == "car"


def test_the_result_may_not_lie_where_annotations_are_looked_for(root: Path) -> None:
    write(root / "t.jsonl", json.dumps(TUBE))
    with pytest.raises(InputError, match=r"outside .*--out"):
        built("custom", root, root / "built" / "mine")
    assert sorted(path.name for path in root.iterdir()) == ["a.mp4", "t.jsonl"]
