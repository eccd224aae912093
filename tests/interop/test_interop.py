"""Real clients of other projects read what this one writes, and it reads what they write.

They live in a virtual environment of their own (``make interop``), for they ask for packages that differ from
the tested ones.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image
from support.built_folder import built, write, write_video

from bridge_stg.curation.export import export_records
from bridge_stg.records.record import TruthRecord, write_truth

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("INTEROP_PYTHON", ROOT / ".venv-interop" / "bin" / "python"))
WIDTH, HEIGHT, FPS, FRAMES = 64, 48, 25, 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists() and "INTEROP_PYTHON" not in os.environ, reason="run by `make interop`"
    ),
]

CAR = {frame: (float(frame), 5.0, frame + 20.0, 30.0) for frame in range(3, 8)}
DOG = dict.fromkeys((2, 3, 9), (40.0, 10.0, 60.0, 40.0))


def ask(name: str, *arguments: object) -> Any:
    """The answer of a client; its own words when it fails."""
    command = [str(PYTHON), "-W", "ignore", str(Path(__file__).with_name("clients.py")), name]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def by_frame() -> dict[str, list[list[float]]]:
    """Frame -> boxes xywh, of both tubes."""
    found: dict[str, list[list[float]]] = {}
    for tube in (CAR, DOG):
        for frame, (x1, y1, x2, y2) in tube.items():
            found.setdefault(str(frame), []).append([x1, y1, x2 - x1, y2 - y1])
    return {frame: sorted(boxes) for frame, boxes in found.items()}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, and a truth.jsonl with two tubes in it."""
    root = tmp_path_factory.mktemp("truth")
    write_video(root / "a.mp4", FRAMES, FPS, WIDTH, HEIGHT)
    records = [
        TruthRecord(
            name, "stvg", "a.mp4", FPS, FRAMES, (0, FRAMES), WIDTH, HEIGHT, query, "declarative",
            window=(min(tube), max(tube) + 1), boxes=tube,
        )
        for name, query, tube in (("1", 'the "red" car & <more>', CAR), ("2", "the dog", DOG))
    ]  # fmt: skip
    write_truth(root / "truth.jsonl", records)
    return root


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The labelling configuration of the documentation."""
    text = (ROOT / "docs" / "data.md").read_text()
    (found,) = re.findall(r"```xml\n(<View>.*?</View>)\n```", text, flags=re.DOTALL)
    return write(tmp_path / "config.xml", found)


def pictures(folder: Path) -> None:
    """A picture for each frame, named as in MOTChallenge."""
    folder.mkdir(parents=True)
    for number in range(1, FRAMES + 1):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / f"{number:06d}.jpg")


def test_datumaro_reads_three_formats(truth: Path, tmp_path: Path) -> None:
    export_records(truth, "mot", tmp_path / "mot")
    assert ask("datumaro", tmp_path / "mot" / "a.mp4", "mot_seq", 1) == by_frame()

    (tmp_path / "cvat").mkdir()
    export_records(truth, "cvat", tmp_path / "cvat" / "a.xml")
    assert ask("datumaro", tmp_path / "cvat", "cvat", 0) == by_frame()

    (tmp_path / "coco" / "images").mkdir(parents=True)
    (tmp_path / "coco" / "annotations").mkdir()
    export_records(truth, "coco-vid", tmp_path / "coco" / "annotations" / "instances_all.json")
    assert ask("datumaro", tmp_path / "coco", "coco", 0) == by_frame()


def test_what_datumaro_writes_comes_back(truth: Path, tmp_path: Path) -> None:
    """Its MOT has no seqinfo.ini and no sentences: the class is the sentence, the pictures are the video."""
    export_records(truth, "mot", tmp_path / "mot")
    pictures(tmp_path / "mot" / "a.mp4" / "img1")
    root = tmp_path / "data"
    written = ask("datumaro_mot", tmp_path / "mot" / "a.mp4", root / "seq")
    assert "seqinfo.ini" not in written

    data = built("custom", root, frame_rate=25.0)
    assert {record.query for record in data.records.values()} == {"target"}
    tubes = [record.boxes for record in data.records.values()]
    assert sorted(tubes, key=min) == sorted([CAR, DOG], key=min)


def test_trackeval_and_motmetrics_score_the_tracks(truth: Path, tmp_path: Path) -> None:
    export_records(truth, "mot", tmp_path / "mot")
    sequence = tmp_path / "mot" / "a.mp4"
    assert ask("trackeval", sequence, tmp_path / "eval") == {"hota": 1.0, "boxes": 8, "frames": FRAMES}
    wanted = {"mota": 1.0, "num_objects": 8.0, "num_unique_objects": 2.0}
    assert ask("motmetrics", sequence / "gt" / "gt.txt") == wanted


def test_pycocotools_evaluates_the_boxes(truth: Path, tmp_path: Path) -> None:
    export_records(truth, "coco-vid", tmp_path / "a.json")
    found = ask("pycocotools", tmp_path / "a.json")
    assert found == {"precision": pytest.approx(1.0), "boxes": 8, "frames": 7}


def test_supervision_reads_the_boxes(truth: Path, tmp_path: Path) -> None:
    export_records(truth, "coco-vid", tmp_path / "a.json")
    data = sv.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "a.json"))
    boxes = sorted(tuple(map(float, box)) for one in data.annotations.values() for box in one.xyxy)
    assert boxes == sorted([*CAR.values(), *DOG.values()])
    assert data.classes == ["target"]


def test_label_studio_accepts_the_results(truth: Path, config: Path, tmp_path: Path) -> None:
    export_records(truth, "labelstudio", tmp_path / "a.json")
    found = ask("label_studio", tmp_path / "a.json", config)
    assert found["errors"] == []
    assert found["frames"] == [[frame + 1 for frame in tube] for tube in (CAR, DOG)]
    assert found["data"] == {"video": "a.mp4", "fps": FPS}


def test_what_label_studio_exports_comes_back(truth: Path, config: Path, tmp_path: Path) -> None:
    export_records(truth, "labelstudio", tmp_path / "a.json")
    tasks = json.loads((tmp_path / "a.json").read_text())
    for number, task in enumerate(tasks):  # as a server numbers them
        task["id"] = task["annotations"][0]["id"] = number
        task["annotations"][0]["completed_by"] = 1
    root = tmp_path / "data"
    root.mkdir()
    (root / "a.mp4").symlink_to(truth / "a.mp4")
    ask("label_studio_convert", write(tmp_path / "server.json", tasks), config, root / "export")

    shown = {record.query: record.boxes for record in built("custom", root).records.values()}
    assert shown == {'the "red" car & <more>': CAR, "the dog": DOG}


def test_tracks_imported_at_another_rate_keep_their_seconds(tmp_path: Path) -> None:
    """24 a second on a video of 30: what the tool's importer put at 1.0 to 2.0 s is there."""
    root = tmp_path / "data"
    write_video(root / "a.mp4", 90, 30, WIDTH, HEIGHT)
    sequence = ask("label_studio_write", root / "tasks.json", 24, WIDTH, HEIGHT)
    assert [entry["time"] for entry in sequence] == [1.0, 2.0]
    record = built("custom", root).only
    assert record.window == (30, 61)
    assert record.boxes[45] == (12, 0, 22, 10)
