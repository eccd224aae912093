"""With every part of Bridge-STG off, the model is stock Qwen3-VL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.tiny_models import make_video
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, joined_features
from bridge_stg.model.processing import BridgeSTGProcessor


def stock_copy(model: BridgeSTGForVideoGrounding) -> Qwen3VLForConditionalGeneration:
    """The library's own class, untouched, with the same weights."""
    stock = Qwen3VLForConditionalGeneration(model.config.mllm).eval()
    stock.load_state_dict(model.mllm.state_dict())
    return stock


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("frames", [1, 4, 5])
def test_native_mode_is_stock_qwen3_vl(
    make_model: Callable[..., BridgeSTGForVideoGrounding],
    make_config: Callable[..., BridgeSTGConfig],
    tokenizer: PreTrainedTokenizerFast,
    frames: int,
    tied: bool,
) -> None:
    changes = {"eta_mode": "native", "num_bridge_queries": 0, "tied": tied}
    model = make_model(**changes)
    processor = BridgeSTGProcessor(tokenizer, make_config(**changes))
    inputs = processor(make_video(frames), ["the red circle"])
    ids, positions = inputs["input_ids"], inputs["position_ids"]
    assert (positions[0] == torch.arange(ids.shape[1])).all()

    stock = stock_copy(model)
    # Stock Qwen3-VL finds the positions itself: 0 marks text, 2 video.
    kinds = 2 * (ids == model.config.mllm.video_token_id).int()
    expected_positions, _ = stock.model.get_rope_index(
        ids, mm_token_type_ids=kinds, video_grid_thw=inputs["video_grid_thw"].clone()
    )
    assert torch.equal(positions[1:], expected_positions)
    with torch.no_grad():
        expected = stock(
            input_ids=ids,
            mm_token_type_ids=kinds,
            pixel_values_videos=inputs["pixel_values_videos"],
            video_grid_thw=inputs["video_grid_thw"],
        ).logits
        # Every token is labelled, so logits are made for every token.
        output = model(**inputs, labels=torch.zeros_like(ids))
    assert output.logits is not None
    # Logits as large as real ones, so that 1e-5 means something: a wrong position moves them by far more.
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(output.logits, expected[0], atol=1e-5, rtol=0)

    with torch.no_grad():
        shifted = inputs["position_ids"] + (positions > 12).long() * torch.tensor([0, 1, 0, 0])[:, None, None]
        wrong = model(**(dict(inputs) | {"position_ids": shifted}), labels=torch.zeros_like(ids)).logits
    assert float((wrong - expected[0]).abs().max()) > 1e-3


def towers_output(
    model: BridgeSTGForVideoGrounding, patches: Tensor, grid: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    ours = model.encode_video(patches, grid)
    stock = stock_copy(model).model.get_video_features(patches, grid)
    return (
        [ours.tokens, *ours.deepstack],
        [joined_features(stock.pooler_output), *map(joined_features, stock.deepstack_features)],
    )


@pytest.mark.parametrize(
    "clips",
    [
        [(6, 24, 16)],
        [(4, 24, 16), (2, 24, 16)],
        # Mixed sizes in one batch, with equal and unequal numbers of patches per pair.
        [(4, 24, 16), (4, 16, 24)],
        [(4, 24, 16), (3, 8, 8)],
    ],
)
def test_batched_vision_attention_equals_the_stock_loop(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, clips: list[tuple[int, int, int]]
) -> None:
    parts = [processor.patches(make_video(*clip, seed=seed).frames) for seed, clip in enumerate(clips)]
    patches, grid = torch.cat([patch for patch, _ in parts]), torch.tensor([size for _, size in parts])
    with torch.no_grad():
        ours, stock = towers_output(model, patches, grid)
    assert len(ours) == len(stock) > 0
    for mine, theirs in zip(ours, stock, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    # Clips do not see one another: alone, the first gives what it gave in the batch.
    with torch.no_grad():
        alone = model.encode_video(parts[0][0], torch.tensor([parts[0][1]])).tokens
    torch.testing.assert_close(alone, ours[0][: len(alone)], atol=1e-5, rtol=1e-5)
