"""What sharing a clip among its sentences saves: the training step beside a straightforward one, at equal loss.

    python benchmarks/training_pair.py
    python benchmarks/training_pair.py --clips 4 --located 4 --rounds 7
    python benchmarks/training_pair.py --recipe
    python benchmarks/training_pair.py --attention --rounds 3

The straightforward step gives every sentence a sequence of its own with the clip in front, encodes every frame
once per sentence that looks at it, attends to frame pairs one by one as Qwen3-VL's own code does, and makes
logits for the whole sequence. Both steps have the same clips, sentences and weights, and their losses must
agree. A sample is one sentence about one clip. Times are the median of rounds in which both take turns.

By default all sentences are located, as in a data set of that task alone, each in the paper's 8 + 2 frames.
With --recipe clips are asked what the recipe `shapes` asks about them, but for its lookups, half of which hang
in the middle of a clip, and for what is retold, which needs no clip. Most of these sentences need no box; those
that do are located in the recipe's 2 + 1 frames. The recipe's steps of single images, which share less, are
left out.

With --attention the shared step is compared with itself: attention to a token tree in parts and oneDNN's matrix
products beside one masked attention and MKL's, on whole steps of the recipe `shapes`, in processor seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionAttention

from bridge_stg.cli.runs import recipe
from bridge_stg.errors import BridgeSTGError
from bridge_stg.losses.objective import spatial_loss
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model import cpu_linear, modeling
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import CLIP, IGNORE, TokenTree, tree_mask
from bridge_stg.model.tree_attention import TreePattern
from bridge_stg.model.vision_attention import batch_equal_pairs
from bridge_stg.shapes.drawn_clips import build_batch, clip_seeds, step_settings, video_clip
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.training.data.batch import Inputs
from bridge_stg.training.data.training_clip import ClipRows, TrainingClip, collate_clips
from bridge_stg.training.settings import override

# The whole of a run from which --attention takes steps: clips grow longer as it goes on.
RECIPE_STEPS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4, help="per step")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a clip")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--located", type=int, default=4, help="sentences per clip; VidSTG has about 4")
    kind.add_argument("--recipe", action="store_true", help="ask what `shapes` asks, but for lookups")
    kind.add_argument("--attention", action="store_true", help="what attention in parts and oneDNN save")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[300, 800, 1500], help="--attention: which of 2000"
    )
    parser.add_argument("--rounds", type=int, default=5, help="at least 1")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        report = measure_attention(arguments) if arguments.attention else measure(arguments)
    except (BridgeSTGError, ValueError) as problem:
        parser.error(" ".join(str(problem).split()))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for name, value in report.items():
        print(f"{name:42} {value:,.4g}")


def _new_model() -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor]:
    """The laptop-scale model with the same random weights each time; its vision tower does not learn."""
    torch.manual_seed(0)
    tokenizer = small_tokenizer()
    config = small_config(tokenizer)
    model = BridgeSTGForVideoGrounding(config).train()
    model.mllm.model.visual.requires_grad_(False)
    return model, BridgeSTGProcessor(tokenizer, config)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Both steps in turns."""
    model, processor = _new_model()
    clips = draw_clips(arguments, processor)
    apart = [sentence for clip in clips for sentence in split(clip)]
    shared_batch, plain_batch = (
        collate_clips(part, processor.pad_id).inputs(processor) for part in (clips, apart)
    )
    plain_batch |= one_frame_per_row(apart, processor)

    def shared() -> Tensor:
        batch_equal_pairs(model.mllm.model.visual)
        loss = model(**shared_batch, weights=LossWeights.ovdino()).loss
        torch.autograd.backward(loss)
        return loss

    def plain() -> Tensor:
        attend_pair_by_pair(model)
        loss = straightforward_loss(model, plain_batch)
        torch.autograd.backward(loss)
        return loss

    losses: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    for step in (plain, shared):  # Warm-up, and what both compute.
        losses[step.__name__], _ = timed(model, step)
        seconds[step.__name__] = []
    difference = abs(losses["plain"] - losses["shared"]) / losses["plain"]
    if difference > 1e-4:
        raise SystemExit(f"the losses differ by {difference:.2g}: {losses}; this compares nothing")
    for _ in range(arguments.rounds):
        for step in (plain, shared):
            seconds[step.__name__].append(timed(model, step)[1])
    median = {name: statistics.median(found) for name, found in seconds.items()}
    ratios = [plain / shared for plain, shared in zip(seconds["plain"], seconds["shared"], strict=True)]
    return {
        "samples per step": len(apart),
        "loss, straightforward": losses["plain"],
        "loss, shared": losses["shared"],
        "samples per second, straightforward": len(apart) / median["plain"],
        "samples per second, shared": len(apart) / median["shared"],
        "times as many, median of rounds": statistics.median(ratios),
        "times as many, smallest": min(ratios),
        "times as many, largest": max(ratios),
        "threads": torch.get_num_threads(),
    }


