"""The configuration: what it refuses, by name, and that it survives a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tiny_models import tiny_spatial_config
from transformers import AutoConfig

from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_bridge_queries": "a"}, ["num_bridge_queries", "int", "'a'"]),
        ({"num_bridge_queries": 2.5}, ["num_bridge_queries", "int", "2.5"]),
        ({"num_bridge_queries": True}, ["num_bridge_queries", "True"]),
        ({"num_bridge_queries": -1}, ["num_bridge_queries", "negative"]),
        ({"sample_fps": "2"}, ["sample_fps", "float"]),
        ({"sample_fps": float("nan")}, ["sample_fps", "nan"]),
        ({"sample_fps": 0.0}, ["sample_fps", "positive"]),
        ({"eta_mode": "vitrual"}, ["eta_mode", "virtual", "append", "none", "native"]),
        ({"eta_mod": "none"}, ["eta_mod", "did you mean eta_mode"]),
        ({"det_token_id": 10_000_000}, ["det_token_id", "outside the vocabulary"]),
        ({"spatial_short_side": 0}, ["spatial_short_side"]),
        ({"max_tokens_per_frame": 0}, ["max_tokens_per_frame"]),
        ({"spatial": {"topkk": 3}}, ["SpatialConfig", "topkk", "did you mean topk"]),
        ({"spatial": {"topk": "3"}}, ["SpatialConfig", "topk", "int"]),
        ({"spatial": 3}, ["spatial", "SpatialConfig", "int"]),
        ({"mllm": "Qwen/Qwen3-VL-8B-Instruct"}, ["mllm", "Qwen3VLConfig", "str"]),
        ({"mllm": {"text_config": {"hidden_size": "wide"}}}, ["mllm", "hidden_size"]),
    ],
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are checked below
        BridgeSTGConfig(**changes)
    message = str(refusal.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"d_model": 0}, "d_model"),
        ({"d_model": 30}, "d_model"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_heads": 3}, "num_heads"),
        ({"backbone_out_stages": (2, 5)}, "backbone_out_stages"),
        ({"backbone_out_stages": (2, 1)}, "backbone_out_stages"),
        ({"backbone_depths": "12"}, "backbone_depths"),
        ({"backbone_num_heads": (1,)}, "backbone_num_heads"),
        ({"num_levels": 1}, "num_levels"),
        ({"select_layers": "first"}, "select_layers"),
        ({"anchor_base": 0.0}, "anchor_base"),
        ({"pixel_std": (1.0, 1.0)}, "pixel_std"),
        ({"topk": 0}, "topk"),
    ],
)
def test_bad_spatial_values_are_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        tiny_spatial_config(**changes)


def test_every_bad_value_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"topk .*; num_denoising .*; select_layers"):
        SpatialConfig(topk=0, num_denoising=0, select_layers="none")


def test_a_whole_number_is_a_fraction_too() -> None:
    assert BridgeSTGConfig(sample_fps=4).sample_fps == 4


def test_saved_and_loaded_through_the_auto_class(
    make_config: Callable[..., BridgeSTGConfig], tmp_path: Path
) -> None:
    config = make_config(eta_mode="append", num_bridge_queries=0, sample_fps=4.0, spatial_short_side=48)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, BridgeSTGConfig)
    assert isinstance(loaded.spatial, SpatialConfig)
    assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
    assert loaded.mllm.text_config.rope_parameters["mrope_section"] == [4, 2, 2]
    assert list(loaded.spatial.backbone_out_stages) == [1, 2]


def test_defaults_are_the_papers_scale() -> None:
    config = SpatialConfig()
    assert (config.topk, config.num_encoder_layers, config.num_decoder_layers) == (900, 6, 6)
    assert BridgeSTGConfig().num_bridge_queries == 8
    assert BridgeSTGConfig().sample_fps == 2.0
