"""How fast devices are, and how much of that this code is expected to reach.

Published figures, and what of them is taken as reachable by large matrix products and by long reads, 80% and
90%:

    h100     989 TFLOP/s of dense bfloat16, 3.35 TB/s, 80 GB. NVIDIA H100 data sheet, SXM.
    a100     312 TFLOP/s of dense bfloat16, 2.039 TB/s, 80 GB. NVIDIA A100 data sheet, SXM 80 GB.
    rtx4090  165.2 TFLOP/s of dense bfloat16 summed in float32, 1.008 TB/s, 24 GB. NVIDIA's paper on the Ada
             architecture.
    cpu      one core of an AMD EPYC in float32, measured: 230 GFLOP/s in torch's oneDNN matrix products,
             30 GB/s in a sum over 256 MB. Taken as they are.

A card computes while the next operation is launched: the longer of the two counts. A CPU launches and computes
in turn: their sum counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from transformers import Qwen3VLConfig

from bridge_stg.model.configuration import BridgeSTGConfig

DeviceName = Literal["h100", "a100", "rtx4090", "cpu"]

# The share of a device's speed that each stage is expected to reach: an assumption.
REACHED = {"vision": 0.55, "prefill": 0.80, "answer": 0.75, "bridge": 0.75, "spatial": 0.30}
# Matrices of a width of about a hundred reach less of a CPU: fitted to one clip of the shipped checkpoint
# (docs/cost.md). What wide ones reach of it nobody measured; the shares above are taken.
NARROW_WIDTH = 512
REACHED_NARROW = {"vision": 0.30, "prefill": 0.35, "answer": 0.75, "bridge": 0.75, "spatial": 0.22}


@dataclass(frozen=True)
class Device:
    """What is reachable: ``flops`` and ``bandwidth`` (bytes) per second; ``memory`` in bytes or None.

    ``launch_ms`` is the time in which one operation is launched, and ``in_turn`` whether the device waits for
    that before it computes.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float | None
    bytes_per_number: int
    launch_ms: float
    in_turn: bool = False


# 10 microseconds for a launch on a card are an assumption. The CPU's 9 are measured: a pass of 502 operations
# of the shipped checkpoint takes 6.1 ms, of which its products and sums are about 1.6.
DEVICES = {
    "h100": Device("h100", 0.8 * 989e12, 0.9 * 3.35e12, 80e9, 2, 0.010),
    "a100": Device("a100", 0.8 * 312e12, 0.9 * 2.039e12, 80e9, 2, 0.010),
    "rtx4090": Device("rtx4090", 0.8 * 165.2e12, 0.9 * 1.008e12, 24e9, 2, 0.010),
    "cpu": Device("cpu", 230e9, 30e9, None, 4, 0.009, in_turn=True),
}


@dataclass(frozen=True)
class Launches:
    """Operations that are no views, counted by a dispatch mode: of what each stage repeats.

    Fields:
        language_layer: in one pass; the head and what is done with its logits are shared out among the layers.
        vision_block: of the vision tower, its mergers shared out.
        spatial_encoded: a block of the backbone or a layer of the image encoder, on one chunk of frames.
        spatial_decoded: a layer of the spatial decoder, for one sentence on one chunk.
    """

    language_layer: float
    vision_block: float
    spatial_encoded: float
    spatial_decoded: float


# An eager step through the 36 layers of the 8B, stock and with LoRA merged, issues 2,042. Only its language
# layers were counted; its other stages have operations so large that launches do not show.
OF_STOCK_LAYERS = Launches(2042 / 36, 0.0, 0.0, 0.0)
# Of the shipped checkpoint on a CPU: 502 in a pass through 6 layers, 217 in a vision tower of 3 blocks, 410 in
# 6 blocks and 2 encoder layers of the spatial side, 432 in 3 decoder layers with the selection.
OF_THE_SHIPPED = Launches(502 / 6, 217 / 3, 410 / 8, 432 / 3)


def launches_on(device: Device) -> Launches:
    """The counts that were made on such a device."""
    return OF_THE_SHIPPED if device.in_turn else OF_STOCK_LAYERS


def reached_share(device: Device, config: BridgeSTGConfig, stage: str) -> float:
    """The share of the device's speed that a stage, such as "answer, no drafts", is expected to reach."""
    mllm = cast(Qwen3VLConfig, config.mllm)
    narrow = device.in_turn and mllm.text_config.hidden_size < NARROW_WIDTH
    return (REACHED_NARROW if narrow else REACHED)[stage.partition(",")[0]]


def expected_ms(device: Device, floor_ms: float, share: float, launches: float) -> float:
    """Milliseconds of a stage: its floor at the share that is reached, and the launches of its operations."""
    computed, launched = floor_ms / share, launches * device.launch_ms
    return computed + launched if device.in_turn else max(computed, launched)