class MaskedPattern(TreePattern):
    """One attention under a mask of the whole tree."""

    def __init__(self, tree: Tensor) -> None:
        self.mask = tree_mask(tree)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.mask, scale=scale, enable_gqa=groups > 1
        )


def measure_attention(arguments: argparse.Namespace) -> dict[str, float]:
    """Steps of the recipe with attention in parts and oneDNN's products, and without both, in turns."""
    if min(arguments.steps) < 0 or max(arguments.steps) >= RECIPE_STEPS:
        raise BridgeSTGError(f"--steps must be 0 to {RECIPE_STEPS - 1}, got {arguments.steps}")
    model, processor = _new_model()
    data = recipe("shapes").data
    fewest_rows = cpu_linear.MIN_ROWS

    def step(batch: Inputs, parts: bool) -> tuple[float, float]:
        modeling.TreePattern = TreePattern if parts else MaskedPattern
        cpu_linear.MIN_ROWS = fewest_rows if parts else sys.maxsize
        torch.manual_seed(1)
        model.zero_grad()
        started = time.process_time()
        loss = model(**batch, weights=LossWeights.ovdino()).loss
        torch.autograd.backward(loss)
        return float(loss.detach()), time.process_time() - started

    report: dict[str, float] = {}
    for number in arguments.steps:
        batch = build_batch(data, number, RECIPE_STEPS, processor).inputs(processor)
        # Warm-up, and what both compute.
        whole, parts = (step(batch, kind)[0] for kind in (False, True))
        if abs(whole - parts) > 1e-4 * whole:
            raise SystemExit(f"step {number}: the losses differ: {whole} and {parts}; this compares nothing")
        rounds = [(step(batch, False)[1], step(batch, True)[1]) for _ in range(arguments.rounds)]
        trees, tokens = batch["input_ids"].shape
        report |= {
            f"step {number}: clips": trees,
            f"step {number}: tokens of the longest": tokens,
            f"step {number}: loss, masked": whole,
            f"step {number}: loss, in parts": parts,
            f"step {number}: seconds, masked": min(before for before, _ in rounds),
            f"step {number}: seconds, in parts": min(after for _, after in rounds),
            f"step {number}: times as fast, median": statistics.median(a / b for a, b in rounds),
        }
    return report | {"threads": torch.get_num_threads()}


def timed(model: BridgeSTGForVideoGrounding, step: Callable[[], Tensor]) -> tuple[float, float]:
    """Loss and seconds of one forward and backward pass; the noise of denoising is always the same."""
    torch.manual_seed(1)
    model.zero_grad()
    started = time.perf_counter()
    loss = float(step().detach())
    return loss, time.perf_counter() - started


