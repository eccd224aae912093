"""Real runs of a few steps: going on after a stop, what they write, and when they refuse."""

from __future__ import annotations

import json
import math
import os
import re
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
from support.processes import start_command
from support.small_runs import (
    TINY,
    bridge,
    build_model,
    curve,
    pretrain,
    quiet,
    same_weights,
    source_of,
    train,
    weights,
    with_a_hole,
)
from transformers import Qwen3VLForConditionalGeneration

from bridge_stg.cli.runs import recipe
from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.shapes.generated_samples import GeneratedSamples
from bridge_stg.training.checkpoints import Position, changed_settings, restore, save_state
from bridge_stg.training.configuration import OptimConfig
from bridge_stg.training.log import RunLog
from bridge_stg.training.optimization import (
    apply_settings,
    cosine,
    describe_groups,
    group_settings,
    parameter_groups,
    set_rates,
    take_step,
)
from bridge_stg.training.settings import override


class StoppedError(Exception):
    pass


def stop_at(step: int) -> Any:
    """A report that ends the run when it hears of ``step``: after its update, before its state is saved."""

    def report(line: str) -> None:
        if line.startswith(f"step={step} "):
            raise StoppedError

    return report


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
    assert json.loads((tmp_path / "state" / "step.json").read_text()) == {"step": 3, "skipped": 0, "origin": ""}
    assert len(curve(tmp_path)) == 4
    # What learns is stored, and the tied output layer once.
    stored = load_file(tmp_path / "state" / "model.safetensors")
    tied = {"mllm.model.language_model.embed_tokens.weight", "mllm.lm_head.weight"}
    assert len(tied & stored.keys()) == 1
    assert not [name for name in stored if name.startswith(("bridge.", "localizer."))]
    assert not list((tmp_path / "state").glob("pytorch_model*"))
    heard: list[str] = []
    train(pretrain(6), tmp_path, heard.append)
    assert "going on from step 3" in heard
    assert curve(tmp_path) == curve(base)
    same_weights(tmp_path, base)


@pytest.mark.parametrize("saving", [False, True])
def test_a_killed_tuning_run_is_the_same_run(base: Path, tuned: Path, tmp_path: Path, saving: bool) -> None:
    """SIGKILL, wherever it hits, or in the middle of saving; the noise of tuning has to go on where it was.

    The latter with a loader process, which is ahead of the step that is saved; `tuned` had none.
    """
    out, loader = tmp_path / "run", f"data.workers={int(saving)}"
    settings = (*TINY, f"base={base / 'checkpoint'}", "optim.steps=5", loader)
    # Sums are rounded by how many threads share them.
    words = [f"--threads={torch.get_num_threads()}", *(f"--set={setting}" for setting in settings)]
    process = start_command("train", "shapes", "--out", out, *words)
    log, fresh = out / "log.jsonl", out / "state.new"

    def now() -> bool:
        if not log.is_file() or log.read_text().count("\n") < 2:
            return False
        if not saving:
            return True
        if not (fresh / "model.safetensors").exists():
            return False
        # It stands still while it is looked at: a state that is complete by now is not in the middle.
        process.send_signal(signal.SIGSTOP)
        if fresh.exists() and not (fresh / "step.json").exists():
            return True
        process.send_signal(signal.SIGCONT)
        return False

    try:
        deadline = time.monotonic() + 240
        while not now():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "checkpoint").exists()
    assert not saving or (fresh / "model.safetensors").exists()
    heard: list[str] = []
    train(bridge(base / "checkpoint", 5, loader), out, heard.append)
    assert [line for line in heard if line.startswith("going on from step ")]
    assert not [line for line in heard if line.startswith("changed")]
    assert curve(out) == curve(tuned)
    same_weights(out, tuned)


