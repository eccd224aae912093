"""Detectors as the start of QGSL, compared with the library's own modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_folders import KINDS, fitting, save_detector
from torch import Tensor, nn
from transformers import PreTrainedModel

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.spatial.decoder import SelfAttentionMasks
from bridge_stg.model.spatial.encoder import SpatialFeatures
from bridge_stg.model.spatial.localizer import SpatialLocalizer
from bridge_stg.model.spatial.tokens import token_grid
from bridge_stg.weights.assemble import KeyReport, assemble

# Two frames of 64 x 48 on strides 8, 16, 32, 64.
SHAPES = [(6, 8), (3, 4), (2, 2), (1, 1)]


def encoder_inputs(levels: list[int], width: int) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, int]]]:
    """Hidden states, positions and reference points of random maps on the given levels of SHAPES."""
    shapes = [SHAPES[level] for level in levels]
    total = sum(rows * columns for rows, columns in shapes)
    hidden, position = torch.randn(2, total, width), torch.randn(1, total, width)
    return hidden, position, torch.rand(1, total, len(shapes), 2), shapes


def our_grid(shapes: list[tuple[int, int]]) -> Any:
    strides = [8 * 2**level for level in range(len(shapes))]
    sizes = torch.tensor([[64.0, 48.0]])
    return token_grid(shapes, strides, sizes, False, 0.1, torch.device("cpu"))


def stock_shapes(shapes: list[tuple[int, int]]) -> dict[str, Any]:
    tensor = torch.tensor(shapes)
    starts = torch.cat([tensor.new_zeros(1), tensor.prod(1).cumsum(0)[:-1]])
    return {"spatial_shapes": tensor, "spatial_shapes_list": shapes, "level_start_index": starts}


def our_features(memory: Tensor, shapes: list[tuple[int, int]]) -> SpatialFeatures:
    return SpatialFeatures(layers=[memory], grid=our_grid(shapes))


def check_layers(localizer: SpatialLocalizer, stock: PreTrainedModel) -> None:
    """Encoder layers equal the stock ones; decoder layers do with the bridge in the place of the text."""
    width = localizer.config.d_model
    hidden, position, references, shapes = encoder_inputs([0, 1, 2, 3], width)
    attending = torch.ones(hidden.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        for ours, theirs in zip(localizer.encoder.layers, stock.model.encoder.layers, strict=True):
            expected = theirs.deformable_layer(
                hidden, attending, position, references.expand(2, -1, -1, -1), **stock_shapes(shapes)
            )[0]
            actual = ours(hidden, position, references, our_grid(shapes))
            torch.testing.assert_close(actual, expected, atol=2e-6, rtol=1e-5)

        queries, places = torch.randn(2, 7, width), torch.randn(2, 7, width)
        boxes = torch.rand(2, 7, 1, 4).expand(-1, -1, 4, -1)
        bridge = torch.randn(2, 3, width)
        for ours, theirs in zip(localizer.decoder.layers, stock.model.decoder.layers, strict=True):
            expected = theirs(
                queries,
                position_embeddings=places,
                reference_points=boxes,
                vision_encoder_hidden_states=hidden,
                vision_encoder_attention_mask=attending,
                text_encoder_hidden_states=bridge,
                **stock_shapes(shapes),
            )[0]
            features, masks = our_features(hidden, shapes), SelfAttentionMasks(matching=7)
            actual = ours(queries, places, bridge, boxes, features, None, masks)
            torch.testing.assert_close(actual, expected, atol=2e-6, rtol=1e-5)
        for ours, theirs in zip(localizer.decoder.box_heads, stock.bbox_embed, strict=True):
            torch.testing.assert_close(ours(queries), theirs(queries), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(
            localizer.candidate_box(queries),
            stock.model.encoder_output_bbox_embed(queries),
            atol=1e-6,
            rtol=1e-5,
        )
        for linear, norm in zip(localizer.selector.projections, localizer.selector.norms, strict=True):
            expected = stock.model.enc_output_norm(stock.model.enc_output(hidden))
            torch.testing.assert_close(norm(linear(hidden)), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(localizer.decoder.norm(queries), stock.model.decoder.layer_norm(queries))
        sine = torch.rand(1, 7, 2 * width)
        torch.testing.assert_close(
            localizer.decoder.position_head(sine), stock.model.decoder.reference_points_head(sine)
        )


def rounding(projection: nn.Module, features: Tensor) -> float:
    """The greatest difference that float32's order of summation may make behind a projection.

    A convolution sums up to 9 x 64 products of numbers near 1: sqrt(576) roundings of 6e-8 are 1.4e-6, here
    three times that. The norm behind it divides by the spread of each group, and with it the error: on the
    coarsest level a group is two numbers, which may be all but equal.
    """
    convolution, norm = projection
    groups = convolution(features).unflatten(1, (norm.num_groups, -1)).flatten(2)
    return 4e-6 / float((groups.var(2, correction=0).min() + norm.eps).sqrt())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_detector_of_four_levels(mllm_folder: Path, tmp_path: Path, kind: str) -> None:
    stock = save_detector(kind, tmp_path)
    model, _, report = assemble(mllm_folder, tmp_path)
    spatial = model.config.spatial
    assert list(spatial.backbone_out_stages) == [2, 3, 4]
    assert (spatial.num_levels, spatial.anchor_base, spatial.position_temperature) == (4, 0.05, 20)
    assert (spatial.num_encoder_layers, spatial.num_decoder_layers, spatial.ffn_dim) == (2, 3, 48)
    localizer = model.localizer
    check_layers(localizer, stock)
    torch.testing.assert_close(localizer.encoder.level_embed, stock.model.level_embed)
    pixels = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(5))
    projections = stock.model.input_proj_vision
    with torch.no_grad():
        maps = localizer.backbone(pixels)
        features = stock.model.backbone.conv_encoder.model(pixels).feature_maps
        # The fourth level is made from the third stage, as the third is.
        sources = [*features, features[-1]]
        projected = [layer(item) for layer, item in zip(projections, sources, strict=True)]
        errors = [rounding(layer, item) for layer, item in zip(projections, sources, strict=True)]
    assert [tuple(item.shape[-2:]) for item in maps] == SHAPES
    for ours, theirs, error in zip(maps, projected, errors, strict=True):
        torch.testing.assert_close(ours, theirs, atol=error, rtol=1e-5)
    check_report(report, model, stock)


def check_report(report: KeyReport, model: BridgeSTGForVideoGrounding, stock: PreTrainedModel) -> None:
    """Every parameter is either loaded or new, every tensor of the detector used or left out."""
    names = [name for name, _ in model.named_parameters()]
    assert sorted([*report.loaded, *report.new]) == sorted(names)
    localizer_new = {key for key in report.new if key.startswith("localizer.")}
    # New are the projection of the bridge and objectness; Swin's final norm is not part of a backbone.
    prefixes = ("bridge_", "candidate_object.", "decoder.object_heads.", "backbone.swin.swin.layernorm.")
    unexplained = [key for key in localizer_new if not key.removeprefix("localizer.").startswith(prefixes)]
    assert unexplained == []
    left = [key.split(": ", 1)[1] for key in report.left_out]
    tensors = set(stock.state_dict())
    assert set(left) < tensors
    dropped = (
        "model.text_",
        "model.query_position",
        "class_embed",
        "model.encoder.layers",
        "model.decoder.",
        "model.encoder_output_class",
    )
    ignored = [key for key in left if not key.startswith(dropped) and "layernorm" not in key]
    assert [key for key in ignored if "relative_position_index" not in key] == []
    assert any("fusion_layer" in key for key in left)
    text = report.text()
    for words in (
        f"loaded: {len(report.loaded)} keys",
        f"new: {len(report.new)} keys",
        f"left out: {len(left)} keys",
    ):
        assert words in text
    assert "text_backbone" in text


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_of_five_levels_the_finest_is_left_out(mllm_folder: Path, tmp_path: Path, kind: str) -> None:
    stock = save_detector(kind, tmp_path, levels=5)
    model, _, report = assemble(mllm_folder, tmp_path)
    spatial = model.config.spatial
    assert (list(spatial.backbone_out_stages), spatial.num_levels) == ([2, 3, 4], 4)
    # Stride 8 keeps the anchors that it had as the second of five levels.
    assert spatial.anchor_base == 0.1
    localizer = model.localizer
    torch.testing.assert_close(localizer.encoder.level_embed, stock.model.level_embed[1:])
    for ours, theirs in zip(localizer.backbone.input_proj, stock.model.input_proj_vision[1:], strict=True):
        torch.testing.assert_close(ours[0].weight, theirs[0].weight)
    heads, points, width = 4, 2, 64
    pairs = [
        (localizer.encoder.layers[1].self_attn, stock.model.encoder.layers[1].deformable_layer.self_attn),
        (localizer.decoder.layers[2].encoder_attn, stock.model.decoder.layers[2].encoder_attn),
    ]
    for ours, theirs in pairs:
        offsets = theirs.sampling_offsets.weight.view(heads, 5, points, 2, width)[:, 1:]
        torch.testing.assert_close(ours.sampling_offsets.weight, offsets.reshape(-1, width))
        shares = theirs.attention_weights.bias.view(heads, 5, points)[:, 1:]
        torch.testing.assert_close(ours.attention_weights.bias, shares.reshape(-1))
        torch.testing.assert_close(ours.value_proj.weight, theirs.value_proj.weight)
    names = " ".join(report.left_out)
    assert "input_proj_vision.0" in names
    assert "hidden_states_norms.stage1" in names

    # All five on request: then the layers are the stock ones again.
    five = fitting(tmp_path, backbone_out_stages=[1, 2, 3, 4], num_levels=5, anchor_base=0.05)
    whole, _, _ = assemble(mllm_folder, tmp_path, five)
    torch.testing.assert_close(whole.localizer.encoder.level_embed, stock.model.level_embed)
    torch.testing.assert_close(
        whole.localizer.encoder.layers[0].self_attn.sampling_offsets.weight,
        stock.model.encoder.layers[0].deformable_layer.self_attn.sampling_offsets.weight,
    )


def test_box_heads_per_layer_even_if_the_configuration_file_says_nothing(
    mllm_folder: Path, tmp_path: Path
) -> None:
    """Published MM-Grounding-DINO weights differ per layer, and sharing is the library's default."""
    stock = save_detector("mm-grounding-dino", tmp_path)
    heads = [head.layers[0].weight for head in stock.bbox_embed]
    assert not torch.equal(heads[0], heads[2])
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["decoder_bbox_embed_share"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    model, _, _ = assemble(mllm_folder, tmp_path)
    for ours, theirs in zip(model.localizer.decoder.box_heads, heads, strict=True):
        torch.testing.assert_close(ours.layers[0].weight, theirs)


def test_a_shared_box_head_becomes_one_per_layer(mllm_folder: Path, tmp_path: Path) -> None:
    stock = save_detector("grounding-dino", tmp_path)
    assert stock.bbox_embed[0] is not stock.bbox_embed[2]
    assert stock.bbox_embed[0].layers[0].weight is stock.bbox_embed[2].layers[0].weight
    model, _, _ = assemble(mllm_folder, tmp_path)
    heads = model.localizer.decoder.box_heads
    for head in heads:
        torch.testing.assert_close(head.layers[0].weight, stock.bbox_embed[0].layers[0].weight)
    # Copies, which training may move apart.
    assert heads[0].layers[0].weight.data_ptr() != heads[2].layers[0].weight.data_ptr()