def draw_clips(arguments: argparse.Namespace, processor: BridgeSTGProcessor) -> list[TrainingClip]:
    """Generated clips with what is asked about them."""
    settings = [f"data.clips_per_step={arguments.clips}", "data.image_share=0"]
    if not arguments.recipe:
        settings += ["data.num_positive=8", "data.num_negative=2"]
    values = override(recipe("shapes"), settings).model_dump()
    values["data"]["min_duration"] = arguments.seconds
    values["data"]["curriculum"] = [
        {"until": 1.0, "min_objects": 3, "max_objects": 5, "max_duration": arguments.seconds + 1e-3}
    ]
    asked = values["data"]["mix"] | {"lookups": 0, "retold": 0}
    values["data"]["mix"] = asked if arguments.recipe else {"located": arguments.located}
    data = type(recipe("shapes")).model_validate(values).data
    _, scene = step_settings(data, 0, 1)
    return [video_clip(int(seed), scene, data.mix, data, processor).clip for seed in clip_seeds(data, 0, 1)]


def split(clip: TrainingClip) -> list[TrainingClip]:
    """A clip for each of its sentences."""
    found: list[TrainingClip] = []
    located = 0
    for branch in range(int(clip.tree.branch.max()) + 1):
        kept = (clip.tree.branch == CLIP) | (clip.tree.branch == branch)
        tree = TokenTree(**{part.name: getattr(clip.tree, part.name)[..., kept] for part in fields(TokenTree)})
        if not tree.bridge_mask.any():
            found.append(TrainingClip(tree, clip.frames, ClipRows()))
            continue
        rows = ClipRows(sentences=1)
        for frame, owner, target, has_target in zip(
            clip.rows.frame, clip.rows.sentence, clip.rows.targets, clip.rows.has_target, strict=True
        ):
            if owner == located:
                rows.frame.append(frame)
                rows.sentence.append(0)
                rows.targets.append(target)
                rows.has_target.append(has_target)
        located += 1
        found.append(TrainingClip(tree, clip.frames, rows, clip.spatial_frames))
    return found


def one_frame_per_row(clips: list[TrainingClip], processor: BridgeSTGProcessor) -> Inputs:
    """QGSL's frames, each as often as a sentence looks at it."""
    frames = [clip.spatial_frames[clip.rows.frame] for clip in clips if clip.spatial_frames is not None]
    pixels = processor.normalise(torch.cat(frames))
    return {"spatial_pixel_values": pixels, "row_frame": torch.arange(len(pixels))}


def attend_pair_by_pair(model: BridgeSTGForVideoGrounding) -> None:
    """Give Qwen3-VL's vision attention its own forward back."""
    for module in model.mllm.model.visual.modules():
        if isinstance(module, Qwen3VLVisionAttention):
            module.__dict__.pop("forward", None)


def straightforward_loss(model: BridgeSTGForVideoGrounding, batch: Inputs) -> Tensor:
    """Eq. 7 with logits for every token and no mask but the causal one: padding is on the right."""
    batch = dict(batch)
    labels = batch.pop("labels")
    hidden = model.read(
        batch["input_ids"],
        batch["position_ids"],
        model.encode_video(batch["pixel_values_videos"], batch["video_grid_thw"]),
        batch["slot_mask"],
    )
    logits: Any = model.mllm.lm_head(hidden)
    token = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORE, reduction="mean"
    )
    bridge = model.bridge(hidden[batch["bridge_mask"]].unflatten(0, (-1, model.bridge.tokens_per_sentence)))
    targets, has_target = batch["targets"], batch["has_target"]
    spatial = model.localizer(
        batch["spatial_pixel_values"],
        None,
        batch["row_frame"],
        bridge[batch["row_sentence"]],
        targets,
        has_target,
    )
    weights = LossWeights.ovdino()
    located = spatial_loss(spatial, targets, has_target, weights, has_target.sum(), len(targets))
    return weights.token * token + weights.spatial * located.total


if __name__ == "__main__":
    main()