def test_ctrl_c_says_how_the_run_goes_on(base: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "run", (*TINY, f"base={base / 'checkpoint'}", "optim.steps=50", "save_minutes=7")
    words = [f"--set={setting}" for setting in settings]
    command = [Path(sys.executable).with_name("bridge-stg"), "train", "shapes", "--out", out, *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell that runs the tests in its background has told them to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step=1 "):
            process.send_signal(signal.SIGINT)
            break
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-2:] == [
        f"{out}: the same command goes on from the last state; one is saved every 7 minutes",
        "stopped",
    ]


def test_a_finished_run_has_nothing_to_redo(tuned: Path, base: Path) -> None:
    before, lines = weights(tuned), curve(tuned)
    heard: list[str] = []
    train(bridge(base / "checkpoint", 5), tuned, heard.append)
    assert [line for line in heard if "step" in line] == ["going on from step 5"]
    assert curve(tuned) == lines
    assert all(torch.equal(before[name], value) for name, value in weights(tuned).items())


def test_changed_settings_are_said(base: Path) -> None:
    changes = changed_settings(base / "config.json", override(pretrain(6), ["optim.lr=0.5", "data.seed=9"]))
    assert changes == ["data.seed: 0 -> 9", "optim.lr: 0.001 -> 0.5"]
    assert changed_settings(base / "config.json", pretrain(6)) == []


def test_changed_rates_hold_from_the_next_step_on(tmp_path: Path) -> None:
    """Three steps at one rate and length of the run, two at others, by the schedule worked by hand."""
    fixed = ["optim.warmup_ratio=0", "optim.final_ratio=0"]
    with pytest.raises(StoppedError):
        train(override(pretrain(4), ["optim.lr=0.001", *fixed]), tmp_path, stop_at(4))
    heard: list[str] = []
    changed = ["optim.lr=0.004", "optim.weight_decay=0.5", "optim.clip_norm=0.01", *fixed]
    train(override(pretrain(5), changed), tmp_path, heard.append)
    assert {line for line in heard if line.startswith("changed")} == {
        "changed since the last start: optim.lr: 0.001 -> 0.004",
        "changed since the last start: optim.weight_decay: 0.0 -> 0.5",
        "changed since the last start: optim.clip_norm: 1.0 -> 0.01",
        "changed since the last start: optim.steps: 4 -> 5",
    }
    # One step of warm-up at least; then half a cosine over 3 steps and, from step 3 on, over 4. A line tells
    # the rate of the step after it.
    old = [0.001 * 0.5 * (1 + math.cos(math.pi * part / 3)) for part in (0, 1, 2)]
    new = [0.004 * 0.5 * (1 + math.cos(math.pi * part / 4)) for part in (3, 4)]
    assert [line["lr"] for line in curve(tmp_path)] == pytest.approx([*old, *new], abs=1e-9)


def test_changed_settings_move_weights_by_hand(tmp_path: Path) -> None:
    """AdamW on its first gradient: w (1 - lr * decay) - lr * sign; the gradient is clipped to the new norm."""
    weight = torch.nn.Parameter(torch.full((4,), 2.0))

    def optimizer(lr: float, decay: float, clip: float) -> torch.optim.AdamW:
        group = {"params": [weight], "lr": lr, "peak_lr": lr, "clip": clip}
        return torch.optim.AdamW([group], weight_decay=decay)

    kept = optimizer(0.1, 0.0, 1.0).state_dict()
    second = optimizer(0.01, 0.25, 0.5)
    settings = group_settings(second)
    second.load_state_dict(kept)
    assert second.param_groups[0]["lr"] == 0.1  # what a state brings along
    apply_settings(second, settings)
    # At the peak, right after one step of warm-up.
    set_rates(second, OptimConfig(steps=10), 1)
    weight.grad = torch.ones(4)  # its norm is 2
    seen: list[float] = []
    second.register_step_pre_hook(lambda *_: seen.append(float(weight.grad.norm())))  # type: ignore[union-attr]
    take_step(Accelerator(cpu=True), second, torch.tensor(1.0))
    assert seen == pytest.approx([0.5], rel=1e-4)
    assert weight.tolist() == pytest.approx([2.0 * (1 - 0.01 * 0.25) - 0.01] * 4, rel=1e-5)
    assert second.param_groups[0]["lr"] == 0.01


def test_a_configuration_that_was_cut_off_does_not_stop_a_run(base: Path, tmp_path: Path) -> None:
    """It is written by renaming; one of an older version, with other fields, is said and not fatal."""
    whole = (base / "config.json").read_text()
    for text in (whole[:40], whole.replace('"optim"', '"optimizer"', 1)):
        (tmp_path / "config.json").write_text(text)
        (line,) = changed_settings(tmp_path / "config.json", pretrain(6))
        assert "compared" in line
        assert "\n" not in line


def state(folder: Path, name: str, step: int, whole: bool = True) -> None:
    (folder / name).mkdir()
    (folder / name / "of").write_text(str(step))
    if whole:
        (folder / name / "step.json").write_text(json.dumps({"step": step}))


class States:
    """What an accelerator does with states, without any weights."""

    is_main_process = True

    def wait_for_everyone(self) -> None:
        pass

    def save_state(self, folder: str) -> None:
        Path(folder).mkdir()

    def load_state(self, folder: str) -> None:
        self.loaded = (Path(folder) / "of").read_text()


@pytest.mark.parametrize(
    ("found", "step"),
    [
        # (state, state-00000003, state.new; a minus is not complete) -> the step that is gone on from
        ({"state": 3, "state.new": -6}, 3),
        ({"state": 3, "state.new": 6}, 6),
        ({"state-00000003": 3, "state.new": 6}, 6),
        ({"state": -3, "state.new": 6}, 6),
        ({"state": 6, "state-00000003": 3}, 6),
        ({"state": -6}, 0),
        ({}, 0),
    ],
)
def test_killed_while_saving(tmp_path: Path, found: dict[str, int], step: int) -> None:
    """The new state counts once its step.json is there; until then the old one does."""
    for name, number in found.items():
        state(tmp_path, name, abs(number), whole=number > 0)
    states = States()
    assert restore(states, tmp_path) == Position(step)  # type: ignore[arg-type]
    assert step == 0 or states.loaded == str(step)


@pytest.mark.parametrize(("keep", "left"), [(1, [4]), (2, [3, 4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])])
def test_so_many_states_are_kept(tmp_path: Path, keep: int, left: list[int]) -> None:
    mine = tmp_path / "state-backup"
    mine.mkdir()
    for step in (1, 2, 3, 4):
        save_state(States(), tmp_path, Position(step, skipped=1, origin="x"), keep)  # type: ignore[arg-type]
    mine.rmdir()  # still there: nobody's state to drop
    kept = {folder.name: json.loads((folder / "step.json").read_text()) for folder in tmp_path.iterdir()}
    assert sorted(place["step"] for place in kept.values()) == left
    assert kept["state"] == {"step": 4, "skipped": 1, "origin": "x"}
    assert all(name in ("state", f"state-{place['step']:08d}") for name, place in kept.items())


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
    start, _, _ = build_model(pretrain(6))
    assert isinstance(start, BridgeSTGForVideoGrounding)
    moved = [
        name
        for name, value in model.named_parameters()
        if not torch.equal(value, start.mllm.get_parameter(name))
    ]
    assert moved


def test_tuning_writes_a_checkpoint_that_grounds(base: Path, tuned: Path, clip: Path) -> None:
    folder = tuned / "checkpoint"
    result = VideoGrounder.from_pretrained(str(folder), device="cpu").ground(clip, "the red circle")
    assert result.checkpoint == str(folder)
    before = load_file(base / "checkpoint" / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[f"mllm.{name}"])}
    assert not [name for name in moved if ".visual." in name]
    assert [name for name in moved if ".self_attn.q_proj" in name]
    # As readable as the rest, though safetensors would let only its owner in.
    for folder in (base / "checkpoint", tuned / "checkpoint"):
        modes = {(folder / name).stat().st_mode for name in ("model.safetensors", "config.json")}
        assert len(modes) == 1


