"""However a step is split, over processes or one part after the other, it is the same step."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from support.broken_run import break_clip, broken_run
from support.processes import run_ranks
from support.small_runs import TINY, build_model, curve, quiet, source_of, train
from torch import nn

from bridge_stg.cli.runs import open_stage, recipe
from bridge_stg.errors import InputError
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.records.record import read_truth, write_truth
from bridge_stg.shapes.configuration import ShapesTrainConfig
from bridge_stg.shapes.drawn_clips import step_settings
from bridge_stg.shapes.generated_samples import GeneratedSamples
from bridge_stg.shapes.vision_probe import CellProbe
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.record_source import open_records, token_budget
from bridge_stg.training.data.step_data import StepData
from bridge_stg.training.log import RunLog
from bridge_stg.training.optimization import enable_checkpointing
from bridge_stg.training.settings import override, resolve
from bridge_stg.training.step import StepRunner

# Denoising boxes and negative tokens are drawn at random, by each process for itself.
WITHOUT_NOISE = ["weights.denoising=0", "weights.alignment=0"]
STEPS, BROKEN = 6, 3


def split(base: Path, *more: str) -> TrainConfig:
    """Videos ask only when, images only where: some steps have nothing to locate."""
    settings = [
        *TINY,
        f"base={base}",
        f"optim.steps={STEPS}",
        "optim.lr=1e-4",
        "optim.spatial_lr=1e-4",
        "data.clips_per_step=2",
        "data.images_per_step=2",
        "data.image_share=0.5",
        "data.mix.located=0",
        "data.mix.tracked=0",
        "tune=lora",
        *WITHOUT_NOISE,
        *more,
    ]
    return override(recipe("shapes"), settings)


def runner(config: TrainConfig) -> tuple[StepRunner, nn.Module, Any]:
    torch.manual_seed(0)
    stage = open_stage(config)
    start = stage.build(quiet)
    start.model.train()
    found = StepRunner(Accelerator(cpu=True), stage, start.model, start.processor)
    return found, start.model, stage.source(start.processor, 1, None)


def drawn(name: str) -> bool:
    """A logged term that depends on noise."""
    return "denoising" in name or "alignment" in name


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("stage", ["bridge", "vision"])
def test_parts_one_after_the_other_are_the_whole_step(small_checkpoint: Path, stage: str, image: bool) -> None:
    """Clips differ in length, in questions and in rows, so that equal weights of the parts would show."""
    more = ["data.clips_per_step=3", "data.images_per_step=3", f"data.image_share={float(image)}"]
    if stage == "bridge":
        config = split(small_checkpoint, *more, "data.mix.located=2")
    else:
        config = override(recipe("shapes-vision"), [*TINY, *more])
    one, model, source = runner(config)
    found = []
    for parts in (1, 2):
        log = RunLog(None)
        losses, notes = one.compute(StepData(source, 10, parts)[0], log)
        loss = float(torch.stack(losses).sum())
        values = {
            name: float(value) / float(number)
            for name, (value, number) in notes.items()
            if float(number) and not drawn(name)
        }
        found.append((loss, values, gradients(model), dict(log.amounts)))
    (loss, values, whole, amounts), (other_loss, other_values, other, other_amounts) = found
    assert other_loss == pytest.approx(loss, rel=1e-5)
    assert other_values == pytest.approx(values, rel=1e-4, abs=1e-5)
    assert whole.keys() == other.keys()
    for name, gradient in whole.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-4 * scale + 1e-8)
    # Padding is no work: samples, tokens and operations are counted without it.
    assert other_amounts == pytest.approx(amounts)
    assert amounts["samples"] == 3


def test_counts_by_hand(small_checkpoint: Path) -> None:
    one, _, source = runner(split(small_checkpoint, "data.image_share=0", "data.mix.located=2"))
    batch = source.batch(0, slice(None))
    found = one.stage.counts(batch)
    assert int(found["num_tokens"]) == sum(label != -100 for label in batch.trees.labels.flatten().tolist())
    assert int(found["num_targets"]) == sum(batch.located.has_target.tolist())
    assert int(found["num_rows"]) == len(batch.located.frame)
    without = one.stage.counts(dataclasses.replace(batch, located=None))
    assert int(without["num_targets"]) == int(without["num_rows"]) == 0


def test_recomputing_gives_the_same_gradient(small_checkpoint: Path) -> None:
    config = split(small_checkpoint, "data.image_share=0", "data.mix.located=1")
    one, model, source = runner(config)
    batches = [source.batch(0, slice(None))]
    one.compute(batches, RunLog(None))
    plain = gradients(model)
    layers = enable_checkpointing(model)
    # Language 3, Swin 2 + 2 + 2, image encoder 2, spatial decoder 3; the frozen vision tower is left alone.
    assert layers == 3 + 6 + 2 + 3
    calls = []
    layer = one.stage.whole(model).mllm.model.language_model.layers[1]
    layer.self_attn.register_forward_pre_hook(lambda *_: calls.append(1))
    one.compute(batches, RunLog(None))
    assert len(calls) == 2
    again = gradients(model)
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("queries", [8, 0])
def test_every_module_takes_part_and_changes_nothing(queries: int) -> None:
    from bridge_stg.model.processing import BridgeSTGProcessor
    from bridge_stg.shapes.model import small_config, small_tokenizer

    tokenizer = small_tokenizer()
    model_config = small_config(tokenizer, num_bridge_queries=queries)
    model = BridgeSTGForVideoGrounding(model_config).train()
    model.mllm.requires_grad_(False)
    model.mllm.model.language_model.requires_grad_(True)
    config = override(
        recipe("shapes"), [*TINY, "data.image_share=0", "data.mix.located=0", "data.mix.tracked=0"]
    )
    processor = BridgeSTGProcessor(tokenizer, model_config)
    batch = source_of(config, processor).batch(0, slice(None))
    assert batch.located is None
    plain = model(**batch.inputs(processor), weights=LossWeights()).loss
    every = model(**batch.inputs(processor), weights=LossWeights(), every_module=True).loss
    assert float(every.detach()) == float(plain.detach())
    every.backward()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, p in learning.items() if p.grad is None] == []
    zero = [name for name in learning if not name.startswith("mllm.")]
    assert len(zero) > 300
    assert not [name for name in zero if bool(learning[name].grad.any())]


def test_a_step_needs_a_clip_for_every_part(small_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 clip.* 3 parts"):
        train(split(small_checkpoint, "optim.accumulate=3"), tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def in_two_processes(config: TrainConfig, folder: Path, broken: int = -1, clip: str = "") -> str:
    """Train in two real processes, which talk by gloo, into folder/run; what they said."""
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    ranks = run_ranks(2, broken_run, folder / "config.json", folder / "run", broken, clip)
    assert [rank.poll() for rank in ranks] == [0, 0], ranks[0].stderr[-3000:]
    return "".join(rank.stdout for rank in ranks)


def same_curves(one: Path, other: Path) -> int:
    """Assert that two logs agree, and return how many lines they have.

    Losses, accuracies and gradient norms agree to 1 in 1000, those of the first step to 1 in 10,000.
    Later steps differ by more than rounding, because Adam divides by the size of the gradient: where that is
    tiny, its rounding decides which way a weight goes.
    """
    ours, theirs = curve(one), curve(other)
    assert len(ours) == len(theirs)
    for number, (mine, line) in enumerate(zip(ours, theirs, strict=True)):
        assert mine.keys() == line.keys()
        tolerance = 1e-4 if number == 0 else 1e-3
        for name, value in mine.items():
            if drawn(name):
                continue
            if not isinstance(value, float):
                assert value == line[name] or name == "samples"
            else:
                assert line[name] == pytest.approx(value, rel=tolerance, abs=2e-5), (number, name)
    return len(ours)


@pytest.fixture(scope="module")
def two(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder of a run in two real processes; its output; the broken clip."""
    folder = tmp_path_factory.mktemp("two")
    config = split(small_checkpoint)
    _, processor, _ = build_model(config)
    # The second clip of a step is the other process's.
    clip = source_of(config, processor).names(BROKEN, slice(None))[1]
    return folder / "run", in_two_processes(config, folder, BROKEN, clip), clip


