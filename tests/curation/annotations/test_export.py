"""Stored records and results of ``ground`` as files of annotation tools, and back again."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.curation.annotations.ground_results import read_results, window_frames
from bridge_stg.curation.build import BuildOptions, build
from bridge_stg.curation.export import exact_rate, export_records, export_videos
from bridge_stg.errors import DataError, InputError
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.records.record import read_truth
from bridge_stg.records.store import write_store
from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan, Tube, VideoInfo


def result(**changes: Any) -> GroundingResult:
    """Boxes on frames 15 and 30 of 300 at 30 per second; the window is frames 12 to 36."""
    tube = Tube(
        np.array([0.5, 1.0]),
        np.array([15, 30]),
        np.array([[10.0, 20, 40, 50], [25, 20, 55, 50]]),
        np.array([0.5, 1.0]),
    )
    info = VideoInfo("a.mp4", 200, 100, Fraction(30), 10.0, 300)
    values = {
        "video": "clips/a.mp4",
        "query": "the car",
        "status": "ok",
        "answer": "",
        "info": info,
        "sampled_fps": 2.0,
        "checkpoint": "shapes",
        "window": TimeSpan(0.4, 1.2),
        "tube": tube,
    }
    return GroundingResult(**{**values, **changes})


def tube_file(folder: Path, *results: GroundingResult) -> Path:
    path = folder / "tube.json"
    path.write_text(json.dumps([one.to_json() for one in results]))
    return path


def test_every_frame_of_the_window_gets_its_box(tmp_path: Path) -> None:
    (video,) = read_results(tube_file(tmp_path, result(), result(query="the dog")))
    assert [tube.query for tube in video.tubes] == ["the car", "the dog"]
    tube = video.tubes[0]
    assert list(tube.boxes) == list(range(12, 36))
    # Held before 15 and after 30, one pixel per frame between them.
    lefts = [box[0] for box in tube.boxes.values()]
    assert lefts == [10.0] * 3 + [float(left) for left in range(10, 26)] + [25.0] * 5
    assert tube.score == 0.75  # of the boxes


def test_every_window_gets_its_own_boxes(tmp_path: Path) -> None:
    spans = [TimeSpan(0.4, 0.6), TimeSpan(0.9, 1.1), TimeSpan(5.0, 6.0)]
    several = result(window=spans[0], windows=tuple(ScoredSpan(span) for span in spans))
    (video,) = read_results(tube_file(tmp_path, several))
    lefts = {frame: box[0] for frame, box in video.tubes[0].boxes.items()}
    # The boxes of the one window say nothing about the other.
    assert lefts == {**dict.fromkeys(range(12, 18), 10.0), **dict.fromkeys(range(27, 33), 25.0)}
    assert len(video.notes) == 1  # the third window has no boxes


def test_a_track_is_worth_what_its_answer_is(tmp_path: Path) -> None:
    videos = read_results(tube_file(tmp_path, result(confidence=0.25), result(confidence=0.0), result()))
    assert [tube.score for tube in videos[0].tubes] == [0.25, 0.0, 0.75]
    (path,) = export_videos(videos, "labelstudio", tmp_path / "o.json").files
    (prediction,) = json.loads(path.read_text())[0]["predictions"]
    tracks = [one["score"] for one in prediction["result"] if one["type"] == "videorectangle"]
    assert tracks == [0.25, 0.0, 0.75]
    assert prediction["score"] == round(1 / 3, 6)


def test_what_has_no_window_is_named(tmp_path: Path) -> None:
    none = result(query="the cat", status="no_window", window=None, tube=None)
    (video,) = read_results(tube_file(tmp_path, none, result()))
    assert [tube.query for tube in video.tubes] == ["the car"]
    assert video.notes == ("[0] 'the cat' left out: no_window",)
    with pytest.raises(DataError, match="nothing"):
        read_results(tube_file(tmp_path, none))


def test_boxes_are_cut_at_the_frame(tmp_path: Path) -> None:
    wide = Tube(np.array([0.5]), np.array([15]), np.array([[-5.0, 20, 240, 50]]), np.array([1.0]))
    (video,) = read_results(tube_file(tmp_path, result(tube=wide)))
    assert set(video.tubes[0].boxes.values()) == {(0.0, 20.0, 200.0, 50.0)}
    assert video.notes == ("'the car': 24 box(es) cut at the edge of the image",)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0.4, 1.2), (12, 36)),
        ((0.5, 0.501), (15, 16)),  # shorter than a frame
        ((9.9, 12.0), (297, 300)),
    ],
)
def test_windows_as_frames(span: tuple[float, float], expected: tuple[int, int]) -> None:
    assert window_frames(TimeSpan(*span), VideoClock(Fraction(30), 300)) == expected


@pytest.mark.parametrize("name", ["cvat", "labelstudio", "mot", "coco-vid"])
def test_the_command_writes_beside_the_result(tmp_path: Path, name: str) -> None:
    path = tube_file(tmp_path, result())
    done = CliRunner().invoke(main.app, ["export", str(path), "--format", name])
    assert done.exit_code == 0, done.output
    assert "1 tube(s) of 1 video(s)" in done.output
    (written,) = [one for one in tmp_path.iterdir() if one != path]
    assert written.name.startswith(f"tube-{name}")
    again = CliRunner().invoke(main.app, ["export", str(path), "--format", name])
    assert again.exit_code == 2


def test_cvat_gets_few_keyframes_and_all_frames(tmp_path: Path) -> None:
    videos = read_results(tube_file(tmp_path, result()))
    (path,) = export_videos(videos, "cvat", tmp_path / "o.xml").files
    boxes = list(ElementTree.parse(path).getroot().iter("box"))
    assert [box.get("frame") for box in boxes] == [str(frame) for frame in range(12, 37)]
    assert [box.get("frame") for box in boxes if box.get("keyframe") == "1"] == ["12", "15", "30", "35", "36"]


def test_label_studio_gets_predictions(tmp_path: Path) -> None:
    videos = read_results(tube_file(tmp_path, result()))
    (path,) = export_videos(videos, "labelstudio", tmp_path / "o.json").files
    (task,) = json.loads(path.read_text())
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("bridge-stg shapes", 0.75)
    sequence = prediction["result"][0]["value"]["sequence"]
    assert [entry["frame"] for entry in sequence] == list(range(13, 37))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["boxes"][1].update(box=[1, 2, 3]), r"\[0\]\.boxes\[1\]\.box: "),
        (lambda r: r.update(schema="other/1"), r"\[0\]\.schema"),
        (lambda r: r["boxes"][0].update(time=1e300), r"\[0\]\.boxes\[0\]\.time"),
        (lambda r: r["video_info"].update(fps="0"), r"\[0\]\.video_info\.fps"),
        (lambda r: r["boxes"][0].update(frame=30), r"\[0\]: boxes .*increase"),
        (lambda r: r["window"].update(start=5.0), r"\[0\]: .*window"),
        (lambda r: r["window"].update(start=90.0, end=99.0), r"\[0\]: .*10\.000 s"),
        (lambda r: r.pop("query"), r"\[0\]\.query: "),
    ],
)
def test_a_broken_result_is_named(tmp_path: Path, change: Any, said: str) -> None:
    line = result().to_json()
    change(line)
    (tmp_path / "tube.json").write_text(json.dumps([line]))
    with pytest.raises(DataError, match=said):
        read_results(tmp_path / "tube.json")


def test_a_cut_off_file_and_none(tmp_path: Path) -> None:
    path = tube_file(tmp_path, result())
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match=r"tube\.json: .*bridge-stg/tube/1"):
        read_results(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["cvat", "labelstudio", "mot"])
def test_records_come_back_through_build(shapes_data: Path, tmp_path: Path, name: Any) -> None:
    """truth.jsonl -> store -> file of the tool -> data build custom: the same windows and boxes."""
    wanted = [record for record in read_truth(shapes_data / "truth.jsonl") if record.boxes]
    store = tmp_path / "store"
    store.mkdir()
    write_store(store, read_truth(shapes_data / "truth.jsonl"), str(shapes_data))
    root = tmp_path / "tool"
    root.mkdir()
    (root / "videos").symlink_to(shapes_data / "videos")
    report = export_records(store, name, root / ("a.json" if name == "labelstudio" else "a"))
    assert report.tubes == len(wanted)
    build("custom", root, tmp_path / "back", BuildOptions(max_skipped=0.0, truth=True))
    back = read_truth(tmp_path / "back" / "truth.jsonl")

    def shown(records: list[Any]) -> list[Any]:
        # Records of the other tasks have no window of their own; it comes back as first to last box.
        return sorted(
            (
                Path(record.video).name,
                record.query,
                record.window or (min(record.boxes), max(record.boxes) + 1),
                sorted(record.boxes.items()),
                record.frame_count,
            )
            for record in records
        )

    assert shown(back) == shown(wanted)


def test_what_has_no_boxes_is_counted(shapes_data: Path, tmp_path: Path) -> None:
    lines = (shapes_data / "truth.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first |= {"task": "vtg"}
    first.pop("boxes", None)
    picture = json.loads(lines[1]) | {"media": "image", "id": "p"}
    path = tmp_path / "truth.jsonl"
    path.write_text("\n".join([json.dumps(first), json.dumps(picture), lines[1]]))
    report = export_records(tmp_path, "coco-vid", tmp_path / "o.json")
    assert report.left_out == {"vtg record without boxes": 1, "about a picture, not a video": 1}
    assert report.tubes == 1
    with pytest.raises(InputError, match="exists already"):
        export_records(path, "coco-vid", tmp_path / "o.json")
    with pytest.raises(InputError, match=r"ends in \.json"):
        export_records(path, "coco-vid", tmp_path / "o.xml")
    with pytest.raises(DataError):
        export_records(tmp_path / "nothing", "coco-vid", tmp_path / "p.json")


def test_rates_are_exact_again() -> None:
    assert exact_rate(24000 / 1001) == Fraction(24000, 1001)
    assert exact_rate(12.5) == Fraction(25, 2)


def test_the_format_table_loads_nothing_heavy() -> None:
    import subprocess

    code = "import sys, bridge_stg.curation.annotations.ground_results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