# --- which parameters move


@pytest.mark.parametrize(
    ("stage", "tune"), [("vision", "full"), ("pretrain", "full"), ("bridge", "full"), ("bridge", "lora")]
)
def test_groups_hold_every_trainable_parameter_once(base: Path, stage: str, tune: str) -> None:
    if stage == "bridge":
        config = bridge(base / "checkpoint", 2, f"tune={tune}")
    else:
        config = pretrain(2) if stage == "pretrain" else override(recipe("shapes-vision"), ["optim.steps=2"])
    model, _, _ = build_model(config)
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
    said = describe_groups(model, groups)
    assert len(said) == len(groups) + 1
    # What is printed adds up to what there is.
    found = re.findall(r"([\d,]+) (?:in \d|parameters)", " ".join(said))
    sizes = [int(number.replace(",", "")) for number in found]
    assert sum(sizes) == sum(parameter.numel() for parameter in model.parameters())
    if stage != "bridge":
        assert not [name for name in moving if name.startswith(("bridge.", "localizer."))]
        assert [name for name in moving if ".visual." in name]


def test_the_schedule_by_hand() -> None:
    optim = OptimConfig(steps=12, warmup_ratio=0.17, final_ratio=0.2)
    found = [cosine(optim, step) for step in (0, 1, 2, 7, 12)]
    # Two steps of warm-up, then half a cosine over ten steps from 1 to 0.2; in its middle 0.6.
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2])


