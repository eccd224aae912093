"""The training loop, on accelerate: data by step, one loss, checkpoints that can be resumed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.losses.objective import LossWeights
from bridge_stg.model.adapters import add_lora, merge_lora
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.initialization import assemble
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, BridgeSTGOutput
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.progress import RunLog, TokenGroups
from bridge_stg.training.shapes_clips import build_batch
from bridge_stg.training.small_model import (
    MAX_TOKENS_PER_FRAME,
    small_config,
    small_spatial_config,
    small_tokenizer,
)
from bridge_stg.training.vision_cells import CellProbe, ProbeOutput, build_cells


class StepData(Dataset[dict[str, Tensor]]):
    """Batch number ``step``, a pure function of (seed, step): resuming needs the step number only."""

    def __init__(self, config: TrainConfig, processor: BridgeSTGProcessor) -> None:
        self.config, self.steps, self.processor = config.data, config.optim.steps, processor
        self.build = build_cells if config.stage == "vision" else build_batch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return self.build(self.config, step, self.steps, self.processor)


def build_model(config: TrainConfig) -> tuple[nn.Module, BridgeSTGProcessor]:
    """The model of a stage, with exactly the parameters of that stage trainable."""
    if config.stage != "bridge":
        tokenizer = small_tokenizer()
        model_config = small_config(tokenizer)
        model = BridgeSTGForVideoGrounding(model_config)
        processor = BridgeSTGProcessor(tokenizer, model_config)
        model.requires_grad_(False)
        if config.stage == "vision":
            model.mllm.model.visual.requires_grad_(True)
            return CellProbe(model), processor
        if config.base is not None:
            vision = Qwen3VLForConditionalGeneration.from_pretrained(_folder(config.base), use_safetensors=True)
            model.mllm.model.visual.load_state_dict(vision.model.visual.state_dict())
        model.mllm.requires_grad_(True)
        # A vision tower that has learned to see stays as it is: the token loss would make it forget
        # (docs/log.md).
        model.mllm.model.visual.requires_grad_(config.base is None)
        return model, processor
    folder = _folder(config.base)
    if isinstance(AutoConfig.from_pretrained(folder), BridgeSTGConfig):
        # A Bridge-STG checkpoint is tuned further; a Qwen3-VL gets a bridge and a spatial decoder first.
        model = BridgeSTGForVideoGrounding.from_pretrained(folder)
        processor = BridgeSTGProcessor.from_pretrained(folder)
    else:
        spatial = small_spatial_config()
        model, processor, _ = assemble(folder, None, spatial, max_tokens_per_frame=MAX_TOKENS_PER_FRAME)
    model.mllm.requires_grad_(False)
    if config.tune == "lora":
        add_lora(model)
    else:
        model.mllm.model.language_model.requires_grad_(True)
        model.mllm.lm_head.requires_grad_(True)
    return model, processor


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Language and bridge at ``lr``, the spatial decoder at ``spatial_lr``; every trainable parameter once."""
    # Tied weights are one parameter under two names and are listed once.
    language = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("localizer.")]
    spatial = [p for n, p in model.named_parameters() if p.requires_grad and n.startswith("localizer.")]
    groups: list[dict[str, Any]] = [{"params": language, "lr": config.optim.lr, "clip": config.optim.clip_norm}]
    if spatial:
        # Its gradients carry lambda2, so its norm is clipped on the same scale, apart from the token loss.
        clip = config.optim.clip_norm * config.weights.spatial
        groups.append({"params": spatial, "lr": config.optim.spatial_lr, "clip": clip})
    return groups


def cosine_schedule(config: TrainConfig) -> Callable[[int], float]:
    """Warm-up, then cosine to ``final_ratio`` of the peak."""
    total = config.optim.steps
    warmup = max(round(config.optim.warmup_ratio * total), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(total - warmup, 1)
        floor = config.optim.final_ratio
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def train(config: TrainConfig, out: Path, report: Callable[[str], None] = print) -> Path:
    """Run ``config`` in folder ``out``, going on from its last state if there is one.

    A run that was stopped and goes on computes what it would have computed in one go: batches follow from
    (seed, step), everything else is in the state.

    Returns:
        The folder of the finished checkpoint: an ordinary Qwen3-VL folder after "pretrain", a Bridge-STG one
        after "bridge".

    Raises:
        InputError: the base checkpoint is missing, or several processes were started.
        BridgeSTGError: the loss or a gradient is not finite; the weights are those of the step before.
    """
    accelerator = Accelerator(mixed_precision=config.precision)
    if accelerator.num_processes > 1:
        # Each would train on the same batches and write the same files.
        raise InputError(
            f"training runs in one process only so far, not in {accelerator.num_processes}; "
            "start bridge-stg train by itself, without accelerate launch or torchrun"
        )
    set_seed(config.data.seed)
    model, processor = build_model(config)
    model.train()
    optimizer = torch.optim.AdamW(parameter_groups(model, config), weight_decay=config.optim.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine_schedule(config))
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    out.mkdir(parents=True, exist_ok=True)
    start = restore(accelerator, out)
    if start:
        report(f"going on from step {start}")
        for change in changed_settings(out / "config.json", config):
            report(f"changed since the last start: {change}")
    (out / "config.json").write_text(json.dumps(config.model_dump(), indent=2) + "\n", encoding="utf-8")
    data = StepData(config, processor)
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=range(start, config.optim.steps),
        num_workers=config.data.workers,
        prefetch_factor=4 if config.data.workers else None,
        worker_init_fn=_one_thread,
        # Its own generator: a loader without one draws from the global one whenever a run starts or goes on,
        # and the noise of the steps after that would be another one.
        generator=torch.Generator().manual_seed(config.data.seed),
    )
    weights = LossWeights(**config.weights.model_dump())
    log, groups = RunLog(out / "log.jsonl", start), TokenGroups(processor.tokenizer)
    saved = time.monotonic()
    for step, batch in enumerate(loader, start=start):
        batch = {name: value.to(accelerator.device) for name, value in batch.items()}
        output = model(**batch, weights=weights)
        accelerator.backward(output.loss)
        take_step(accelerator, optimizer, schedule, output, step, log)
        note(log, groups, output, batch)
        done = step + 1
        if done % config.log_every == 0 or done == config.optim.steps:
            line = log.write(done, lr=schedule.get_last_lr()[0])
            report(" ".join(f"{name}={value}" for name, value in line.items()))
            # Only here, where no average is half done, and always at the end, so that there is nothing to redo.
            if time.monotonic() - saved > config.save_minutes * 60 or done == config.optim.steps:
                save(accelerator, out, done)
                saved = time.monotonic()
    return export(accelerator.unwrap_model(model), processor, config, out)