def test_two_processes_are_one(
    two: tuple[Path, str, str], small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said, clip = two
    config = split(small_checkpoint)
    kinds = {step_settings(config.data, step, STEPS)[0] for step in range(STEPS)}
    assert kinds == {True, False}, "steps with and without something to locate are wanted"
    monkeypatch.setattr(GeneratedSamples, "batch", GeneratedSamples.batch)
    break_clip(BROKEN, clip)
    heard: list[str] = []
    train(config, tmp_path / "one", heard.append)
    assert same_curves(tmp_path / "one", out) == STEPS + 1  # and the line of the skipped step
    # Only the main process speaks.
    assert said.count("frozen: ") == 1
    assert said.count(f"step={STEPS} ") == 1


def test_one_process_locates_and_the_other_does_not(
    small_checkpoint: Path, shapes_data: Path, tmp_path: Path
) -> None:
    """Annotated videos, of one only what is located and of the other only what is answered."""
    truth = read_truth(shapes_data / "truth.jsonl")
    videos = sorted({record.video for record in truth})
    kept = [
        record for record in truth if (record.video, record.task) in ((videos[0], "stvg"), (videos[1], "vqa"))
    ]
    write_truth(tmp_path / "truth.jsonl", kept)
    settings = [*TINY, f"base={small_checkpoint}", "tune=lora", "optim.steps=3", *WITHOUT_NOISE]
    records = {
        "root": str(tmp_path),
        "sources": [{"name": "mixed", "path": "truth.jsonl", "videos": str(shapes_data)}],
        "clips_per_step": 2,
        "clips_alike": 2,
    }
    values = recipe("shapes").model_dump(mode="json")
    values["data"] |= {"records": records, "num_positive": 2, "num_negative": 1}
    config = resolve(values, settings, "test", ShapesTrainConfig)
    found = open_records(config.data, token_budget(build_model(config)[1]))
    for step in range(3):
        tasks = [{record.task for record in found.asked(clip)} for clip in found.mixture.step(step)]
        assert sorted(tasks, key=str) == [{"stvg"}, {"vqa"}]
    train(config, tmp_path / "one", quiet)
    in_two_processes(config, tmp_path)
    assert same_curves(tmp_path / "one", tmp_path / "run") == 3
    assert all(line["video/box"] > 0 for line in curve(tmp_path / "run"))


def test_a_broken_step_is_skipped_by_all_and_named(two: tuple[Path, str, str]) -> None:
    out, said, clip = two
    events = [line for line in curve(out) if line.get("event") == "skipped"]
    assert [(line["step"], line["samples"]) for line in events] == [(BROKEN + 1, [clip])]
    assert f"step {BROKEN}: " in said
    assert clip in said


def test_a_run_of_two_processes_goes_on_in_one(
    two: tuple[Path, str, str], small_checkpoint: Path, tmp_path: Path
) -> None:
    """States know nothing of processes; a finished run has nothing to redo and writes the same weights."""
    from safetensors.torch import load_file

    out, _, _ = two
    files = ("adapter.safetensors", "bridge.safetensors", "spatial.safetensors")
    before: dict[str, Any] = {file: load_file(out / "checkpoint" / file) for file in files}
    heard: list[str] = []
    train(split(small_checkpoint), out, heard.append)
    assert f"going on from step {STEPS}" in heard
    for file in files:
        after = load_file(out / "checkpoint" / file)
        assert after.keys() == before[file].keys()
        assert all(torch.equal(after[name], value) for name, value in before[file].items())


def test_the_probe_divides_by_what_it_is_given() -> None:
    from bridge_stg.model.processing import BridgeSTGProcessor
    from bridge_stg.shapes.model import small_config, small_tokenizer

    tokenizer = small_tokenizer()
    model_config = small_config(tokenizer)
    probe = CellProbe(BridgeSTGForVideoGrounding(model_config))
    config = override(recipe("shapes-vision"), TINY)
    processor = BridgeSTGProcessor(tokenizer, model_config)
    batch = source_of(config, processor).batch(0, slice(None))
    own = open_stage(config).counts(batch)["num_cells"]
    loss, same, half = (
        float(probe(**batch.inputs(processor), **given).loss.detach())
        for given in ({}, {"num_cells": own}, {"num_cells": own * 2})
    )
    assert same == loss
    assert half == pytest.approx(loss / 2)
