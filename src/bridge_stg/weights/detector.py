"""A detector in transformers format as the start of QGSL: which shape fits it, and which of its tensors go
where.

Read: MM-Grounding-DINO, Grounding-DINO (Swin, deformable encoder, decoder with attention to text, whose place
the bridge takes) and bare Swin. Left out of a detector: its text encoder, the fusion of text into the image
encoder, its learned queries and its class heads, none of which QGSL has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoForObjectDetection,
    PreTrainedConfig,
    SwinBackbone,
)

from bridge_stg.errors import CheckpointError, one_line
from bridge_stg.model.configuration import SpatialConfig

_DETECTORS = {
    "mm-grounding-dino": MMGroundingDinoForObjectDetection,
    "grounding-dino": GroundingDinoForObjectDetection,
}
# Two-stage Deformable DETR's anchors on its first level; they double with each level.
_FIRST_ANCHOR = 0.05
# QGSL reads strides 8 to 64. A stride-4 level would add twelve thousand tokens to a frame of 370x523.
_OUT_STAGES = (2, 3, 4)

# Keys that stand for several of QGSL's or for a part of one: levels and selecting layers.
_SPLIT_KEYS = r"model\.(input_proj_vision\..+|level_embed|enc_output(_norm)?\.\w+)"
# Every other detector key -> key of SpatialLocalizer, the first pattern that fits.
_RENAMES = (
    (r"model\.backbone\.conv_encoder\.model\.(?!swin\.layernorm)(.+)", r"backbone.swin.\1"),
    (r"model\.encoder\.layers\.(\d+)\.deformable_layer\.(fc[12]\..+)", r"encoder.layers.\1.mlp.\2"),
    (r"model\.encoder\.layers\.(\d+)\.deformable_layer\.(.+)", r"encoder.layers.\1.\2"),
    (r"model\.decoder\.layers\.(\d+)\.self_attn\.(.)\w+\.(\w+)", r"decoder.layers.\1.self_attn.\2_proj.\3"),
    (
        r"model\.decoder\.layers\.(\d+)\.encoder_attn_text\.(.)\w+\.(\w+)",
        r"decoder.layers.\1.bridge_attn.\2_proj.\3",
    ),
    (
        r"model\.decoder\.layers\.(\d+)\.encoder_attn_text_layer_norm\.(\w+)",
        r"decoder.layers.\1.bridge_attn_layer_norm.\2",
    ),
    (r"model\.decoder\.layers\.(\d+)\.(fc[12]\..+)", r"decoder.layers.\1.mlp.\2"),
    (r"model\.decoder\.layers\.(\d+)\.(.+)", r"decoder.layers.\1.\2"),
    (r"model\.decoder\.layer_norm\.(\w+)", r"decoder.norm.\1"),
    (r"model\.decoder\.reference_points_head\.(.+)", r"decoder.position_head.\1"),
    (r"bbox_embed\.(.+)", r"decoder.box_heads.\1"),
    (r"model\.encoder_output_bbox_embed\.(.+)", r"candidate_box.\1"),
)


@dataclass(frozen=True)
class DetectorWeights:
    """A detector's configuration and its tensors by name, float32."""

    name: str
    config: PreTrainedConfig
    tensors: dict[str, Tensor]

    @property
    def is_backbone(self) -> bool:
        return self.config.model_type == "swin"

    @property
    def backbone(self) -> Any:
        """The Swin configuration."""
        return self.config if self.is_backbone else self.config.backbone_config


