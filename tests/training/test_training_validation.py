"""Validation in the loop: when it happens, what it keeps, that it changes nothing, and that it scores."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.small_runs import bridge, curve, quiet, train
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.cli.train import HeldOutJudge
from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.records.record import read_truth
from bridge_stg.training.settings import override

LORA = ["tune=lora", "keep_states=9"]


class Scripted:
    """A judge whose scores are known beforehand; it draws numbers and leaves the model in the other mode."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.seen = scores, []  # type: ignore[var-annotated]

    def __call__(self, folder: Path, videos: int) -> Scripted:
        self.folder, self.videos = folder, videos
        return self

    def answer(self, model: Any, processor: Any, rank: int, processes: int) -> list[Any]:
        model.eval()
        torch.rand(17)
        self.seen.append({name: p.detach().clone() for name, p in model.bridge.named_parameters()})
        return [len(self.seen) - 1]

    def score(self, answers: list[int]) -> dict[str, float]:
        return {"m_tIoU": 1.0, "m_vIoU": self.scores[answers[0]]}


@pytest.fixture(scope="module")
def plain(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    train(bridge(small_checkpoint, 5, *LORA), out, quiet)
    return out


def test_the_best_is_kept_and_the_run_is_the_same(
    plain: Path, small_checkpoint: Path, shapes_data: Path, tmp_path: Path
) -> None:
    judge = Scripted([10.0, 30.0, 20.0])
    config = bridge(
        small_checkpoint,
        5,
        *LORA,
        "validation.every_steps=2",
        f"validation.data={shapes_data}",
        "validation.videos=3",
    )
    train(config, tmp_path, quiet, judge=judge)
    assert (judge.folder, judge.videos) == (shapes_data, 3)
    lines = curve(tmp_path)
    events = [line for line in lines if line.get("event") == "validation"]
    # Every second step, and at the end whatever its number.
    assert [(line["step"], line["m_vIoU"]) for line in events] == [(2, 10.0), (4, 30.0), (5, 20.0)]
    assert [line for line in lines if "event" not in line] == curve(plain)
    best = json.loads((tmp_path / "best" / "best.json").read_text())
    asked = {"truth": sha256((shapes_data / "truth.jsonl").read_bytes()).hexdigest(), "videos": 3}
    assert best == {"step": 4, "m_tIoU": 1.0, "m_vIoU": 30.0, "validation": asked}
    stored = load_file(tmp_path / "best" / "bridge.safetensors")
    assert stored
    assert all(
        torch.equal(judge.seen[1][name.removeprefix("bridge.")], value) for name, value in stored.items()
    )
    last = load_file(tmp_path / "checkpoint" / "bridge.safetensors")
    assert any(not torch.equal(value, last[name]) for name, value in stored.items())


def _best(out: Path) -> dict[str, Any]:
    return json.loads((out / "best" / "best.json").read_text())


def test_a_best_of_other_videos_does_not_count(
    small_checkpoint: Path, shapes_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores on other questions compete among themselves; where the questions lie does not matter."""
    monkeypatch.chdir(tmp_path)

    def go_on(steps: int, videos: int | None, scores: list[float], data: Path, out: Path) -> dict[str, Any]:
        words = [*LORA, "validation.every_steps=1", f"validation.data={data}"]
        config = bridge(small_checkpoint, steps, *words, f"validation.videos={videos or 'null'}")
        train(config, out, quiet, judge=Scripted(scores))
        return _best(out)

    assert go_on(1, 3, [50.0], shapes_data, Path("run"))["m_vIoU"] == 50.0
    moved = Path("moved")
    moved.mkdir()
    shutil.copy(shapes_data / "truth.jsonl", moved)
    Path("run").rename("renamed")
    assert go_on(2, 3, [40.0], moved, Path("renamed").absolute())["m_vIoU"] == 50.0
    assert go_on(4, None, [10.0, 5.0], moved, Path("renamed"))["step"] == 3
    with (moved / "truth.jsonl").open("a") as file:
        file.write("\n")
    assert go_on(5, None, [1.0], moved, Path("renamed"))["m_vIoU"] == 1.0


@pytest.mark.parametrize("complete", [False, True])
def test_a_best_that_was_being_written_when_the_run_died(
    complete: bool, small_checkpoint: Path, shapes_data: Path, tmp_path: Path
) -> None:
    words = [*LORA, "validation.every_steps=1", f"validation.data={shapes_data}", "validation.videos=3"]
    train(bridge(small_checkpoint, 1, *words), tmp_path, quiet, judge=Scripted([50.0]))
    fresh = tmp_path / "best.new"
    shutil.copytree(tmp_path / "best", fresh)
    if complete:
        (fresh / "best.json").write_text(json.dumps({**_best(tmp_path), "m_vIoU": 60.0}))
    else:
        (fresh / "best.json").rename(fresh / "best.tmp")
        (fresh / "best.tmp").write_text('{"step": 1, "m_')
    train(bridge(small_checkpoint, 2, *words), tmp_path, quiet, judge=Scripted([55.0]))
    assert _best(tmp_path)["m_vIoU"] == (60.0 if complete else 55.0)
    assert sorted(path.name for path in tmp_path.glob("best*")) == ["best"]


def test_validation_needs_a_judge_and_a_stage_that_grounds(small_checkpoint: Path, tmp_path: Path) -> None:
    config = bridge(small_checkpoint, 1, *LORA, "validation.every_minutes=1")
    with pytest.raises(InputError, match="no judge"):
        train(config, tmp_path / "run", quiet)
    with pytest.raises(InputError, match="'pretrain'"):
        override(config, ["stage=pretrain"])
    never = ["validation.every_minutes=null", "validation.data=/nowhere"]
    with pytest.raises(InputError, match="validation: data"):
        override(config, never)


def test_a_truth_without_such_questions_is_refused(shapes_data: Path, tmp_path: Path) -> None:
    lines = (shapes_data / "truth.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "truth.jsonl").write_text(
        "".join(line for line in lines if '"task":"vqa"' in line.replace(" ", ""))
    )
    with pytest.raises(InputError, match="stvg"):
        HeldOutJudge(tmp_path, 3)


def test_all_of_a_folder_is_asked_unless_told_otherwise(shapes_data: Path) -> None:
    asked = {
        number: {record.video for record in HeldOutJudge(shapes_data, number).truth} for number in (None, 1, 99)
    }
    assert len(asked[None]) == 3
    assert asked[99] == asked[None]
    assert asked[1] == {"videos/000000.mp4"}


def test_scores_in_the_loop_are_those_of_the_commands(
    taught_checkpoint: Path, shapes_data: Path, tmp_path: Path
) -> None:
    """A checkpoint that answers is predicted and scored by both; two processes share the work."""
    judge = HeldOutJudge(shapes_data, 2)
    videos = {record.video for record in judge.truth}
    assert len(videos) == 2
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    answers = [one for rank in (0, 1) for one in judge.answer(grounder.model, grounder.processor, rank, 2)]
    assert sorted(one.id for one in answers) == sorted(record.id for record in judge.truth)
    found = judge.score(answers)
    part = tmp_path / "data"
    part.mkdir()
    (part / "videos").symlink_to(shapes_data / "videos")
    lines = (shapes_data / "truth.jsonl").read_text().splitlines(keepends=True)
    (part / "truth.jsonl").write_text("".join(line for line in lines if json.loads(line)["video"] in videos))
    assert len(read_truth(part / "truth.jsonl")) < len(lines)

    def run(*words: object) -> None:
        done = CliRunner().invoke(main.app, [str(word) for word in words])
        assert done.exit_code == 0, done.output

    predictions, scores = tmp_path / "p.jsonl", tmp_path / "s.json"
    run("predict", "--data", part, "--checkpoint", taught_checkpoint, "--out", predictions, "--threads", 1)
    run("score", "--truth", part / "truth.jsonl", "--predictions", predictions, "--out", scores)
    metrics = json.loads(scores.read_text())["metrics"]
    assert found["n"] == len(judge.truth)
    for name in ("m_tIoU", "m_vIoU", "vIoU@0.3", "vIoU@0.5"):
        assert found[name] == pytest.approx(metrics[name], abs=1e-3)


def test_generated_videos_are_made_once(small_checkpoint: Path, tmp_path: Path) -> None:
    """Of the split that no training clip is drawn from."""
    config = bridge(
        small_checkpoint,
        1,
        *LORA,
        "validation.every_steps=1",
        "validation.videos=1",
        "log_every=1",
        "validation.seed=3",
    )
    train(config, tmp_path, quiet, judge=HeldOutJudge)
    truth = tmp_path / "validation" / "1-videos-seed-3" / "truth.jsonl"
    written = truth.stat().st_mtime_ns
    assert {record.split for record in read_truth(truth)} == {"test"}
    (line,) = [line for line in curve(tmp_path) if line.get("event") == "validation"]
    assert line["n"] >= 1
    train(config, tmp_path, quiet, judge=HeldOutJudge)
    assert truth.stat().st_mtime_ns == written
