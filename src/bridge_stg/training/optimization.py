"""Which parameters learn, and how: optimizer groups, rates, clipping, and the check before each step."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from bridge_stg.training.configuration import OptimConfig, TrainConfig
from bridge_stg.training.stage import SPATIAL_PREFIX

# Kind of parameter -> what its name holds; the first that fits counts, else the module at the top.
_KINDS = {
    "LoRA": ".lora_",
    "token rows": ".trainable_tokens_",
    "spatial decoder": "localizer.",
    "bridge": "bridge.",
    "vision tower": ".visual.",
    "language tower": "mllm.",
}
# What a group of an optimizer says beside its parameters.
PEAK, CLIP = "peak_lr", "clip"


def parameter_groups(
    model: nn.Module, config: TrainConfig, spatial_prefix: str = SPATIAL_PREFIX
) -> list[dict[str, Any]]:
    """Language and bridge at ``lr``, the spatial decoder at ``spatial_lr``; every trainable parameter once.

    A model with nothing under ``spatial_prefix`` has one group, at ``lr``.
    """
    # Tied weights are one parameter under two names and are listed once.
    moving = {name: p for name, p in model.named_parameters() if p.requires_grad}
    language = [p for name, p in moving.items() if not name.startswith(spatial_prefix)]
    spatial = [p for name, p in moving.items() if name.startswith(spatial_prefix)]
    optim = config.optim
    name = "language" if spatial else config.stage
    groups: list[dict[str, Any]] = [
        {"name": name, "params": language, "lr": optim.lr, PEAK: optim.lr, CLIP: optim.clip_norm}
    ]

    if spatial:
        # Its gradients carry lambda2, so its norm is clipped on the same scale, apart from the token loss.
        clip, lr = optim.clip_norm * config.weights.spatial, optim.spatial_lr
        groups.append({"name": "spatial", "params": spatial, "lr": lr, PEAK: lr, CLIP: clip})

    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed)), "a parameter is in two optimizer groups"
    assert set(listed) == {id(parameter) for parameter in moving.values()}, (
        "a trainable parameter is in no optimizer group"
    )
    return groups


def group_settings(optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """What the configuration says of each group: the peak of its rate, weight decay, the norm to clip to."""
    return [{name: group[name] for name in (PEAK, "weight_decay", CLIP)} for group in optimizer.param_groups]


def apply_settings(optimizer: torch.optim.Optimizer, settings: list[dict[str, float]]) -> None:
    """Put them in place of those that a loaded state brought along, which may be of an older configuration."""
    for group, wanted in zip(optimizer.param_groups, settings, strict=True):
        group.update(wanted)


def set_rates(optimizer: torch.optim.Optimizer, optim: OptimConfig, step: int) -> None:
    """Give each group its rate for ``step``: a function of the step and of the configuration alone, so that a
    run that goes on needs no state of it.
    """
    for group in optimizer.param_groups:
        group["lr"] = group[PEAK] * cosine(optim, step)


def describe_groups(model: nn.Module, groups: list[dict[str, Any]]) -> list[str]:
    """Lines for people: each group with its learning rate and what it holds, and what stays as it is."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    lines = []
    for group in groups:
        sizes: dict[str, list[int]] = defaultdict(list)
        for parameter in group["params"]:
            name = names[id(parameter)]
            kind = next((kind for kind, part in _KINDS.items() if part in name), name.split(".")[0])
            sizes[kind].append(parameter.numel())

        held = ", ".join(f"{kind} {sum(found):,} in {len(found)} tensors" for kind, found in sizes.items())
        lines.append(f"optimizer group {group['name']}: lr {group['lr']:g}, clip {group[CLIP]:g}: {held}")

    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    lines.append(f"frozen: {frozen:,} parameters")
    return lines


def cosine(optim: OptimConfig, step: int) -> float:
    """Which part of its peak the rate has in ``step``: warm-up, then cosine to ``final_ratio``."""
    warmup = max(round(optim.warmup_ratio * optim.steps), 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(optim.steps - warmup, 1)
    return optim.final_ratio + (1 - optim.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def enable_checkpointing(model: nn.Module) -> int:
    """Recompute every transformer layer that carries gradients in the backward pass; how many there are.

    A frozen vision tower keeps nothing for a backward pass anyway and is left out.
    """
    # Without reentrance: it works with frozen inputs, and below DistributedDataParallel.
    recompute = functools.partial(checkpoint, use_reentrant=False)
    found = 0
    for name, module in model.named_modules():
        carries = ".visual." not in name or any(p.requires_grad for p in module.parameters())
        # Swin's stages are such layers too, and made of them: one of the two is enough.
        layers = [part for part in module.modules() if isinstance(part, GradientCheckpointingLayer)]
        if layers == [module] and carries:
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = recompute
            found += 1

    return found


@dataclass(frozen=True)
class StepOutcome:
    """What became of a step: ``loss`` and the norm of each group's gradient, the same in every process."""

    loss: float
    norms: dict[str, float]

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, (self.loss, *self.norms.values())))

    def faults(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in {"loss": self.loss, **self.norms}.items())


def take_step(accelerator: Accelerator, optimizer: torch.optim.Optimizer, loss: Tensor) -> StepOutcome:
    """Clip each group's gradient and move the weights, unless anything is not finite: then nothing moves.

    Args:
        loss: of the parts of this process, a share of the step's; the shares of all processes are added up.
    """
    total = accelerator.reduce(loss.detach(), reduction="sum")
    names, norms = [], []
    for title, group in zip(("grad_norm", "spatial_grad_norm"), optimizer.param_groups, strict=False):
        with_gradient = [p for p in group["params"] if p.grad is not None]
        if with_gradient:
            norm: Any = accelerator.clip_grad_norm_(with_gradient, group[CLIP])
            # Sharded parameters have a sharded norm.
            norms.append(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
            names.append(title)

    # One transfer for everything that is looked at.
    value, *found = torch.stack([part.float() for part in (total, *norms)]).tolist()
    outcome = StepOutcome(value, dict(zip(names, found, strict=True)))
    if outcome.finite:
        optimizer.step()
    optimizer.zero_grad()
    return outcome