def read_detector(name: str | Path, spatial: SpatialConfig | None = None) -> DetectorWeights:
    """Load a folder or hub id, safetensors only; ``spatial`` says which Swin stages are wanted.

    Raises:
        CheckpointError: not such a detector, unreadable, or with tensors missing that QGSL would take.
    """
    # A Swin alone, or a whole detector.
    try:
        config = AutoConfig.from_pretrained(name)
        options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        if config.model_type == "swin":
            stages = (spatial or spatial_config(DetectorWeights(str(name), config, {}))).backbone_out_stages
            model, info = SwinBackbone.from_pretrained(name, out_indices=list(stages), **options)
        elif config.model_type in _DETECTORS:
            # MM-Grounding-DINO has a box head per layer even where its configuration file leaves that unsaid.
            config.decoder_bbox_embed_share = False
            model, info = _DETECTORS[config.model_type].from_pretrained(name, config=config, **options)
        else:
            raise CheckpointError(
                f"{name}: holds a {config.model_type} model; "
                f"a detector must be one of {', '.join(_DETECTORS)}, or swin"
            )
    except CheckpointError:
        raise
    except Exception as problem:
        line = one_line(problem)
        raise CheckpointError(
            f"{name}: cannot be loaded as a detector in safetensors format: {line}"
        ) from problem

    # What QGSL would take must be there.
    tensors = dict(model.state_dict())
    absent = set(map(str, info["missing_keys"]))
    if config.model_type != "swin":
        _untie_box_heads(tensors, absent)
        lost = sorted(key for key in absent if re.fullmatch(_SPLIT_KEYS, key) or _renamed(key))
        if lost:
            raise CheckpointError(f"{name}: {len(lost)} tensors of the detector are missing (first: {lost[0]})")

    # What the file does not hold was filled at random and is not the detector's.
    tensors = {key: value for key, value in tensors.items() if key not in absent}
    tensors |= {key: torch.empty(0) for key in map(str, info["unexpected_keys"])}
    return DetectorWeights(str(name), config, tensors)


def _untie_box_heads(tensors: dict[str, Tensor], absent: set[str]) -> None:
    """Where one shared box head was saved, give every layer its own copy."""
    for key in [key for key in absent if key.startswith("bbox_embed.")]:
        first = re.sub(r"^bbox_embed\.\d+", "bbox_embed.0", key)
        if first not in absent:
            tensors[key] = tensors[first]
            absent.discard(key)


def spatial_config(detector: DetectorWeights) -> SpatialConfig:
    """The QGSL that fits a detector: its widths and depths, on strides 8 to 64.

    Without its stride-4 level a five-level detector still expects the anchors that it had on the others, so the
    first anchor doubles.

    Raises:
        CheckpointError: QGSL cannot be given the detector's shape.
    """
    swin, config = detector.backbone, detector.config
    _check(detector, swin.model_type == "swin", f"its backbone is {swin.model_type}, QGSL needs Swin")
    standard = (
        swin.mlp_ratio == 4 and swin.qkv_bias and not swin.use_absolute_embeddings and swin.hidden_act == "gelu"
    )
    _check(detector, standard, "its Swin has another mlp_ratio, qkv_bias, position or activation than QGSL's")

    depth = len(swin.depths)
    fields: dict[str, Any] = {
        "backbone_embed_dim": swin.embed_dim,
        "backbone_depths": list(swin.depths),
        "backbone_num_heads": list(swin.num_heads),
        "backbone_window_size": swin.window_size,
        "backbone_patch_size": _side(swin.patch_size),
        "backbone_image_size": _side(swin.image_size),
        "backbone_out_stages": [stage for stage in _OUT_STAGES if stage <= depth],
    }

    # A backbone alone leaves the decoder at QGSL's own size.
    if detector.is_backbone:
        return SpatialConfig(**fields, num_levels=len(fields["backbone_out_stages"]) + 1)

    pairs = ("attention_heads", "ffn_dim", "n_points")
    same = all(getattr(config, f"encoder_{pair}") == getattr(config, f"decoder_{pair}") for pair in pairs)
    _check(detector, same, "its encoder and decoder differ in heads, FFN or sampling points")
    fine = (
        config.activation_function == "relu" and config.position_embedding_type == "sine" and config.two_stage
    )
    _check(detector, fine, "QGSL needs a two-stage detector with ReLU and sine positions")

    # Levels finer than stride 8 are left out.
    stages = list(swin.out_indices)
    fields["backbone_out_stages"] = [stage for stage in stages if stage in _OUT_STAGES]
    dropped = len(stages) - len(fields["backbone_out_stages"])
    return SpatialConfig(
        **fields,
        num_levels=config.num_feature_levels - dropped,
        d_model=config.d_model,
        num_heads=config.encoder_attention_heads,
        num_points=config.encoder_n_points,
        ffn_dim=config.encoder_ffn_dim,
        num_encoder_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        anchor_base=_FIRST_ANCHOR * 2**dropped,
        position_temperature=int(config.positional_embedding_temperature),
    )


