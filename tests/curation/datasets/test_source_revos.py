"""ReVOS: boxes of run-length masks, sorted frames, sentences about one object, and no frame rate."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.built_folder import built, write

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.reading.run_length_masks import mask_box, runs
from bridge_stg.errors import DataError, InputError

VIDEO = "LVVIS/train/00001"
META: dict[str, Any] = {
    "vid_id": 0,
    "height": 6,
    "width": 8,
    # Out of order, as a set written to a file would be: masks follow the sorted names.
    "frames": ["00010", "00000", "00005"],
    "expressions": {
        "0": {"exp": "the small box moving right", "obj_id": [1], "anno_id": [7], "type_id": 0},
        "1": {"exp": "Which thing here could roll away?", "obj_id": [1, 2], "anno_id": [7, 8], "type_id": 1},
        "2": {"exp": "the purple elephant", "obj_id": [], "anno_id": [], "type_id": 2},
    },
}
# 8x6 pixels: x 2..4, y 1..3; then x 3..5, y 1..3.
FIRST, SECOND = {"size": [6, 8], "counts": "=33000a0"}, {"size": [6, 8], "counts": "c033000;"}
MASKS: dict[str, Any] = {"7": [FIRST, SECOND, None], "8": [None, None, FIRST], "9": [FIRST, None, SECOND]}


def folder(root: Path, videos: dict[str, Any], masks: Any = MASKS) -> Path:
    write(root / "meta_expressions_train_.json", {"videos": videos})
    write(root / "meta_expressions_train_sub_.json", {"videos": {}})
    write(root / "mask_dict.json", masks)
    for frame in META["frames"]:
        write(root / "JPEGImages" / VIDEO / f"{frame}.jpg", "a picture")
    return root


def asked(anno_id: list[Any], **changes: Any) -> dict[str, Any]:
    one = {"exp": "the box", "obj_id": [1], "anno_id": anno_id, "type_id": 1}
    return copy.deepcopy(META) | {"expressions": {"0": one | changes}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_boxes_reach_to_the_far_edge_of_the_last_pixel(root: Path) -> None:
    data = built("revos", folder(root, {VIDEO: META}), split="train")
    record = data.only
    assert record.boxes == {0: (2, 1, 5, 4), 1: (3, 1, 6, 4)}
    assert (record.window, record.clip, record.frame_count) == ((0, 2), (0, 3), 3)
    assert (record.media, record.video) == ("frames", f"JPEGImages/{VIDEO}")
    assert (record.fps, record.kind, record.query) == (2.0, "referring", "the small box moving right")
    # Several objects, or none, is another task and not a loss.
    assert [reason for reason, _ in data.skipped.values()] == [
        "a sentence about several objects",
        "a sentence about nothing that is there",
    ]
    counts = data.counts["splits"]["train"]
    assert (counts["read"], counts["skipped"], counts["left_out_by_design"]) == (3, 0, 2)


def test_the_rate_can_be_given(root: Path) -> None:
    assert built("revos", folder(root, {VIDEO: META}), split="train", frame_rate=6.0).only.fps == 6.0


def test_a_gap_inside_the_window_is_noted(root: Path) -> None:
    data = built("revos", folder(root, {VIDEO: asked([9])}), split="train")
    assert data.only.window == (0, 3)
    assert sorted(data.only.boxes) == [0, 2]
    assert data.notes[data.only.id] == ["1 of 3 frames have no box"]


@pytest.mark.parametrize("collection", ["TAO", "UVO", "uvo_v1"])
def test_collections_with_masks_of_other_frames_are_left_out(collection: str, root: Path) -> None:
    data = built("revos", folder(root, {VIDEO: META, f"{collection}/1": asked([7])}), split="train")
    assert (f"the masks of {collection} do not fit its frames", f"{collection}/1") in data.skipped.values()
    assert data.counts["splits"]["train"]["skipped"] == 0


@pytest.mark.parametrize(
    ("video", "masks", "reason"),
    [
        (asked([99]), {}, "not in mask_dict.json"),
        (asked([1]), {"1": [None, None, None]}, "no usable box"),
        (asked([1]), {"1": [FIRST, SECOND]}, "masks and frames differ in number"),
        (
            asked([1]),
            {"1": [{"size": [8, 6], "counts": "=33000a0"}, None, None]},
            "mask and video differ in size",
        ),
        (
            asked([1]),
            {"1": [{"size": [6, 8], "counts": "=3300"}, None, None]},
            "a mask that does not fill its picture",
        ),
        (
            asked([1]),
            {"1": [{"size": [6, 8], "counts": "=3\x07"}, None, None]},
            "a mask that is no run-length text",
        ),
        (asked([1]), {"1": [{"size": [6, 8], "counts": [13, 35]}, None, None]}, "malformed"),
        (asked([7], type_id=-1), {}, "an unknown type of sentence"),
        (asked([7], exp=None), {}, "malformed"),
        (asked([7]) | {"frames": ["00000"]}, {}, "fewer than two frames"),
        (asked([7]) | {"frames": ["00000", "00005"]}, {}, "the pictures are not those of the list"),
        (asked([7]) | {"frames": ["00000", "00005", "00011"]}, {}, "the pictures are not those of the list"),
        (asked([7]) | {"expressions": []}, {}, "malformed"),
    ],
)
def test_a_bad_sentence_is_left_out_with_its_reason(video: Any, masks: Any, reason: str, root: Path) -> None:
    folder(root, {VIDEO: video, "MeViS/good": META}, MASKS | masks)
    for frame in META["frames"]:
        write(root / "JPEGImages/MeViS/good" / f"{frame}.jpg", "a picture")
    data = built("revos", root, split="train")
    assert [why for name, (why, _) in data.skipped.items() if VIDEO in name] == [reason]
    assert data.only.id == "revos/train/MeViS/good/0"


def test_a_name_that_climbs_out_and_files_that_are_missing(root: Path) -> None:
    data = built("revos", folder(root, {"../../etc": asked([7]), VIDEO: META}), split="train")
    assert data.skipped["revos/train/../../etc/0"][0] == "the path leads out of the data set's folder"
    (root / "JPEGImages").rename(root / "elsewhere")
    with pytest.raises(DataError, match="JPEGImages"):
        built("revos", root, root / "out", split="train")
    (root / "mask_dict.json").write_text('{"7": [')
    with pytest.raises(DataError, match=r"mask_dict\.json: .*JSON"):
        built("revos", root, root / "out", split="train", annotations_only=True)


def test_a_rate_is_refused_where_the_data_has_one(root: Path) -> None:
    with pytest.raises(InputError, match=r"clevrer .*--fps"):
        built("clevrer", root, frame_rate=3.0)
    with pytest.raises(InputError, match=r"--fps .*positive"):
        built("revos", root, frame_rate=float("nan"))
    with pytest.raises(InputError, match=r"revos .* 0"):
        built("revos", root, one_based_boxes=True)


def test_run_lengths_worked_by_hand() -> None:
    # A character is its code minus 48: "=" 13, "3" 3, "3" 3, three times "0": 3 more than 0, and "a" 49: 17 and
    # a mark that another one follows, "0", which adds nothing; 17 more than 3.
    assert runs("=33000a0") == [13, 3, 3, 3, 3, 3, 20]
    assert sum(runs("=33000a0")) == 48


def compressed(mask: Any) -> str:
    """A mask as COCO's text, written independently of the reader: full list of runs first, then characters."""
    flat = np.asfortranarray(mask).ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    lengths = [0, *lengths] if flat[0] else lengths
    text = ""
    for position, length in enumerate(lengths):
        number = length - lengths[position - 2] if position > 2 else length
        while True:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr((bits | 32 * more) + 48)
            if not more:
                break
    return text


@given(arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_the_box_of_a_mask_is_the_box_of_its_pixels(mask: Any) -> None:
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    expected = None
    if len(rows):
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert mask_box(compressed(mask), height, width) == expected


def test_a_large_mask_of_one_run_and_an_empty_text() -> None:
    assert mask_box(compressed(np.ones((480, 640))), 480, 640) == (0, 0, 640, 480)
    with pytest.raises(Unusable, match="fill"):
        mask_box("", 4, 4)
