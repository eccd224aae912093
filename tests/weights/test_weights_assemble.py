"""First checkpoints: from tiny random folders in the hub's format, with every key accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_folders import fitting, save_detector, save_mllm, swin_config, without_det
from support.tiny_models import make_video, tiny_mllm_config, tiny_spatial_config
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3VLForConditionalGeneration,
    SwinBackbone,
    SwinForImageClassification,
    SwinModel,
)

from bridge_stg.errors import CheckpointError
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN
from bridge_stg.weights.assemble import assemble


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
    with pytest.raises(CheckpointError, match=rf"<det> .* {len(bare)}, .* {len(bare)} "):
        assemble(tmp_path, spatial=tiny_spatial_config())


def test_another_depth_than_the_detectors(mllm_folder: Path, tmp_path: Path) -> None:
    """n is an ablation: missing layers start new, spare ones are left out, both reported."""
    stock = save_detector("mm-grounding-dino", tmp_path)
    spatial = fitting(tmp_path, num_encoder_layers=3, num_decoder_layers=2)
    model, _, report = assemble(mllm_folder, tmp_path, spatial)
    assert "localizer.encoder.layers.2.mlp.fc1.weight" in report.new
    assert "localizer.encoder.layers.1.mlp.fc1.weight" in report.loaded
    assert "detector: model.decoder.layers.2.fc1.weight" in report.left_out
    assert len(model.localizer.selector.projections) == 3
    for projection in model.localizer.selector.projections:
        torch.testing.assert_close(projection.weight, stock.model.enc_output.weight)


def test_without_a_detector_everything_spatial_is_new(mllm_folder: Path) -> None:
    model, processor, report = assemble(mllm_folder, None, tiny_spatial_config(), max_tokens_per_frame=12)
    assert report.left_out == ()
    assert all(key.startswith(("localizer.", "bridge.")) for key in report.new)
    assert all(key.startswith("mllm.") for key in report.loaded)
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
    refuse("configuration cannot be read", tmp_path / "nowhere")
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
    with pytest.raises(ValueError, match="eta_mode"):
        assemble(mllm_folder, detector, eta_mod="none")


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
    refuse(r"1 weights are missing \(first: model.visual.pos_embed.weight\)", language)
    (language / "model.safetensors").write_bytes(b"0123456789")
    refuse("cannot be loaded as a Qwen3-VL", language)
