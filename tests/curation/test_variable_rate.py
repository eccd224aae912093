"""A file with a variable rate from its annotation to score, training and export: one clock for all of them.

The first second has 30 frames, then each is shown for 1/12 s, the last for 1/30 s: 90 frames in 5.95 s. Frame
30 appears at 1.0 s and frame 42 at 2.0 s, where the average rate says 1.98 s and 2.78 s.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.built_folder import Built, built, write
from support.video_files import write_file

from bridge_stg.curation.doctor.examine import examine
from bridge_stg.curation.export import export_records
from bridge_stg.metrics.stvg import PROTOCOLS, query_overlap
from bridge_stg.metrics.temporal import query_tiou
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.records.part import ClipQuestions, group_questions
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.training.data.record_clips import read_clip, tube_at
from bridge_stg.types import FrameTimes, TimeSpan

EVENT = range(30, 42)
STAMPS = [3000 * frame if frame < 30 else 90_000 + 7500 * (frame - 30) for frame in range(90)]
RUNS = FrameTimes(Fraction(1, 90_000), ((30, 3000), (59, 7500), (1, 3000)))


def box(frame: int) -> list[float]:
    """Two pixels to the right per twelfth of a second."""
    left = 2.0 * (frame - 30)
    return [left, 10.0, left + 20.0, 30.0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("vfr") / "data"
    root.mkdir()
    write_file(root / "vfr.mp4", stamps=STAMPS, time_base=Fraction(1, 90_000), size=(96, 64))
    boxes = {"video": "vfr.mp4", "query": "the car", "id": "boxes", "boxes": {str(f): box(f) for f in EVENT}}
    seconds = {"video": "vfr.mp4", "query": "it stops", "id": "seconds", "start": 1.0, "end": 2.0}
    write(root / "tubes.jsonl", "".join(json.dumps(line) + "\n" for line in (boxes, seconds)))
    return built("custom", root)


def perfect(record: TruthRecord) -> PredictionRecord:
    """The event in seconds, with its first and its last box at the times of their frames."""
    seen = np.array([EVENT[0], EVENT[-1]])
    return PredictionRecord(
        record.id,
        windows=((TimeSpan(1.0, 2.0), 1.0),),
        times=1.0 + (seen - 30) / 12,
        boxes=np.array([box(frame) for frame in seen]),
        scores=np.ones(len(seen)),
    )


def test_records_hold_the_clock_of_the_file(data: Built, tmp_path: Path) -> None:
    boxes, seconds = data.records["boxes"], data.records["seconds"]
    assert boxes.frame_times == seconds.frame_times == RUNS
    assert boxes.window == seconds.window == (30, 42)
    assert (boxes.fps, boxes.clock.duration) == (pytest.approx(90 / 5.95), 5.95)
    write_truth(tmp_path / "truth.jsonl", [boxes, seconds])
    assert read_truth(tmp_path / "truth.jsonl") == [boxes, seconds]


def test_the_perfect_answer_scores_a_hundred(data: Built) -> None:
    record = data.records["boxes"]
    for protocol in PROTOCOLS:
        found = query_overlap(record, perfect(record), protocol)
        assert found.tiou == 1.0
        assert found.viou == pytest.approx(1.0)
    assert query_tiou(data.records["seconds"], perfect(record)) == 1.0


def test_training_reads_the_boxes_of_the_frames_it_sees(data: Built, processor: BridgeSTGProcessor) -> None:
    record = data.records["boxes"]
    video, extent = read_clip(record, data.out.with_name("data") / record.video, processor)
    assert extent == TimeSpan(0.0, 5.95)
    # At 2 per second: frames 0 and 15 of the fast part, then every sixth.
    assert video.source_frames.tolist() == [0, 15, *range(30, 90, 6)]
    found, annotated = tube_at(record, video.times)
    assert video.source_frames[annotated].tolist() == [30, 36]
    np.testing.assert_allclose(found[annotated] * [96, 64, 96, 64], [box(30), box(36)], atol=1e-9)


def test_what_is_asked_of_a_clip_is_its_seconds(data: Built) -> None:
    record = data.records["boxes"]
    (clip,) = group_questions([record], "stvg")
    assert clip.span is None
    assert ClipQuestions("stvg", record.video, (30, 42), (record,)).span == TimeSpan(1.0, 2.0)


def test_label_studio_gets_the_times_on_a_grid_of_its_own(data: Built, tmp_path: Path) -> None:
    report = export_records(data.out, "labelstudio", tmp_path / "o.json")
    ((task,),) = [json.loads(path.read_text()) for path in report.files]
    value = task["annotations"][0]["result"][0]["value"]
    # The shortest frame makes the rate at which the tool counts, so that no two frames share one of its own.
    assert (task["data"]["fps"], value["framesCount"], value["duration"]) == (30.0, 179, 5.966667)
    first, *_, last = value["sequence"]
    assert (first["time"], first["frame"]) == (1.0, 31)
    assert last["time"] == pytest.approx(1 + 11 / 12, abs=1e-6)
    assert last["frame"] == 58
    assert not report.notes


def test_label_studio_brings_the_same_frames_back(data: Built, tmp_path: Path) -> None:
    root = tmp_path / "again"
    root.mkdir()
    (root / "vfr.mp4").write_bytes((data.out.with_name("data") / "vfr.mp4").read_bytes())
    export_records(data.out, "labelstudio", root / "o.json")
    record = built("custom", root).only
    assert record.window == (30, 42)
    assert record.boxes == data.records["boxes"].boxes


@pytest.mark.parametrize("name", ["cvat", "mot", "coco-vid"])
def test_formats_of_frames_say_how_far_off_seconds_are(name: str, data: Built, tmp_path: Path) -> None:
    out = tmp_path / ("o.json" if name == "coco-vid" else "o")
    (note,) = export_records(data.out, name, out).notes
    assert "vfr.mp4" in note
    assert "up to 0.98 s" in note


def test_the_doctor_finds_records_on_another_clock(data: Built, tmp_path: Path) -> None:
    assert not examine(data.out, tmp_path / "good", workers=1).findings
    # As records of before hold it: a rate alone.
    folder = tmp_path / "old"
    folder.mkdir()
    lines = [record.to_json() | {"video": "vfr.mp4"} for record in data.records.values()]
    for line in lines:
        del line["frame_times"]
    write(folder / "truth.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    (folder / "vfr.mp4").write_bytes((data.out.with_name("data") / "vfr.mp4").read_bytes())
    (finding,) = examine(folder, tmp_path / "bad", workers=1).findings
    assert finding.kind == "frame times differ"
    assert "0.98 s" in finding.detail
