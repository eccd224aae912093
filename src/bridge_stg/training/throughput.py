"""How fast a run is against what its device could do: useful operations per step, peak speed, peak memory.

MFU = useful operations / (seconds * peak operations per second). The useful operations of a step are counted
from the shapes of its batch, as 2 per weight and token (a multiplication and an addition) in every linear map
and convolution, plus 4 per attended pair and channel in attention; once for the forward pass, once more where
the gradient of activations is needed, and once more for the weights that learn. Padding, and layers that are
computed a second time to save memory, are not useful. Torch's own counter would count both, sees no attention
on a CPU, and slows every operation down.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch
from torch import nn

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.training.data.batch import BatchSizes

# Dense bfloat16 operations per second that manufacturers publish, by what the device's name holds.
PUBLISHED_PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


@dataclass(frozen=True)
class _Part:
    """Weights of a part that every one of its tokens meets: all of them, and those that learn."""

    weights: int
    learning: int

    @classmethod
    def of(cls, *modules: nn.Module) -> _Part:
        found = [p for module in modules for p in module.parameters() if p.ndim > 1]
        # The learned queries of a bridge are looked up, not multiplied; no such table is among these modules.
        return cls(sum(p.numel() for p in found), sum(p.numel() for p in found if p.requires_grad))

    def operations(self, tokens: float, attended: float = 0.0, carries: bool | None = None) -> float:
        """``attended`` are pairs times channels times layers; ``carries`` whether gradients flow through."""
        carries = self.learning > 0 if carries is None else carries
        maps = 2 * tokens * ((2 if carries else 1) * self.weights + self.learning)
        # Both products of attention have two factors that need a gradient.
        return maps + (3 if carries else 1) * 4 * attended


class StepOperations:
    """Useful operations of a batch; the model is looked at once."""

    def __init__(self, model: BridgeSTGForVideoGrounding) -> None:
        mllm, spatial = model.mllm, model.localizer
        self.text, self.vision = model.config.mllm.text_config, model.config.mllm.vision_config
        self.config = model.config.spatial
        tower = mllm.model.visual
        self.vision_blocks = _Part.of(tower.patch_embed, tower.blocks)

        # Merged tokens: a quarter of the patches at a merge of 2.
        self.mergers = _Part.of(tower.merger, tower.deepstack_merger_list)
        self.language = _Part.of(mllm.model.language_model.layers)
        self.head = _Part.of(mllm.lm_head)

        # Gradients of QGSL and of the bridge flow back through the language model even where it is frozen.
        self.language_carries = any(p.requires_grad for p in model.parameters())
        if spatial is None:
            return
        self.stages = [_Part.of(stage.blocks) for stage in spatial.backbone.swin.swin.encoder.layers]
        self.neck = [_Part.of(projection) for projection in spatial.backbone.input_proj]
        self.encoder = _Part.of(spatial.encoder.layers, spatial.selector.projections)

        # One of the equal layers stands for the heads, which each meet the queries of one layer.
        self.decoder = _Part.of(spatial.decoder.layers, spatial.decoder.box_heads, spatial.decoder.object_heads)
        self.strides = spatial.backbone.strides

    def __call__(self, work: BatchSizes) -> float:
        """Of forward and backward pass together."""
        pairs = work.patch_pairs * self.vision.hidden_size * self.vision.depth
        vision = self.vision_blocks.operations(work.patches, pairs)
        vision += self.mergers.operations(work.patches / self.vision.spatial_merge_size**2)

        width = self.text.num_attention_heads * self.text.head_dim * self.text.num_hidden_layers
        language = self.language.operations(work.tokens, work.attended * width, self.language_carries)
        language += self.head.operations(work.labelled, carries=self.language_carries)
        return vision + language + self._spatial(work)

    def _spatial(self, work: BatchSizes) -> float:
        if not work.frames:
            return 0.0

        def tokens(stride: int) -> float:
            return float(work.frames * -(-work.height // stride) * -(-work.width // stride))

        config = self.config
        total, window = 0.0, float(config.backbone_window_size) ** 2
        for number, stage in enumerate(self.stages):
            count = tokens(config.backbone_patch_size * 2**number)
            channels = config.backbone_embed_dim * 2**number * config.backbone_depths[number]
            total += stage.operations(count, count * window * channels)

        levels = [tokens(stride) for stride in self.strides]
        total += sum(part.operations(count) for part, count in zip(self.neck, levels, strict=True))
        total += self.encoder.operations(sum(levels))
        noised = 2 * config.num_denoising

        queries = config.num_selecting_layers * min(config.topk, sum(levels) / work.frames)
        attended = work.rows * queries**2 * config.d_model * config.num_decoder_layers
        return total + self.decoder.operations(work.rows * (queries + noised), attended)


def peak_operations(device: torch.device, precision: str) -> float:
    """Operations per second: the published number where there is one, else those of a large matrix product."""
    if device.type == "cuda" and precision == "bf16":
        name = torch.cuda.get_device_name(device)
        for part, peak in PUBLISHED_PEAKS.items():
            if part in name:
                return peak

    size = 1024 if device.type == "cpu" else 8192
    matrix = torch.ones(
        size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32
    )
    best = float("inf")

    for _ in range(3):
        started = time.perf_counter()
        # Reading one number waits for the product.
        float((matrix @ matrix)[0, 0])
        best = min(best, time.perf_counter() - started)

    return 2 * size**3 / best


def peak_memory_gb(device: torch.device) -> float:
    """The most that was held at once, in 10^9 bytes: on a GPU by tensors, on a CPU by the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e9, 3)
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
