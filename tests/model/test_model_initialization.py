"""First checkpoints: from tiny random folders in the hub's format, compared with the library's own modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import make_video, tiny_mllm_config, tiny_spatial_config
from torch import Tensor
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3VLForConditionalGeneration,
    SwinBackbone,
    SwinConfig,
    SwinForImageClassification,
    SwinModel,
)

from bridge_stg.errors import CheckpointError
from bridge_stg.model.detector_weights import read_detector, spatial_config
from bridge_stg.model.initialization import KeyReport, assemble
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN, SPECIAL_TOKENS
from bridge_stg.model.spatial.encoder import SpatialFeatures
from bridge_stg.model.spatial.localizer import SpatialLocalizer
from bridge_stg.model.spatial.tokens import token_grid

KINDS = {
    "mm-grounding-dino": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
    "grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection),
}
# Two frames of 64 x 48 on strides 8, 16, 32, 64.
SHAPES = [(6, 8), (3, 4), (2, 2), (1, 1)]


def swin_config(**changes: Any) -> SwinConfig:
    sizes = {
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
    }
    return SwinConfig(**sizes | changes)


def save_detector(kind: str, folder: Path, levels: int = 4, **changes: Any) -> PreTrainedModel:
    """A random detector; 5 levels means Swin's stages 1-4 and one more, as in MM-Grounding-DINO-large."""
    config_class, model_class = KINDS[kind]
    stages = [1, 2, 3, 4] if levels == 5 else [2, 3, 4]
    text = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=64
    )
    torch.manual_seed(3)
    config = config_class(
        **{
            "backbone_config": swin_config(out_indices=stages),
            "text_config": text,
            "num_feature_levels": levels,
            "d_model": 64,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "encoder_n_points": 2,
            "decoder_n_points": 2,
            "num_queries": 5,
            "dropout": 0.0,
            "decoder_bbox_embed_share": kind == "grounding-dino",
        }
        | changes
    )
    model = model_class(config).eval()
    with torch.no_grad():
        # Away from an initialisation that sets offsets and norms to constants, which would hide mistakes.
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def mllm_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_mllm(tokenizer, tmp_path_factory.mktemp("mllm"))