def take_step(
    accelerator: Accelerator,
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    output: BridgeSTGOutput | ProbeOutput,
    step: int,
    log: RunLog,
) -> None:
    """Clip each group, stop on anything that is not finite, and only then move the weights."""
    assert output.loss is not None
    for name, group in zip(("grad_norm", "spatial_grad_norm"), optimizer.param_groups, strict=False):
        with_gradient = [p for p in group["params"] if p.grad is not None]
        if not with_gradient:
            continue
        norm = float(accelerator.clip_grad_norm_(with_gradient, group["clip"]))
        if not (math.isfinite(norm) and math.isfinite(float(output.loss.detach()))):
            raise BridgeSTGError(f"step {step}: loss {float(output.loss.detach())}, {name} {norm}: not finite")
        log.add(name, norm)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()


def note(
    log: RunLog, groups: TokenGroups, output: BridgeSTGOutput | ProbeOutput, batch: dict[str, Tensor]
) -> None:
    """Losses by name and token accuracy by group, image steps apart from video steps."""
    log.clips += len(batch["video_grid_thw"])
    video = bool((batch["video_grid_thw"][:, 0] > 1).any())
    kind = "video" if video else "image"
    if isinstance(output, ProbeOutput):
        log.add("cells", float(_loss(output)))
        for name, (right, asked) in (output.correct or {}).items():
            log.add(f"cells/accuracy_{name}", right, asked)
        return
    if output.token_loss is not None and output.logits is not None:
        log.add(f"{kind}/token", float(output.token_loss.detach()))
        labels = batch["labels"][batch["labels"] != -100]
        for name, (right, asked) in groups.accuracy(output.logits.detach(), labels).items():
            log.add(f"{kind}/accuracy_{name}", right, asked)
    if output.spatial_losses is not None:
        for term in dataclasses.fields(output.spatial_losses):
            log.add(f"{kind}/{term.name}", float(getattr(output.spatial_losses, term.name).detach()))


def changed_settings(path: Path, config: TrainConfig) -> list[str]:
    """``key: old -> new`` for every setting that differs from those in ``path``, a run's config.json."""
    if not path.is_file():
        return []
    old, new = (
        _flat(values)
        for values in (json.loads(path.read_text(encoding="utf-8")), config.model_dump(mode="json"))
    )
    keys = dict.fromkeys([*old, *new])
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def save(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write weights, optimizer, scheduler and RNG beside the old state, then replace it.

    The weights are safetensors; the rest are pickles, so a state is to be loaded only where it was written.

    ``step.json`` is written last and removed first: a folder that has it is complete, whenever the run is
    killed.
    """
    fresh, state = out / "state.new", out / "state"
    _remove(fresh)
    accelerator.save_state(str(fresh))
    (fresh / "step.tmp").write_text(json.dumps({"step": step}), encoding="utf-8")
    os.replace(fresh / "step.tmp", fresh / "step.json")
    _remove(state)
    os.replace(fresh, state)


def restore(accelerator: Accelerator, out: Path) -> int:
    """Load the last complete state; the step to go on from, 0 without one."""
    fresh, state = out / "state.new", out / "state"
    if (fresh / "step.json").is_file():
        # Killed between writing the new state and removing the old one.
        _remove(state)
        os.replace(fresh, state)
    if not (state / "step.json").is_file():
        return 0
    accelerator.load_state(str(state))
    return int(json.loads((state / "step.json").read_text(encoding="utf-8"))["step"])


def _remove(state: Path) -> None:
    (state / "step.json").unlink(missing_ok=True)
    shutil.rmtree(state, ignore_errors=True)


def export(
    model: BridgeSTGForVideoGrounding | CellProbe, processor: BridgeSTGProcessor, config: TrainConfig, out: Path
) -> Path:
    """Write the finished checkpoint ``out/checkpoint``, which appears when it is whole; merges adapters."""
    folder, fresh = out / "checkpoint", out / "checkpoint.new"
    shutil.rmtree(fresh, ignore_errors=True)
    whole = model.model if isinstance(model, CellProbe) else model
    if config.stage != "bridge":
        whole.mllm.save_pretrained(fresh)
        processor.tokenizer.save_pretrained(fresh)
    else:
        merge_lora(whole)
        whole.save_pretrained(fresh)
        processor.save_pretrained(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)
    return folder


def _folder(base: str | None) -> str:
    if base is None or not Path(base).is_dir():
        raise InputError(f"base {base!r} is not a folder; run the recipe of the stage before first")
    return base


def _loss(output: BridgeSTGOutput | ProbeOutput) -> float:
    assert output.loss is not None
    return float(output.loss.detach())


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
