"""Real processes of the launcher, and real kills: the answers are those of one process that nobody stopped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.processes import start_command
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import InputError
from bridge_stg.evaluation.constants import WHOLE_CLIP
from bridge_stg.evaluation.methods import ConstantMethod, PredictionSettings
from bridge_stg.evaluation.predict import plan_run
from bridge_stg.evaluation.predict import predict as run_plan
from bridge_stg.evaluation.resume import record_path
from bridge_stg.evaluation.run_cost import cost_path, read_costs
from bridge_stg.evaluation.sharding import Shard
from bridge_stg.records.prediction import prediction_files, read_predictions
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
    assert done == (1, "1")
    return out


def predict(data: Path, checkpoint: Path, out: Path) -> tuple[int, *tuple[str, ...]]:
    """Exit code, and how many questions the error on stderr counts, of the command in this process."""
    words = ["predict", "--data", data, "--checkpoint", checkpoint, "--out", out, "--threads", 1]
    done = CliRunner().invoke(main.app, [str(word) for word in words])
    return done.exit_code, *re.findall(r"^error: (\d+) ", done.stderr, re.MULTILINE)


def in_processes(data: Path, checkpoint: Path, out: Path, count: int) -> subprocess.CompletedProcess[str]:
    """The command in ``count`` processes of torch's launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    command += ["-m", "bridge_stg.cli.main", "predict", "--data", str(data), "--checkpoint"]
    command += [str(checkpoint), "--out", str(out), "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def lines_at(out: Path) -> list[bytes]:
    """All lines of a file or folder, whatever their order."""
    return sorted(line for file in prediction_files(out) for line in file.read_bytes().splitlines())


def test_two_processes_go_on_where_three_were_stopped(
    data: Path, alone: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    """They find what a stopped run of three left: one answer, half an answer, and nothing of the third."""
    lines = [line for line in alone.read_bytes().splitlines(keepends=True) if b'"failed"' not in line]
    out = tmp_path / "predictions"
    out.mkdir()
    (out / "rank-00000.jsonl").write_bytes(lines[-1])
    (out / "rank-00002.jsonl").write_bytes(lines[0] + lines[1][:30])
    record_path(out).write_bytes(record_path(alone).read_bytes())
    done = in_processes(data, small_checkpoint, out, 2)
    assert "1 question(s)" in done.stderr, done.stderr
    assert "2 question(s)" in " ".join(done.stdout.split())
    assert done.stdout.count("wrote ") == 1
    assert lines_at(out) == lines_at(alone)
    assert read_predictions(out).keys() == read_predictions(alone).keys()
    assert [file.name for file in prediction_files(out)] == [f"rank-0000{rank}.jsonl" for rank in range(3)]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["predictions", "predictions.run.json"]
    # Both worked, and what they took lies beside their files.
    assert len(read_costs(out)) == 2
    assert all(entry.clips > 0 for entry in read_costs(out))
    (whole,) = read_costs(alone)
    assert sum(entry.clips for entry in read_costs(out)) <= whole.clips == 4


def test_one_process_goes_on_where_several_were_stopped(
    data: Path, alone: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    lines = alone.read_bytes().splitlines(keepends=True)
    out = tmp_path / "predictions"
    out.mkdir()
    (out / "rank-00000.jsonl").write_bytes(b"".join(lines[0::2]))
    (out / "rank-00001.jsonl").write_bytes(b"".join(lines[1::2])[:-5])
    record_path(out).write_bytes(record_path(alone).read_bytes())
    cost_path(out / "rank-00001.jsonl").write_bytes(cost_path(alone).read_bytes())
    assert predict(data, small_checkpoint, out) == (1, "1")
    assert lines_at(out) == lines_at(alone)
    # The cost of the stopped processes is not lost.
    assert sum(entry.clips for entry in read_costs(out)) >= read_costs(alone)[0].clips


def test_the_kind_of_place_is_kept(data: Path, alone: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    """Several processes do not turn a file into a folder, and a folder of other files is not written into."""
    out = tmp_path / "p.jsonl"
    out.write_bytes(alone.read_bytes())
    record_path(out).write_bytes(record_path(alone).read_bytes())
    settings = PredictionSettings(checkpoint=str(small_checkpoint))
    plan = plan_run(settings, data / "truth.jsonl", out, task="stvg")
    with pytest.raises(InputError, match="2 processes"):
        run_plan(ConstantMethod(WHOLE_CLIP), plan, data, shard=Shard(0, 2))

    (tmp_path / "truth.jsonl").write_text("{}\n")
    for restart in (False, True):
        with pytest.raises(InputError, match="folder that holds"):
            plan_run(settings, data / "truth.jsonl", tmp_path, task="stvg", restart=restart)


def test_a_killed_run_goes_on_and_ends_with_the_same_answers(
    data: Path, alone: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    """A real process, killed once it has answered a clip."""
    out = tmp_path / "p.jsonl"
    words = ["predict", "--data", data, "--checkpoint", small_checkpoint, "--out", out, "--threads", 1]
    process = start_command(*words)
    while process.poll() is None and not (out.exists() and out.read_bytes()):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert 0 < len(out.read_bytes().splitlines()) <= len(alone.read_bytes().splitlines())
    assert predict(data, small_checkpoint, out) == (1, "1")
    assert lines_at(out) == lines_at(alone)
