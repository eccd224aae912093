"""Two real processes of the launcher write the file that one process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.evaluation.cost import cost_path
from bridge_stg.evaluation.resume import record_path
from bridge_stg.files.one_writer import parts_of
from bridge_stg.records.record import read_truth, write_truth


@pytest.fixture(scope="module")
def data(shapes_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, one of them cut into two clips, and one that is not there."""
    folder = tmp_path_factory.mktemp("sharding")
    (folder / "videos").symlink_to(shapes_data / "videos")
    records = [record for record in read_truth(shapes_data / "truth.jsonl") if record.task == "stvg"]
    part = next(record for record in records if record.video == "videos/000001.mp4")
    records.append(replace(part, id="part", clip=(20, part.frame_count), window=(30, 40), boxes={}))
    records.append(replace(part, id="broken", video="videos/none.mp4"))
    (folder / "truth.jsonl").touch()
    write_truth(folder / "truth.jsonl", records)
    return folder


@pytest.fixture(scope="module")
def alone(data: Path, small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one process."""
    out = tmp_path_factory.mktemp("alone") / "p.jsonl"
    done = predict(data, small_checkpoint, out)
    assert done == (1, "error: 1 question(s) failed")
    return out


def predict(data: Path, checkpoint: Path, out: Path) -> tuple[int, str]:
    """Exit code and how stderr begins, of the command in this process."""
    words = ["predict", "--data", data, "--checkpoint", checkpoint, "--out", out, "--threads", 1]
    done = CliRunner().invoke(main.app, [str(word) for word in words])
    return done.exit_code, done.stderr[:27]


def test_two_processes_go_on_and_end_in_the_file_of_one(
    data: Path, alone: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    """They begin with what a stopped run of several left: a part of the file, and a part file cut in a line."""
    lines = alone.read_bytes().splitlines(keepends=True)
    out = tmp_path / "p.jsonl"
    out.write_bytes(lines[-2])
    (tmp_path / "p.jsonl.part-00004").write_bytes(lines[1] + lines[0][:30])
    record_path(out).write_bytes(record_path(alone).read_bytes())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "bridge_stg.cli.main", "predict", "--data", str(data), "--checkpoint"]
    command += [str(small_checkpoint), "--out", str(out), "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert "error: 1 question(s) failed" in done.stderr, done.stderr
    assert "going on with" in done.stdout
    assert "2 question(s) have an answer there and are kept" in " ".join(done.stdout.split())
    assert done.stdout.count("wrote ") == 1
    assert out.read_bytes() == alone.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [out.name, record_path(out).name, cost_path(out).name]
    )
    # Both worked, and what they took is added up: every clip that had a question without an answer.
    cost = json.loads(cost_path(out).read_text())
    assert len(cost["runs"]) == 2
    assert all(entry["clips"] > 0 for entry in cost["runs"])
    whole = json.loads(cost_path(alone).read_text())
    assert cost["clips"] <= whole["clips"] == 4


@pytest.mark.parametrize("kept", [0, 2])
def test_one_process_goes_on_where_several_were_stopped(
    data: Path, alone: Path, small_checkpoint: Path, tmp_path: Path, kept: int
) -> None:
    """Killed before the parts were joined, or while they were: the file is there, its parts are as well."""
    lines = alone.read_bytes().splitlines(keepends=True)
    out = tmp_path / "p.jsonl"
    out.write_bytes(b"".join(lines[:kept]))
    record_path(out).write_bytes(record_path(alone).read_bytes())
    (tmp_path / "p.jsonl.part-00000").write_bytes(b"".join(lines[0::2]))
    (tmp_path / "p.jsonl.part-00001").write_bytes(b"".join(lines[1::2])[:-5])
    whole = json.loads(cost_path(alone).read_text())
    cost_path(tmp_path / "p.jsonl.part-00001").write_bytes(cost_path(alone).read_bytes())
    assert predict(data, small_checkpoint, out) == (1, "error: 1 question(s) failed")
    assert out.read_bytes() == alone.read_bytes()
    assert parts_of(out) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [out.name, record_path(out).name, cost_path(out).name]
    )
    # The cost of the stopped processes is not lost.
    assert json.loads(cost_path(out).read_text())["clips"] >= whole["clips"]


def test_only_numbered_files_are_parts(tmp_path: Path) -> None:
    part = "p.jsonl.part-00001"
    for name in (part, f"{part}.cost.json", "p.jsonl.part-old", "q.jsonl.part-00001"):
        (tmp_path / name).touch()
    assert [path.name for path in parts_of(tmp_path / "p.jsonl")] == [part]
    assert parts_of(tmp_path / "none" / "p.jsonl") == []