# --- what stops a run


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nothing_moves_when_something_is_not_finite(where: str) -> None:
    accelerator = Accelerator(cpu=True)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([{"params": [weight], "clip": 1.0}], lr=0.1)
    weight.grad = torch.ones(3)
    loss = torch.tensor(1.0)
    if where == "loss":
        loss = torch.tensor(float("nan"))
    else:
        weight.grad[1] = float("inf")
    outcome = take_step(accelerator, optimizer, loss)
    assert not outcome.finite
    assert ("nan" if where == "loss" else "inf") in outcome.faults()
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert not optimizer.state
    assert weight.grad is None
    weight.grad = torch.ones(3)
    outcome = take_step(accelerator, optimizer, torch.tensor(1.0))
    assert outcome.finite
    assert (outcome.loss, outcome.norms["grad_norm"]) == pytest.approx((1.0, 3**0.5))
    assert weight.tolist() != [1.0, 1.0, 1.0]


def test_a_step_with_a_broken_clip_is_skipped_and_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pixel of real data is not a number, in step 1 of 3; a resumed run remembers the skipped step."""
    config = bridge(base / "checkpoint", 3, "keep_states=5", "tune=lora")
    whole = GeneratedSamples.batch

    def batch(self: Any, step: int, share: slice) -> Any:
        made = whole(self, step, share)
        return with_a_hole(made) if step == 1 else made

    monkeypatch.setattr(GeneratedSamples, "batch", batch)
    heard: list[str] = []
    with pytest.raises(StoppedError):
        train(config, tmp_path, lambda line: (heard.append(line), stop_at(3)(line))[0])
    clip = source_of(config, build_model(config)[1]).names(1, slice(None))
    assert [line for line in heard if line.startswith("step 1: not finite") and line.endswith(clip[0])]
    lines = curve(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 2, 3]
    assert lines[1]["event"] == "skipped"
    assert lines[1]["samples"] == clip
    assert "token" not in " ".join(lines[2])  # no average of a skipped step
    first, second = (tmp_path / name / "model.safetensors" for name in ("state-00000001", "state"))
    place = json.loads(second.with_name("step.json").read_text())
    assert (place["step"], place["skipped"]) == (2, 1)
    before, after = load_file(first), load_file(second)
    assert all(torch.equal(before[name], value) for name, value in after.items())
    # In a row: the one before the stop and this one.
    again = override(config, ["optim.max_skipped=2"])
    monkeypatch.setattr(GeneratedSamples, "batch", lambda self, step, share: batch(self, 1, share))
    with pytest.raises(BridgeSTGError, match=r"step 2: .*2 step\(s\)"):
        train(again, tmp_path, quiet)


def test_a_run_on_broken_weights_stops_and_saves_nothing_worse(base: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (base / "checkpoint").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    values = load_file(broken / "model.safetensors")
    values["model.language_model.norm.weight"][0] = float("nan")
    save_file(values, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BridgeSTGError, match="step 0"):
        train(bridge(broken, 2, "optim.max_skipped=1"), tmp_path / "run", quiet)
    assert not (tmp_path / "run" / "state").exists()
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_both_stages_read_frames_of_the_same_size(base: Path) -> None:
    sizes = {
        build_model(config)[1].frame_size(640, 480) for config in (pretrain(2), bridge(base / "checkpoint", 2))
    }
    assert len(sizes) == 1


def test_a_missing_base_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        train(bridge(tmp_path / "nowhere", 2), tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()