def save_mllm(tokenizer: PreTrainedTokenizerFast, folder: Path, tied: bool = True, spare_rows: int = 0) -> Path:
    torch.manual_seed(7)
    Qwen3VLForConditionalGeneration(tiny_mllm_config(tokenizer, tied, spare_rows)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def without_det(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A Qwen3-VL tokenizer as published: everything but <det>, which is the last token of the small one."""
    inner = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    state = json.loads(inner.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] != DET_TOKEN]
    bare = PreTrainedTokenizerFast(
        tokenizer_object=type(inner).from_str(json.dumps(state)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    assert len(bare) == len(tokenizer) - 1
    assert SPECIAL_TOKENS[-1] == DET_TOKEN
    return bare


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
            actual = ours(queries, places, bridge, boxes, our_features(hidden, shapes), None, 7, None, None)
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
    pixels = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        maps = localizer.backbone(pixels)
        features = stock.model.backbone.conv_encoder.model(pixels).feature_maps
        projected = [stock.model.input_proj_vision[level](item) for level, item in enumerate(features)]
        projected.append(stock.model.input_proj_vision[3](features[-1]))
    assert [tuple(item.shape[-2:]) for item in maps] == SHAPES
    for ours, theirs in zip(maps, projected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    check_report(report, model, stock)


def check_report(report: KeyReport, model: BridgeSTGForVideoGrounding, stock: PreTrainedModel) -> None:
    """Every parameter is either taken or new, every tensor of the detector used or left out."""
    names = [name for name, _ in model.named_parameters()]
    assert sorted([*report.taken, *report.new]) == sorted(names)
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
        f"taken: {len(report.taken)} keys",
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


@pytest.mark.parametrize("swin_class", [SwinModel, SwinForImageClassification, SwinBackbone])
def test_a_bare_swin(mllm_folder: Path, tmp_path: Path, swin_class: type[PreTrainedModel]) -> None:
    changes = {"out_indices": [2, 3, 4]} if swin_class is SwinBackbone else {}
    stock = swin_class(swin_config(**changes)).eval()
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    stock.save_pretrained(tmp_path)
    model, _, report = assemble(mllm_folder, tmp_path)
    spatial = model.config.spatial
    assert (list(spatial.backbone_depths), spatial.backbone_window_size, spatial.num_levels) == (
        [1, 1, 2, 1],
        4,
        4,
    )
    assert spatial.position_temperature == 10000
    pixels = torch.randn(1, 3, 64, 64)
    inner = stock if swin_class is SwinModel else stock.swin
    with torch.no_grad():
        expected = inner(pixels, output_hidden_states=True, always_partition=True).reshaped_hidden_states
        ours = model.localizer.backbone.swin.swin(pixels, output_hidden_states=True, always_partition=True)
        ours = ours.reshaped_hidden_states
    assert len(ours) == len(expected) == 5
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    norms = [key for key in report.new if "hidden_states_norms" in key]
    # Only a backbone has the norms of its stages.
    assert len(norms) == (0 if swin_class is SwinBackbone else 6)
    assert any(key.startswith("localizer.encoder.") for key in report.new)
    if swin_class is SwinForImageClassification:
        assert any("classifier" in key for key in report.left_out)


def test_the_language_model_is_the_stock_one(
    mllm_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_detector("grounding-dino", tmp_path)
    model, processor, report = assemble(
        mllm_folder, tmp_path, eta_mode="native", num_bridge_queries=0, max_tokens_per_frame=12
    )
    assert not model.training
    assert model.config.det_token_id == tokenizer.convert_tokens_to_ids(DET_TOKEN)
    assert not any("mllm" in key for key in report.new)
    inputs = processor(make_video(4), ["the red circle"])
    stock = Qwen3VLForConditionalGeneration.from_pretrained(mllm_folder)
    kinds = 2 * (inputs["input_ids"] == model.config.mllm.video_token_id).int()
    with torch.no_grad():
        expected = stock(
            input_ids=inputs["input_ids"],
            mm_token_type_ids=kinds,
            pixel_values_videos=inputs["pixel_values_videos"],
            video_grid_thw=inputs["video_grid_thw"],
        ).logits[0]
        logits = model(**inputs, labels=torch.zeros_like(inputs["input_ids"])).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("tied", [True, False])
def test_det_takes_a_spare_row(tokenizer: PreTrainedTokenizerFast, tmp_path: Path, tied: bool) -> None:
    bare = without_det(tokenizer)
    config = tiny_mllm_config(bare, tied, spare_rows=3)
    torch.manual_seed(7)
    stock = Qwen3VLForConditionalGeneration(config)
    stock.save_pretrained(tmp_path / "mllm")
    bare.save_pretrained(tmp_path / "mllm")
    model, processor, report = assemble(
        tmp_path / "mllm", spatial=tiny_spatial_config(), max_tokens_per_frame=12
    )
    token = model.config.det_token_id
    assert token == len(bare)
    assert model.config.mllm.text_config.vocab_size == len(bare) + 3
    rows = model.mllm.get_input_embeddings().weight
    assert rows.shape[0] == len(bare) + 3
    before = stock.get_input_embeddings().weight
    assert torch.equal(rows[:token], before[:token])
    torch.testing.assert_close(rows[token], before[:token].mean(0))
    new_rows = [key for key in report.new if DET_TOKEN in key]
    assert len(new_rows) == (1 if tied else 2)
    assert all(f"[{token}]" in key for key in new_rows)

    # The whole is a checkpoint: saved, loaded, it still knows its token.
    model.save_pretrained(tmp_path / "out")
    processor.save_pretrained(tmp_path / "out")
    loaded = BridgeSTGForVideoGrounding.from_pretrained(tmp_path / "out")
    read = BridgeSTGProcessor.from_pretrained(tmp_path / "out")
    inputs = read(make_video(2), ["red <det>"], answers=["left"])
    assert int((inputs["input_ids"] == token).sum()) == 1 + model.config.num_bridge_queries
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_no_spare_row_is_an_error(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    bare = without_det(tokenizer)
    save_mllm(bare, tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"<det> would be id {len(bare)}, but the embedding has {len(bare)} rows"
    ):
        assemble(tmp_path, spatial=tiny_spatial_config())


def test_another_depth_than_the_detectors(mllm_folder: Path, tmp_path: Path) -> None:
    """n is an ablation: missing layers start new, spare ones are left out, both reported."""
    stock = save_detector("mm-grounding-dino", tmp_path)
    spatial = fitting(tmp_path, num_encoder_layers=3, num_decoder_layers=2)
    model, _, report = assemble(mllm_folder, tmp_path, spatial)
    assert "localizer.encoder.layers.2.mlp.fc1.weight" in report.new
    assert "localizer.encoder.layers.1.mlp.fc1.weight" in report.taken
    assert "detector: model.decoder.layers.2.fc1.weight" in report.left_out
    assert len(model.localizer.selector.projections) == 3
    for projection in model.localizer.selector.projections:
        torch.testing.assert_close(projection.weight, stock.model.enc_output.weight)


def test_without_a_detector_everything_spatial_is_new(mllm_folder: Path) -> None:
    model, processor, report = assemble(mllm_folder, None, tiny_spatial_config(), max_tokens_per_frame=12)
    assert report.left_out == ()
    assert all(key.startswith(("localizer.", "bridge.")) for key in report.new)
    assert all(key.startswith("mllm.") for key in report.taken)
    with torch.no_grad():
        output = model(**processor(make_video(2), ["red"], answers=["left"]))
    assert output.spatial.boxes.isfinite().all()
    assert all(parameter.isfinite().all() and not parameter.is_meta for parameter in model.parameters())
    half, _, _ = assemble(mllm_folder, None, tiny_spatial_config(), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def refuse(words: str, *arguments: Any, **changes: Any) -> None:
    with pytest.raises(CheckpointError, match=words) as refusal:
        assemble(*arguments, **changes)
    assert "\n" not in str(refusal.value)


def test_sources_that_do_not_fit(mllm_folder: Path, tmp_path: Path) -> None:
    detector = tmp_path / "detector"
    save_detector("grounding-dino", detector)
    refuse("holds a grounding-dino model, not a Qwen3-VL", detector)
    refuse("a detector must be one of", mllm_folder, mllm_folder)
    refuse("not a readable Qwen3-VL", tmp_path / "nowhere")
    refuse("cannot be loaded as a detector", mllm_folder, tmp_path / "nowhere")
    refuse(
        "do not fit the spatial configuration .*leave `spatial` out",
        mllm_folder,
        detector,
        fitting(detector, ffn_dim=32),
    )
    refuse(
        r"feature levels of stride \[8, 16, 32, 64\]", mllm_folder, detector, fitting(detector, num_levels=5)
    )
    with pytest.raises(ValueError, match="did you mean 'eta_mode'"):
        assemble(mllm_folder, detector, eta_mod="none")


def fitting(folder: Path, **changes: Any) -> Any:
    spatial = spatial_config(read_detector(folder))
    return type(spatial)(**spatial.to_dict() | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder_ffn_dim": 32}, "encoder and decoder differ"),
        ({"activation_function": "gelu"}, "ReLU"),
        ({"backbone_config": swin_config(out_indices=[2, 3, 4], qkv_bias=False)}, "qkv_bias"),
    ],
)
def test_detectors_of_another_form(
    mllm_folder: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    save_detector("grounding-dino", tmp_path, **changes)
    refuse(words, mllm_folder, tmp_path)


def test_damaged_sources(mllm_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    detector, language = tmp_path / "detector", save_mllm(tokenizer, tmp_path / "language")
    save_detector("mm-grounding-dino", detector)
    weights = detector / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.decoder.layers.1.fc1.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    refuse(r"1 tensors .* missing .*model.decoder.layers.1.fc1.weight", mllm_folder, detector)
    weights.write_bytes(weights.read_bytes()[:2000])
    refuse("cannot be loaded as a detector", mllm_folder, detector)

    tensors = load_file(language / "model.safetensors")
    del tensors["model.visual.pos_embed.weight"]
    save_file(tensors, language / "model.safetensors", metadata={"format": "pt"})
    refuse(r"1 weights of Qwen3-VL are missing \(first: model.visual.pos_embed.weight\)", language)
    (language / "model.safetensors").write_bytes(b"0123456789")
    refuse("not a readable Qwen3-VL", language)
