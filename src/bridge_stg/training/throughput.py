"""How fast a run is against what its device could do: useful operations per step, peak speed, peak memory.

MFU = useful operations / (seconds * peak operations per second). The useful operations of a step are counted
from the shapes of its batch, as 2 per weight and token (a multiplication and an addition) in every linear map
and convolution, plus 4 per attended pair and channel in attention; once for the forward pass, once more where
the gradient of activations is needed, and once more for the weights that learn. Padding, and layers that are
computed a second time to save memory, are not useful.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding

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

    def __init__(self, model: BridgeSTGForVideoGrounding, pad_id: int) -> None:
        mllm, spatial = model.mllm, model.localizer
        self.text, self.vision = model.config.mllm.text_config, model.config.mllm.vision_config
        self.config, self.pad_id = model.config.spatial, pad_id
        tower = mllm.model.visual
        self.vision_blocks = _Part.of(tower.patch_embed, tower.blocks)
        # Merged tokens: a quarter of the patches at a merge of 2.
        self.mergers = _Part.of(tower.merger, tower.deepstack_merger_list)
        self.language = _Part.of(mllm.model.language_model.layers)
        self.head = _Part.of(mllm.lm_head)
        self.stages = [_Part.of(stage.blocks) for stage in spatial.backbone.swin.swin.encoder.layers]
        self.neck = [_Part.of(projection) for projection in spatial.backbone.input_proj]
        self.encoder = _Part.of(spatial.encoder.layers, spatial.selector.projections)
        # One of the equal layers stands for the heads, which each meet the queries of one layer.
        self.decoder = _Part.of(spatial.decoder.layers, spatial.decoder.box_heads, spatial.decoder.object_heads)
        self.strides = spatial.backbone.strides
        # Gradients of QGSL and of the bridge flow back through the language model even where it is frozen.
        self.language_carries = any(p.requires_grad for p in model.parameters())

    def __call__(self, batch: dict[str, Tensor]) -> float:
        """Of forward and backward pass together."""
        if "pixel_values_videos" not in batch:
            return self._spatial(batch)
        patches = len(batch["pixel_values_videos"])
        grid = batch["video_grid_thw"].double()
        pairs = float((grid[:, 0] * (grid[:, 1] * grid[:, 2]) ** 2).sum())
        vision = self.vision_blocks.operations(patches, pairs * self.vision.hidden_size * self.vision.depth)
        vision += self.mergers.operations(patches / self.vision.spatial_merge_size**2)
        if "input_ids" not in batch:
            return vision
        tokens = self.tokens(batch)
        width = self.text.num_attention_heads * self.text.head_dim * self.text.num_hidden_layers
        seen = float(batch["attention_mask"][(batch["input_ids"] != self.pad_id)[:, None]].sum())
        language = self.language.operations(tokens, seen * width, self.language_carries)
        language += self.head.operations(int((batch["labels"] >= 0).sum()), carries=self.language_carries)
        return vision + language + self._spatial(batch)

    def tokens(self, batch: dict[str, Tensor]) -> int:
        """Of the language model, without padding."""
        return int((batch["input_ids"] != self.pad_id).sum()) if "input_ids" in batch else 0

    def _spatial(self, batch: dict[str, Tensor]) -> float:
        if "spatial_pixel_values" not in batch:
            return 0.0
        # A row is a sentence and a frame; while QGSL learns alone, an object of a frame.
        rows = len(batch["row_frame"]) if "row_frame" in batch else int((batch["object_names"] >= 0).sum()) // 2
        frames, _, height, width = batch["spatial_pixel_values"].shape

        def tokens(stride: int) -> float:
            return float(frames * -(-height // stride) * -(-width // stride))

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
        layers = config.num_encoder_layers if config.select_layers == "all" else 1
        queries = layers * min(config.topk, sum(levels) / max(frames, 1))
        attended = rows * queries**2 * config.d_model * config.num_decoder_layers
        return total + self.decoder.operations(rows * (queries + noised), attended)


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
