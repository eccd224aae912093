"""The files of the GOT-10k test server: one line a frame, the given box first, and nothing made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.evaluation.submission import write_submission
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

RECORD = TruthRecord(
    id="q",
    task="vot",
    video="test/GOT-10k_Test_000001",
    fps=10.0,
    frame_count=4,
    clip=(0, 4),
    width=100,
    height=80,
    query="panda",
    media="frames",
    boxes={0: (10.0, 20.0, 40.0, 60.0)},
)
ANSWER = PredictionRecord(
    "q",
    times=np.array([0.0, 0.1, 0.3]),
    boxes=np.array([[0.0, 0.0, 9.0, 9.0], [12.0, 20.0, 42.0, 60.0], [16.0, 20.0, 46.0, 60.0]]),
    scores=np.ones(3),
)


def test_boxes_are_left_top_width_height_of_every_frame(tmp_path: Path) -> None:
    made = write_submission(tmp_path / "out", [RECORD], {"q": ANSWER}, seconds_per_query=2.0)
    assert (made.written, made.left_out) == (1, ())
    folder = tmp_path / "out" / "GOT-10k_Test_000001"
    # The first box is the given one; the third frame lies between two predicted ones.
    assert (folder / "GOT-10k_Test_000001_001.txt").read_text().splitlines() == [
        "10.000,20.000,30.000,40.000",
        "12.000,20.000,30.000,40.000",
        "14.000,20.000,30.000,40.000",
        "16.000,20.000,30.000,40.000",
    ]
    assert (folder / "GOT-10k_Test_000001_time.txt").read_text() == "0.50000000\n" * 4


def test_what_has_no_answer_has_no_file(tmp_path: Path) -> None:
    other = replace(RECORD, id="other", video="test/GOT-10k_Test_000002")
    failed = PredictionRecord("other", status="failed")
    made = write_submission(tmp_path, [RECORD, other], {"q": ANSWER, "other": failed})
    assert (made.written, made.left_out) == (1, ("other",))
    assert [path.name for path in tmp_path.iterdir()] == ["GOT-10k_Test_000001"]
    # Nobody measured how long it took: there is no file of times.
    assert len(list((tmp_path / "GOT-10k_Test_000001").iterdir())) == 1


def test_a_sequence_is_submitted_once_and_begins_with_its_box(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GOT-10k_Test_000001"):
        write_submission(tmp_path, [RECORD, replace(RECORD, id="again")], {"q": ANSWER})
    with pytest.raises(InputError, match="first frame"):
        write_submission(tmp_path, [replace(RECORD, boxes={1: (1.0, 1.0, 2.0, 2.0)})], {"q": ANSWER})
