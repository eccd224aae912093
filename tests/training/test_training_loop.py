"""Real runs of a few steps: going on after a stop, what they write, and when they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from transformers import Qwen3VLForConditionalGeneration

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.grounder import VideoGrounder
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, BridgeSTGOutput
from bridge_stg.training.configuration import TrainConfig, override
from bridge_stg.training.loop import (
    build_model,
    changed_settings,
    cosine_schedule,
    parameter_groups,
    restore,
    take_step,
    train,
)
from bridge_stg.training.progress import RunLog
from bridge_stg.training.recipes import recipe

# A step of a second or less, logged and saved every time.
TINY = [
    "data.workers=0",
    "data.clips_per_step=1",
    "data.images_per_step=1",
    "data.image_share=0.3",
    "log_every=1",
    "save_minutes=1e-9",
]


def pretrain(steps: int) -> TrainConfig:
    return override(
        recipe("shapes-pretrain").model_copy(update={"base": None}), [*TINY, f"optim.steps={steps}"]
    )


def bridge(base: Path, steps: int, *more: str) -> TrainConfig:
    return override(recipe("shapes"), [*TINY, f"base={base}", f"optim.steps={steps}", *more])


class StoppedError(Exception):
    pass


def stop_at(step: int) -> Any:
    """A report that ends the run when it hears of ``step``: after its update, before its state is saved."""

    def report(line: str) -> None:
        if line.startswith(f"step={step} "):
            raise StoppedError

    return report


def quiet(line: str) -> None:
    pass


def curve(out: Path) -> list[dict[str, float]]:
    """The log without what a clock says."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "clips_per_second")} for line in lines]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "model.safetensors")


def same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretraining run of six steps."""
    out = tmp_path_factory.mktemp("runs") / "pretrain"
    train(pretrain(6), out, quiet)
    return out


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuning run of five steps on it."""
    out = tmp_path_factory.mktemp("runs") / "bridge"
    train(bridge(base / "checkpoint", 5), out, quiet)
    return out


