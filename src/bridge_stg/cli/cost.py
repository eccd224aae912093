"""``bridge-stg cost``: what grounding a clip should cost on a device. Computed, never measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from bridge_stg.inference.cost_model import ComputedCost

COST_SCHEMA = "bridge-stg/computed-cost/1"
COMPUTED = (
    "computed from the architecture and published device figures, not measured; expected times rest on assumed "
    "shares of the floor and an assumed time to launch an operation"
)
MOST_CLIPS = 10**12


def cost(
    scale: Annotated[
        Literal["shapes", "2b", "4b", "8b"], typer.Option(help="The shipped checkpoint, or a Qwen3-VL's size.")
    ] = "8b",
    seconds: Annotated[float, typer.Option(help="Length of the clip.")] = 28.0,
    sentences: Annotated[int, typer.Option(help="Sentences about it.")] = 4,
    device: Annotated[
        Literal["h100", "a100", "rtx4090", "cpu"],
        typer.Option(help="One card in bfloat16, or one core of a CPU in float32."),
    ] = "h100",
    clips: Annotated[int | None, typer.Option(help="Also say the card-hours of so many clips.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Compute tokens, operations, milliseconds and memory of grounding one clip. Nothing is run or measured."""
    from bridge_stg.errors import InputError
    from bridge_stg.inference.cost_model import compute_cost

    if clips is not None and not 1 <= clips <= MOST_CLIPS:
        raise InputError(f"--clips must be 1 to {MOST_CLIPS}, got {clips}")
    computed = compute_cost(scale, seconds, sentences, device)
    if as_json:
        print(json.dumps(as_object(computed, clips), indent=2))
    else:
        print("\n".join(lines(computed, clips)))


def as_object(cost: ComputedCost, clips: int | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    hours = {"clips": clips, "drafts": _hours(cost, clips, True), "no_drafts": _hours(cost, clips, False)}
    return {
        "schema": COST_SCHEMA,
        "measured": False,
        "note": COMPUTED,
        "scale": cost.scale,
        "device": asdict(cost.device),
        "clip": asdict(cost.clip),
        "parameters": {**cost.parameters, "total": sum(cost.parameters.values())},
        "cache_bytes_per_token": cost.cache_bytes_per_token,
        "passes": cost.passes,
        "stages": [asdict(stage) for stage in cost.stages],
        "total_ms": {
            "floor": cost.total_ms(drafts=True, floor=True),
            "expected": cost.total_ms(drafts=True),
            "floor_no_drafts": cost.total_ms(drafts=False, floor=True),
            "expected_no_drafts": cost.total_ms(drafts=False),
        },
        "memory": {**asdict(cost.memory), "peak": cost.memory.peak},
        "device_hours": None if clips is None else hours,
    }


def lines(cost: ComputedCost, clips: int | None) -> list[str]:
    """What a person reads."""
    clip, memory, total = cost.clip, cost.memory, sum(cost.parameters.values())
    found = [
        f"COMPUTED, NOT MEASURED: {cost.scale} on one {cost.device.name}, "
        f"{clip.seconds:g} s, {clip.sentences} sentence{'s' * (clip.sentences > 1)}",
        f"frames              {clip.frames} of {clip.width} x {clip.height} in {clip.pairs} pairs",
        f"tokens of the clip  {clip.clip_tokens:,} ({clip.visual_tokens:,} visual, {clip.timestamp_tokens:,} "
        "of timestamps)",
        f"tokens a sentence   {clip.question_tokens} asked, {clip.answer_tokens} answered in "
        f"{cost.passes['answer']} passes with drafts, {cost.passes['answer, no drafts']} without",
        f"frames located      {clip.located_frames} a sentence, up to {clip.encoded_frames} different ones",
        f"parameters          {total:,}, LoRA merged",
        "",
        f"{'stage':20}{'TFLOP':>10}{'GB read':>10}{'floor ms':>11}{'expected ms':>13}",
    ]
    for stage in cost.stages:
        found.append(
            f"{stage.name:20}{stage.operations / 1e12:10.3g}{stage.bytes_read / 1e9:10.3g}"
            f"{stage.floor_ms:11.1f}{stage.expected_ms:13.1f}"
        )
    for name, drafts in (("total", True), ("total, no drafts", False)):
        floor, expected = cost.total_ms(drafts, floor=True), cost.total_ms(drafts)
        found.append(f"{name:40}{floor:11.1f}{expected:13.1f}")

    # Memory, and whether it is there.
    fits = ""
    if cost.device.memory is not None:
        there = "of the" if memory.peak <= cost.device.memory else "MORE THAN the"
        fits = f", {there} {cost.device.memory / 1e9:.0f} GB of the card"
    found += [
        "",
        f"memory, GB          {memory.peak / 1e9:.3g}{fits}: weights {memory.weights / 1e9:.3g}, clip's cache "
        f"{memory.clip_cache / 1e9:.3g}, sentences' {memory.sentence_caches / 1e9:.3g}, activations about "
        f"{memory.activations / 1e9:.2g}",
    ]
    if clips is not None:
        found.append(
            f"{clips:,} clips      {_hours(cost, clips, True):,.3g} device-hours with drafts, "
            f"{_hours(cost, clips, False):,.3g} without, one clip at a time"
        )
    return [*found, "", f"All figures are {COMPUTED}. Decoding the video is not part of them."]


def _hours(cost: ComputedCost, clips: int | None, drafts: bool) -> float:
    return cost.total_ms(drafts) * (clips or 0) / 3_600_000
