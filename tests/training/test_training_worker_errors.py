"""What goes wrong with the data in a worker process reaches a person as it would from the main one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.processes import Running, run_command
from support.small_runs import bridge
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.cli.train import only_run


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
    return type(config).model_validate(values).model_dump(mode="json")


def start(folder: Path, values: dict[str, Any]) -> Running:
    """The real command in a process of its own."""
    (folder / "run.json").write_text(json.dumps(values))
    return run_command("train", folder / "run.json", "--out", folder / "run", "--threads", 1)


def test_data_that_is_missing_is_said_before_anything_is_loaded(shapes_data: Path, tmp_path: Path) -> None:
    """All of it at once, the held-out folder too."""
    words = ["train", "paper-8xh100", "--data", str(shapes_data.parent), "--set", "validation.every_steps=5"]
    words += ["--set", "validation.data=/nowhere", "--set", "base=/nowhere", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main.app, words)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    for part in (
        "holds no vidstg, hcstvg-v1, ",
        "self-collected (folder revos-stvg), ",
        "refcocog; write them",
        "data.records.only",
        "/nowhere: holds no",
    ):
        assert part in done.stderr
    # What is there can be trained on: the next thing that is missing is the base.
    shutil.copytree(shapes_data, tmp_path / "data" / "vidstg")
    words = ["train", "paper-8xh100", "--data", str(tmp_path / "data"), "--set", "data.records.only=vidstg"]
    done = CliRunner().invoke(main.app, [*words, "--set", "base=/nowhere", "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "'/nowhere'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_two_runs_do_not_share_a_folder(small_checkpoint: Path, shapes_data: Path, tmp_path: Path) -> None:
    values = on_records(small_checkpoint, shapes_data, 0, steps=1)
    with only_run(tmp_path / "run"):
        done = start(tmp_path, values)
        assert done.poll() == 2
        assert "another run" in done.stderr
        assert not (tmp_path / "run").exists()
    with only_run(tmp_path / "run"), only_run(tmp_path / "other"):
        pass


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    done = CliRunner().invoke(main.app, ["train", str(tmp_path)])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert str(tmp_path / "config.json") in done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_of_broken_videos_is_one_line(
    small_checkpoint: Path, shapes_data: Path, tmp_path: Path, workers: int
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes_data, data)
    for video in (data / "videos").iterdir():
        video.write_bytes(b"not a video")
    done = start(tmp_path, on_records(small_checkpoint, data, workers))
    assert done.poll() == 2, done.stderr
    assert "Traceback" not in done.stderr
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert last == done.stderr.splitlines()[-1]
    assert "max_bad_share 0.01" in last
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
    assert done.poll() == 0, done.stderr
    lines = (tmp_path / "run" / "bad_clips.rank0.jsonl").read_text().splitlines()
    assert {json.loads(line)["video"] for line in lines} == {str(broken)}
    assert "clip of shapes" in done.stderr
    assert "Traceback" not in done.stderr