def test_stopped_and_resumed_pretraining_is_the_same_run(base: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(pretrain(6), tmp_path, stop_at(4))
    assert json.loads((tmp_path / "state" / "step.json").read_text()) == {"step": 3}
    assert len(curve(tmp_path)) == 4
    # The tied output layer is stored once.
    stored = load_file(tmp_path / "state" / "model.safetensors")
    tied = {"mllm.model.language_model.embed_tokens.weight", "mllm.lm_head.weight"}
    assert len(tied & stored.keys()) == 1
    assert not list((tmp_path / "state").glob("pytorch_model*"))
    heard: list[str] = []
    train(pretrain(6), tmp_path, heard.append)
    assert heard[0] == "going on from step 3"
    assert curve(tmp_path) == curve(base)
    same_weights(tmp_path, base)


def test_a_killed_tuning_run_is_the_same_run(base: Path, tuned: Path, tmp_path: Path) -> None:
    """SIGKILL, wherever it hits; tuning also draws noise, which has to go on where it was."""
    out = tmp_path / "run"
    words = [f"--set={setting}" for setting in (*TINY, f"base={base / 'checkpoint'}", "optim.steps=5")]
    command = [Path(sys.executable).with_name("bridge-stg"), "train", "shapes", "--out", out, *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    log = out / "log.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not log.is_file() or log.read_text().count("\n") < 2:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "checkpoint").exists()
    heard: list[str] = []
    train(bridge(base / "checkpoint", 5), out, heard.append)
    assert heard[0].startswith("going on from step ")
    assert not [line for line in heard if line.startswith("changed")]
    assert curve(out) == curve(tuned)
    same_weights(out, tuned)


def test_a_finished_run_has_nothing_to_redo(tuned: Path, base: Path) -> None:
    before, lines = weights(tuned), curve(tuned)
    heard: list[str] = []
    train(bridge(base / "checkpoint", 5), tuned, heard.append)
    assert heard == ["going on from step 5"]
    assert curve(tuned) == lines
    assert all(torch.equal(before[name], value) for name, value in weights(tuned).items())


def test_changed_settings_are_said(base: Path) -> None:
    changes = changed_settings(base / "config.json", override(pretrain(6), ["optim.lr=0.5", "data.seed=9"]))
    assert changes == ["data.seed: 0 -> 9", "optim.lr: 0.001 -> 0.5"]
    assert changed_settings(base / "config.json", pretrain(6)) == []


@pytest.mark.parametrize("complete", [True, False])
def test_killed_while_saving(base: Path, tmp_path: Path, complete: bool) -> None:
    """The new state counts once its step.json is there; until then the old one does."""

    def state(name: str, step: int, whole: bool) -> None:
        (tmp_path / name).mkdir()
        if whole:
            (tmp_path / name / "step.json").write_text(json.dumps({"step": step}))

    class Loader:
        loaded = ""

        def load_state(self, folder: str) -> None:
            self.loaded = folder

    state("state", 3, whole=True)
    state("state.new", 6, whole=complete)
    loader = Loader()
    assert restore(loader, tmp_path) == (6 if complete else 3)  # type: ignore[arg-type]
    assert loader.loaded == str(tmp_path / "state")


def test_a_log_goes_on_at_the_step_of_the_state(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"ste')
    log = RunLog(path, start=20)
    log.add("loss", 6.0, 3)
    log.add("loss", 1.0)
    log.write(30, lr=0.5)
    first, second, third = curve(tmp_path)
    assert (first, second) == ({"step": 10}, {"step": 20})
    assert third == {"step": 30, "lr": 0.5, "loss": 1.75}


# --- what a run writes


def test_pretraining_writes_an_ordinary_qwen3_vl(base: Path) -> None:
    model, info = Qwen3VLForConditionalGeneration.from_pretrained(base / "checkpoint", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.model_type == "qwen3_vl"
    start, _ = build_model(pretrain(6))
    assert isinstance(start, BridgeSTGForVideoGrounding)
    moved = [
        name
        for name, value in model.named_parameters()
        if not torch.equal(value, start.mllm.get_parameter(name))
    ]
    assert moved


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_tuning_writes_a_checkpoint_that_grounds(
    base: Path, tuned: Path, tmp_path: Path, clip: Path, tune: str
) -> None:
    folder = tuned / "checkpoint"
    if tune == "lora":
        folder = train(bridge(base / "checkpoint", 2, "tune=lora"), tmp_path / "lora", quiet)
    result = VideoGrounder.from_pretrained(str(folder), device="cpu").ground(clip, "the red circle")
    assert result.checkpoint == str(folder)
    before = load_file(base / "checkpoint" / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[f"mllm.{name}"])}
    assert not [name for name in moved if ".visual." in name]
    if tune == "lora":
        # Adapters sit on the attention projections, and one row of the embedding is new.
        assert all(".self_attn." in name or "embed_tokens" in name for name in moved)
    assert [name for name in moved if ".self_attn.q_proj" in name]


# --- which parameters move


@pytest.mark.parametrize(
    ("stage", "tune"), [("vision", "full"), ("pretrain", "full"), ("bridge", "full"), ("bridge", "lora")]
)
def test_groups_hold_every_trainable_parameter_once(base: Path, stage: str, tune: str) -> None:
    if stage == "bridge":
        config = bridge(base / "checkpoint", 2, f"tune={tune}")
    else:
        config = pretrain(2) if stage == "pretrain" else override(recipe("shapes-vision"), ["optim.steps=2"])
    model, _ = build_model(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, config)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in model.parameters() if p.requires_grad}
    moving = [names[item] for item in listed]
    if stage == "bridge":
        assert not [name for name in moving if ".visual." in name]
        assert [name for name in moving if name.startswith("bridge.")]
        spatial = {names[id(p)] for p in groups[1]["params"]}
        learned = [
            (name, p.requires_grad) for name, p in model.named_parameters() if name.startswith("localizer.")
        ]
        assert spatial == {name for name, learns in learned if learns}
        assert groups[1]["lr"] == config.optim.spatial_lr
    else:
        assert len(groups) == 1
        assert not [name for name in moving if name.startswith(("bridge.", "localizer."))]
        assert [name for name in moving if ".visual." in name]


def test_the_schedule_by_hand() -> None:
    config = override(pretrain(10), ["optim.steps=12", "optim.warmup_ratio=0.17", "optim.final_ratio=0.2"])
    factor = cosine_schedule(config)
    found = [factor(step) for step in (0, 1, 2, 7, 12)]
    # Two steps of warm-up, then half a cosine over ten steps from 1 to 0.2; in its middle 0.6.
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2])


# --- what stops a run


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nothing_moves_when_something_is_not_finite(tmp_path: Path, where: str) -> None:
    accelerator = Accelerator(cpu=True)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([{"params": [weight], "clip": 1.0}], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    weight.grad = torch.ones(3)
    loss = torch.tensor(1.0)
    if where == "loss":
        loss = torch.tensor(float("nan"))
    else:
        weight.grad[1] = float("inf")
    with pytest.raises(BridgeSTGError, match=r"step 7: .*not finite"):
        take_step(
            accelerator, optimizer, schedule, BridgeSTGOutput(loss=loss), 7, RunLog(tmp_path / "log.jsonl")
        )
    assert weight.tolist() == [1.0, 1.0, 1.0]
    weight.grad = torch.ones(3)
    output = BridgeSTGOutput(loss=torch.tensor(1.0))
    take_step(accelerator, optimizer, schedule, output, 8, RunLog(tmp_path / "log.jsonl"))
    assert weight.tolist() != [1.0, 1.0, 1.0]


def test_a_run_on_broken_weights_stops_and_saves_nothing(base: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (base / "checkpoint").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    values = load_file(broken / "model.safetensors")
    values["model.language_model.norm.weight"][0] = float("nan")
    save_file(values, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BridgeSTGError, match="step 0"):
        train(bridge(broken, 2), tmp_path / "run", quiet)
    assert not (tmp_path / "run" / "state").exists()
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(InputError, match="one process only so far, not in 2"):
        train(pretrain(2), tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_both_stages_read_frames_of_the_same_size(base: Path) -> None:
    sizes = {
        build_model(config)[1].frame_size(640, 480) for config in (pretrain(2), bridge(base / "checkpoint", 2))
    }
    assert len(sizes) == 1


def test_a_missing_base_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        train(bridge(tmp_path / "nowhere", 2), tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()
