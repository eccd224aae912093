"""What grounding a clip should cost on a device: computed from a configuration, never measured.

A stage takes at least as long as its operations at the device's rate, and as reading its bytes at the device's
bandwidth (``StageCost.floor_ms``, Williams et al. 2009, "Roofline"). ``StageCost.expected_ms`` is what we
expect of this code: the floor over the share of that speed which we assume for the stage, and the time in which
its operations can be launched one after another (``bridge_stg.inference.cost_devices``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

from transformers import Qwen3VLConfig

from bridge_stg.errors import InputError
from bridge_stg.files.shipped import shipped_folder
from bridge_stg.inference.answering import MAX_ANSWER_TOKENS
from bridge_stg.inference.cost_devices import (
    DEVICES,
    Device,
    DeviceName,
    expected_ms,
    launches_on,
    reached_share,
)
from bridge_stg.inference.free_memory import MOST_FRAMES, frame_activations
from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
from bridge_stg.model.frames import fit_frame_size, spatial_size
from bridge_stg.model.operation_counts import (
    decoder_operations,
    encoder_operations,
    language_operations,
    level_sizes,
    swin_operations,
    vision_operations,
)
from bridge_stg.model.parameter_counts import parameter_counts
from bridge_stg.model.presets import qwen3_vl_config
from bridge_stg.prompting.templates import FRAMING_TOKENS
from bridge_stg.prompting.timestamps import pair_timestamps
from bridge_stg.video.sampling import wanted_times

ScaleName = Literal["shapes", "2b", "4b", "8b"]

LONGEST_CLIP = 86_400.0
MOST_SENTENCES = 10_000
# A sentence of about ten words between the prompt's own and the opening of the answer.
QUESTION_TOKENS = 24
# Table 9: 42.83 generated tokens, and 20.77 of 45.56 frames that the spatial decoder reads.
DIRECT_TOKENS = 43
LOCATED_SHARE = 20.77 / 45.56
# With drafts a pass is needed for each digit that a draft cannot know: two times of four digits, and the
# indices of two frames of three. Nobody measured it at the scale of Qwen3-VL.
DIRECT_PASSES = 14
# The shipped checkpoint goes through the clip before it answers: about three tokens a second after 35. Drafted,
# it needs 9.3 passes in the mean and at most 22 (docs/results.md). Sentences side by side take the passes of
# the slowest.
SCAN_TOKENS, SCAN_TOKENS_PER_SECOND, SCAN_PASSES, MOST_SCAN_PASSES = 35, 3, 9, 22


@dataclass(frozen=True)
class Scale:
    """A configuration and how long its answers are. ``count_tokens`` of a text without special tokens."""

    name: str
    config: BridgeSTGConfig
    count_tokens: Callable[[str], int]
    answer_tokens: int
    drafted_passes: int

    @property
    def mllm(self) -> Qwen3VLConfig:
        return cast(Qwen3VLConfig, self.config.mllm)

    @property
    def spatial(self) -> SpatialConfig:
        return cast(SpatialConfig, self.config.spatial)


@dataclass(frozen=True)
class ClipCounts:
    """What a clip and the sentences about it become.

    ``frames`` are read at ``width`` x ``height`` pixels. ``located_frames`` are given to the spatial decoder
    for each sentence, ``encoded_frames`` are different ones: as many as there can be.
    """

    seconds: float
    sentences: int
    frames: int
    pairs: int
    width: int
    height: int
    visual_tokens: int
    timestamp_tokens: int
    clip_tokens: int
    question_tokens: int
    answer_tokens: int
    located_frames: int
    encoded_frames: int


@dataclass(frozen=True)
class StageCost:
    """Operations, bytes read, and milliseconds of one stage of a clip."""

    name: str
    operations: float
    bytes_read: float
    floor_ms: float
    expected_ms: float


@dataclass(frozen=True)
class Memory:
    """Bytes: the clip's keys and values, those of the sentences, and the largest stage's activations."""

    weights: float
    clip_cache: float
    sentence_caches: float
    activations: float

    @property
    def peak(self) -> float:
        return self.weights + self.clip_cache + self.sentence_caches + self.activations


@dataclass(frozen=True)
class ComputedCost:
    """The computed cost of one clip.

    ``stages`` and ``passes`` have the answers twice: "answer" with drafts, and "answer, no drafts".
    """

    scale: str
    device: Device
    clip: ClipCounts
    parameters: dict[str, int]
    cache_bytes_per_token: int
    passes: dict[str, int]
    stages: tuple[StageCost, ...]
    memory: Memory

    def total_ms(self, drafts: bool = True, floor: bool = False) -> float:
        """Milliseconds of the clip on the device; decoding its video is not part of it."""
        left_out = "answer, no drafts" if drafts else "answer"
        kept = [stage for stage in self.stages if stage.name != left_out]
        return sum(stage.floor_ms if floor else stage.expected_ms for stage in kept)


def compute_cost(scale: ScaleName, seconds: float, sentences: int, device: DeviceName) -> ComputedCost:
    """The cost of finding ``sentences`` in a clip of ``seconds``, whose frames fill the budget of tokens.

    Raises:
        InputError: a clip or a number of sentences that no machine takes.
    """
    if not 0 < seconds <= LONGEST_CLIP:
        raise InputError(f"--seconds must be more than 0 and at most {LONGEST_CLIP:.0f} (a day), got {seconds}")
    if not 1 <= sentences <= MOST_SENTENCES:
        raise InputError(f"--sentences must be 1 to {MOST_SENTENCES}, got {sentences}")

    # What there is to do.
    model, machine = scale_of(scale, seconds, sentences), DEVICES[device]
    clip = clip_counts(model, seconds, sentences)
    parameters = dict(_parameters(scale))
    passes = {"answer": model.drafted_passes, "answer, no drafts": clip.answer_tokens}

    # What it takes.
    text = model.mllm.text_config
    per_token = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * machine.bytes_per_number
    stages = _stages(model, clip, machine, parameters, passes, per_token)
    own = clip.question_tokens + clip.answer_tokens + 1 + model.config.query_slots
    memory = Memory(
        weights=sum(parameters.values()) * machine.bytes_per_number,
        clip_cache=clip.clip_tokens * per_token,
        sentence_caches=sentences * own * per_token,
        activations=_activations(model, clip, machine.bytes_per_number),
    )
    return ComputedCost(scale, machine, clip, parameters, per_token, passes, tuple(stages), memory)


@cache
def _parameters(name: ScaleName) -> Mapping[str, int]:
    """Parameters of each part of a scale, LoRA merged: the same for every clip."""
    counts = parameter_counts(scale_of(name, 1.0).config)
    return {part: count for part, count in counts.items() if part != "LoRA"}


def scale_of(name: ScaleName, seconds: float, sentences: int = 1) -> Scale:
    """A scale by its name; the answers of the shipped checkpoint are longer for longer clips.

    The more of its sentences stand side by side, the nearer the slowest comes to the most passes: half of the
    way for two, two thirds for three. An assumption between the two counts that there are.
    """
    if name != "shapes":
        config = BridgeSTGConfig(mllm=qwen3_vl_config(name))
        return Scale(name, config, _qwen_tokens, DIRECT_TOKENS, DIRECT_PASSES)
    config = BridgeSTGConfig.from_pretrained(shipped_folder("shapes"))
    answer = min(SCAN_TOKENS + round(SCAN_TOKENS_PER_SECOND * seconds), MAX_ANSWER_TOKENS)
    passes = round(MOST_SCAN_PASSES - (MOST_SCAN_PASSES - SCAN_PASSES) / sentences)
    return Scale(name, config, _small_tokens, answer, min(passes, answer))


def clip_counts(scale: Scale, seconds: float, sentences: int) -> ClipCounts:
    """Lay a clip out: frames, visual tokens, timestamps, and what is asked and located."""
    config = scale.config
    side, budget = config.pixels_per_token_side, config.max_tokens_per_frame
    # A source of 4:3 large enough to fill the budget: 16 x 12 squares of 32 pixels.
    width, height = fit_frame_size(64 * side, 48 * side, side, budget)
    per_pair = (width // side) * (height // side)

    # Two frames a second, a timestamp for each pair.
    times = wanted_times(0.0, seconds, config.sample_fps)
    stamps = pair_timestamps(times)
    stamp_tokens = sum(scale.count_tokens(stamp) for stamp in stamps)

    located = max(round(LOCATED_SHARE * len(times)), 1)
    return ClipCounts(
        seconds=seconds,
        sentences=sentences,
        frames=len(times),
        pairs=len(stamps),
        width=width,
        height=height,
        visual_tokens=per_pair * len(stamps),
        timestamp_tokens=stamp_tokens,
        clip_tokens=per_pair * len(stamps) + stamp_tokens + FRAMING_TOKENS,
        question_tokens=QUESTION_TOKENS,
        answer_tokens=scale.answer_tokens,
        located_frames=located,
        encoded_frames=min(sentences * located, len(times)),
    )


def _stages(
    scale: Scale,
    clip: ClipCounts,
    device: Device,
    parameters: dict[str, int],
    passes: dict[str, int],
    cache_bytes: int,
) -> list[StageCost]:
    """Every stage in the order in which it runs; what the sentences share is done once."""
    mllm, spatial, number = scale.mllm, scale.spatial, device.bytes_per_number
    layers = mllm.text_config.num_hidden_layers
    head = mllm.text_config.hidden_size * mllm.text_config.vocab_size
    read_layers = parameters["language layers"] * number

    each = launches_on(device)

    def stage(name: str, operations: float, bytes_read: float, launches: float) -> StageCost:
        floor = max(operations / device.flops, bytes_read / device.bandwidth) * 1000
        share = reached_share(device, scale.config, name)
        return StageCost(name, operations, bytes_read, floor, expected_ms(device, floor, share, launches))

    # The clip, once.
    vision = vision_operations(mllm, clip.pairs, clip.visual_tokens // clip.pairs)
    blocks = mllm.vision_config.depth * each.vision_block
    prefill = language_operations(mllm, clip.clip_tokens)
    found = [
        stage("vision", vision, parameters["vision tower"] * number, blocks),
        stage("prefill", prefill, read_layers, layers * each.language_layer),
    ]

    # The answers, side by side: a pass reads the weights and the clip's cache once. Every pass feeds what is
    # left of the draft, on average half an answer; without drafts it feeds one token.
    own = clip.question_tokens + clip.answer_tokens
    cache = (clip.clip_tokens + clip.sentences * own) * cache_bytes
    for name, count in passes.items():
        rows = clip.answer_tokens / 2 if name == "answer" else 1.0
        fed = clip.sentences * (clip.question_tokens + math.ceil(count * rows))
        chosen = clip.sentences * count * rows
        operations = language_operations(mllm, 1, clip.clip_tokens + own) * fed + 2 * head * chosen
        bytes_read = count * (read_layers + head * number + cache)
        found.append(stage(name, operations, bytes_read, layers * count * each.language_layer))

    # <det> and the queries of all sentences in one pass, and their projection.
    slots = clip.sentences * (1 + scale.config.query_slots)
    operations = language_operations(mllm, 1, clip.clip_tokens + own) * slots
    operations += 2 * parameters["bridge"] * clip.sentences * scale.config.query_slots
    bytes_read = read_layers + cache + parameters["bridge"] * number
    found.append(stage("bridge", operations, bytes_read, layers * each.language_layer))

    # Frames are encoded once, and decoded for each sentence that asks for them.
    height, width = spatial_size(clip.height, clip.width, scale.config.spatial_short_side)
    levels = level_sizes(spatial, height, width)
    encoded = swin_operations(spatial, height, width) + encoder_operations(spatial, levels)
    operations = clip.encoded_frames * encoded
    operations += clip.sentences * clip.located_frames * decoder_operations(spatial, levels)
    chunks = math.ceil(clip.encoded_frames / MOST_FRAMES)
    weights = sum(count for part, count in parameters.items() if part.startswith("QGSL"))
    encoding = (sum(spatial.backbone_depths) + spatial.num_encoder_layers) * each.spatial_encoded
    decoding = clip.sentences * spatial.num_decoder_layers * each.spatial_decoded
    found.append(stage("spatial", operations, chunks * weights * number, chunks * (encoding + decoding)))
    return found


def _activations(scale: Scale, clip: ClipCounts, number: int) -> float:
    """Bytes of the activations of the stage that has the most; its frames and weights apart."""
    text, vision, spatial = scale.mllm.text_config, scale.mllm.vision_config, scale.spatial
    height, width = spatial_size(clip.height, clip.width, scale.config.spatial_short_side)

    # Prefill and vision: the feed-forward layer with its input, the residual, queries, keys and values.
    prefill = clip.clip_tokens * (8 * text.hidden_size + 3 * text.intermediate_size)
    patches = clip.visual_tokens * vision.spatial_merge_size**2
    seen = patches * (8 * vision.hidden_size + 2 * vision.intermediate_size)

    frames = min(MOST_FRAMES, clip.encoded_frames)
    return float(max(prefill, seen, frames * frame_activations(spatial, height, width)) * number)


def _qwen_tokens(text: str) -> int:
    """Tokens of a timestamp in Qwen3's vocabulary, where every digit is one."""
    return len(re.findall(r"\d| ?[A-Za-z]+|[^\sA-Za-z0-9]", text))


def _small_tokens(text: str) -> int:
    """Tokens of a timestamp in the shipped vocabulary, which has numbers up to 1000: 12.7 is 12 and .7."""
    return len(re.findall(r"\.\d|\d+| ?[A-Za-z]+|[^\sA-Za-z0-9]", text))
