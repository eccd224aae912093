"""A predictions file has one writer at a time, and nothing but a predictions file is begun anew."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge_stg.errors import InputError
from bridge_stg.evaluation.constants import WHOLE_CLIP
from bridge_stg.evaluation.methods import ConstantMethod, PredictionSettings
from bridge_stg.evaluation.predict import PredictionPlan, plan_run, predict
from bridge_stg.files.one_writer import only_writer

HOLD = """
import sys, time
from pathlib import Path
from bridge_stg.files.one_writer import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def plan(data: Path, out: Path, restart: bool = False) -> PredictionPlan:
    return plan_run(PredictionSettings("whole-clip"), data / "truth.jsonl", out, task="stvg", restart=restart)


def answer(planned: PredictionPlan, data: Path) -> None:
    predict(ConstantMethod(WHOLE_CLIP), planned, data)


def test_a_second_run_is_refused_until_the_first_is_dead(shapes_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another run"):
            answer(plan(shapes_data, out), shapes_data)
        assert not out.exists()
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    answer(plan(shapes_data, out), shapes_data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "p.jsonl.run.json"]


def test_a_file_that_changed_after_the_plan_is_not_added_to(shapes_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    late = plan(shapes_data, out)
    answer(plan(shapes_data, out), shapes_data)
    whole = out.read_bytes()
    with pytest.raises(InputError, match="meanwhile"):
        answer(late, shapes_data)
    assert out.read_bytes() == whole
    answer(plan(shapes_data, out), shapes_data)
    assert out.read_bytes() == whole


def test_the_lock_is_gone_after_an_error(tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    with pytest.raises(ZeroDivisionError), only_writer(out):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with only_writer(out):
        pass


def test_only_a_predictions_file_is_begun_anew(shapes_data: Path, tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    video.write_bytes(next(shapes_data.glob("videos/*.mp4")).read_bytes())
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((shapes_data / "truth.jsonl").read_bytes())
    for place in (video, copy):
        before = place.read_bytes()
        with pytest.raises(InputError, match="predictions file"):
            plan(shapes_data, place, restart=True)
        assert place.read_bytes() == before
    with pytest.raises(InputError, match="is read"):
        plan(shapes_data, shapes_data / "truth.jsonl", restart=True)
    # A damaged one of ours is: what made it lies beside it.
    out = tmp_path / "p.jsonl"
    answer(plan(shapes_data, out), shapes_data)
    whole = out.read_bytes()
    out.write_bytes(b"\0" + whole)
    answer(plan(shapes_data, out, restart=True), shapes_data)
    assert out.read_bytes() == whole


def test_a_train_truth_that_cannot_be_read(shapes_data: Path, tmp_path: Path) -> None:
    truth = shapes_data / "truth.jsonl"
    for bad in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match=f"{bad}: "):
            plan_run(PredictionSettings("best-constant", train_truth=bad), truth, tmp_path / "p")
