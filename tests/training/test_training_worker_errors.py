"""What goes wrong with the data in a worker process reaches a person as it would from the main one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import bridge

from bridge_stg.training.configuration import TrainConfig


def on_records(base: Path, data: Path, workers: int, steps: int = 2, **records: Any) -> dict[str, Any]:
    """A LoRA run on annotated videos, as its configuration file."""
    config = bridge(base, steps, "tune=lora", "data.num_positive=2", "data.num_negative=1")
    values = config.model_dump(mode="json")
    values["data"] |= {
        "workers": workers,
        "records": {
            "root": str(data),
            "sources": [{"name": "shapes", "path": "."}],
            "clips_per_step": 2,
            "clips_alike": 2,
        }
        | records,
    }
    return TrainConfig.model_validate(values).model_dump(mode="json")


def start(folder: Path, values: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    (folder / "run.json").write_text(json.dumps(values))
    command = [str(Path(sys.executable).with_name("bridge-stg")), "train", str(folder / "run.json")]
    command += ["--out", str(folder / "run"), "--threads", "1", *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_of_broken_videos_is_one_line(
    small_checkpoint: Path, shapes_data: Path, tmp_path: Path, workers: int
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes_data, data)
    for video in (data / "videos").iterdir():
        video.write_bytes(b"not a video")
    done = start(tmp_path, on_records(small_checkpoint, data, workers))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert last == done.stderr.splitlines()[-1]
    assert "cannot be used, more than max_bad_share 0.01 allows" in last
    assert "000000.mp4" in last or "000001.mp4" in last or "000002.mp4" in last
    # The record and its reason are in the file that counts them.
    counted = [
        json.loads(line) for line in (tmp_path / "run" / "bad_clips.rank0.jsonl").read_text().splitlines()
    ]
    assert counted[0]["source"] == "shapes"
    assert counted[0]["ids"]


def test_one_corrupt_video_is_counted_and_the_run_ends_well(
    small_checkpoint: Path, shapes_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes_data, data)
    broken = data / "videos" / "000001.mp4"
    broken.write_bytes(broken.read_bytes()[:700])
    done = start(tmp_path, on_records(small_checkpoint, data, 1, steps=3, max_bad_share=0.9))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "run" / "bad_clips.rank0.jsonl").read_text().splitlines()
    assert {json.loads(line)["video"] for line in lines} == {str(broken)}
    assert "clip of shapes" in done.stderr
    assert "Traceback" not in done.stderr
