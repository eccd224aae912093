"""Results as tables, detections and files, against numbers worked by hand."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bridge_stg.curation.result_tables import to_detections, to_table, write_results
from bridge_stg.types import GroundingResult, TimeSpan, Tube, VideoInfo

INFO = VideoInfo("a.mp4", 100, 50, Fraction(10), 4.0, 40)
TUBE = Tube(
    times=np.array([1.0, 2.0]),
    frames=np.array([10, 20]),
    boxes=np.array([[0.0, 0.0, 10.0, 10.0], [20.0, 10.0, 30.0, 20.0]]),
    scores=np.array([0.5, 0.7]),
)
FOUND = GroundingResult(
    "a.mp4", "one", "ok", "", INFO, 2.0, "shapes", TimeSpan(1.0, 2.5), TUBE, confidence=0.25
)
NOT = GroundingResult("a.mp4", "two", "no_window", "", INFO, 2.0, "shapes")


def test_a_row_per_box_and_one_for_what_was_not_found() -> None:
    table = to_table([FOUND, NOT])
    assert table["query"].tolist() == ["one", "one", "two"]
    assert table["frame"].tolist()[:2] == [10, 20]
    assert table.loc[1, ["start", "end", "confidence", "score", "x1", "y2"]].tolist() == [
        1,
        2.5,
        0.25,
        0.7,
        20,
        20,
    ]
    assert table.loc[2, ["start", "x1"]].isna().all()


def test_detections_at_a_moment() -> None:
    found = to_detections([NOT, FOUND], 1.5)
    np.testing.assert_allclose(found.xyxy, [[10.0, 5.0, 20.0, 15.0]])
    assert found.confidence is not None
    assert found.confidence.tolist() == pytest.approx([0.6])
    assert found.class_id is not None
    assert found.class_id.tolist() == [1]
    assert found.data["query"].tolist() == ["one"]
    assert len(to_detections([FOUND, NOT], 2.5)) == 0


def test_files_for_annotation_tools(tmp_path: Path) -> None:
    report = write_results([FOUND, NOT], "coco-vid", tmp_path / "coco.json")
    assert report.tubes == 1
    assert json.loads((tmp_path / "coco.json").read_text())["annotations"][0]["bbox"] == [0, 0, 10, 10]
