"""How much fits: bytes decide what is computed at once, and out of memory is recognised."""

from __future__ import annotations

from pathlib import Path

import torch

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.operation_counts import level_sizes

_MEMINFO = Path("/proc/meminfo")
# The share of the free memory that answers, or the maps of frames, may take; passes need some for themselves.
SHARE = 0.25
# More frames than these in the spatial decoder at a time make nothing faster.
MOST_FRAMES = 16
# Activations of the largest map that a stage of the spatial decoder holds at a time: an assumption.
LIVE_MAPS = 10


def sentences_at_once(model: BridgeSTGForVideoGrounding, tokens: int) -> int:
    """How many sentences are answered together, by the own tokens of the longest; at least one."""
    return max(int(SHARE * free_bytes(model.device)) // (tokens * bytes_per_token(model)), 1)


def frames_at_once(model: BridgeSTGForVideoGrounding, height: int, width: int) -> int:
    """How many frames of ``height`` x ``width`` pixels QGSL reads together, 1 to ``MOST_FRAMES``."""
    each = int(frame_activations(model.config.spatial, height, width) * model.dtype.itemsize)
    return min(max(int(SHARE * free_bytes(model.device)) // each, 1), MOST_FRAMES)


def frame_activations(spatial: SpatialConfig, height: int, width: int) -> int:
    """Numbers that the spatial decoder holds of a frame at its peak: Swin's first stage, or all its queries."""
    first = (height * width // spatial.backbone_patch_size**2) * spatial.backbone_embed_dim
    queries = spatial.num_selecting_layers * min(spatial.topk, sum(level_sizes(spatial, height, width)))
    return max(LIVE_MAPS * first, queries * (8 * spatial.d_model + spatial.ffn_dim))


def bytes_per_token(model: BridgeSTGForVideoGrounding) -> int:
    """Keys and values of one token in all layers of the language model."""
    text = model.config.mllm.text_config
    values = int(text.num_hidden_layers) * int(text.num_key_value_heads) * int(text.head_dim)
    return int(2 * values * model.dtype.itemsize)


def free_bytes(device: torch.device) -> int:
    """Memory that can be had; of a device that does not tell, 4 GiB.

    Linux counts what its cache of files would give back; pages that are free are few on a machine that reads.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and _MEMINFO.is_file():
        told = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        if "MemAvailable" in told:
            return int(told["MemAvailable"].removesuffix("kB")) * 1024
    return 4 * 2**30


def is_out_of_memory(problem: RuntimeError) -> bool:
    """Whether torch could not get memory; on a CPU its error has no class of its own."""
    return isinstance(problem, torch.OutOfMemoryError) or "can't allocate memory" in str(problem)