def map_tensors(detector: DetectorWeights, spatial: SpatialConfig) -> dict[str, tuple[str, Tensor]]:
    """Key of SpatialLocalizer -> (key of the detector, tensor in QGSL's form).

    Some of the targets may not exist in a QGSL of another depth; that is for the caller to compare.
    """
    if detector.is_backbone:
        # Swin's last norm is for classification; a backbone never uses it.
        tensors = ((key, value) for key, value in detector.tensors.items() if "swin.layernorm" not in key)
        return {f"backbone.swin.{key}": (key, value) for key, value in tensors}

    levels = _shared_levels(detector, spatial)
    mapped: dict[str, tuple[str, Tensor]] = {}
    for key, value in detector.tensors.items():
        if projection := re.fullmatch(r"model\.input_proj_vision\.(\d+)\.(.+)", key):
            if int(projection[1]) in levels:
                mapped[f"backbone.input_proj.{levels.index(int(projection[1]))}.{projection[2]}"] = (key, value)
        elif key == "model.level_embed":
            mapped["encoder.level_embed"] = (key, value[levels])
        elif output := re.fullmatch(r"model\.enc_output(_norm)?\.(\w+)", key):
            # One map for the last layer in the detector, one per layer here.
            for layer in range(spatial.num_selecting_layers):
                mapped[f"selector.{'norms' if output[1] else 'projections'}.{layer}.{output[2]}"] = (key, value)
        elif target := _renamed(key):
            mapped[target] = (key, _keep_levels(key, value, levels, detector.config))

    return mapped


def _renamed(key: str) -> str | None:
    matches = ((re.fullmatch(pattern, key), target) for pattern, target in _RENAMES)
    return next((match.expand(target) for match, target in matches if match), None)


def _shared_levels(detector: DetectorWeights, spatial: SpatialConfig) -> list[int]:
    """For each of QGSL's levels the detector's level of the same stride."""
    swin = detector.backbone
    theirs = _strides(_side(swin.patch_size), list(swin.out_indices), detector.config.num_feature_levels)
    ours = _strides(spatial.backbone_patch_size, list(spatial.backbone_out_stages), spatial.num_levels)
    _check(
        detector, set(ours) <= set(theirs), f"it has feature levels of stride {theirs}, QGSL is to have {ours}"
    )
    return [theirs.index(stride) for stride in ours]


def _strides(patch: int, stages: list[int], levels: int) -> list[int]:
    strides = [patch * 2 ** (stage - 1) for stage in stages]
    return strides + [strides[-1] * 2**extra for extra in range(1, levels - len(stages) + 1)]


def _keep_levels(key: str, value: Tensor, levels: list[int], config: Any) -> Tensor:
    """Deformable attention's offsets and weights for ``levels`` only; rows are (head, level, point, ...)."""
    if "sampling_offsets" not in key and "attention_weights" not in key:
        return value

    heads = config.encoder_attention_heads
    rows = value.unflatten(0, (heads, config.num_feature_levels, -1))
    return rows[:, levels].flatten(0, 2)


def _side(size: Any) -> int:
    """A square's side; Swin's configuration may give both."""
    return int(size if isinstance(size, int) else size[0])


def _check(detector: DetectorWeights, holds: bool, reason: str) -> None:
    if not holds:
        raise CheckpointError(f"{detector.name}: {reason}")
