"""``StockModel``: a Qwen3-VL as transformers ships it, that reads frames and answers a prompt greedily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    Qwen3VLForConditionalGeneration,
)

from bridge_stg.inference.confidence import EDGE
from bridge_stg.model.frames import fit_frame_size, patchify
from bridge_stg.model.special_tokens import IMAGE_TOKENS, VIDEO_TOKENS, check_special_tokens
from bridge_stg.model.vision_attention import batch_equal_pairs
from bridge_stg.types import SampledVideo

# The budget of the paper (Table 9), so that both methods see the same frames.
MAX_TOKENS_PER_FRAME = 192


@dataclass(frozen=True)
class StockAnswer:
    """An answer, its tokens, whether it was cut at their limit, and the mean probability of a token of it."""

    text: str
    tokens: int
    cut: bool
    probability: float


class _TokenProbabilities(LogitsProcessor):  # type: ignore[misc]
    """Notes how probable each greedy token is, and changes nothing."""

    def __init__(self) -> None:
        self.log_probs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.log_probs.append(scores[0].float().log_softmax(-1).amax())
        return scores

    @property
    def mean(self) -> float:
        """The geometric mean, inside of (0, 1)."""
        probability = float(torch.stack(self.log_probs).mean().exp()) if self.log_probs else 0.5
        return min(max(probability, EDGE), 1 - EDGE)


class StockModel:
    """A loaded Qwen3-VL with greedy generation. ``ends`` are the tokens that end an answer.

    Args:
        model: its generation settings are replaced.
        name: what messages call it.

    Raises:
        CheckpointError: the tokenizer is not of this model.
    """

    def __init__(
        self, model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, name: str
    ) -> None:
        self.model: Any = model.eval()
        self.tokenizer: Any = tokenizer
        check_special_tokens(tokenizer, model.config, VIDEO_TOKENS | IMAGE_TOKENS, name)

        # The published settings draw at random; a baseline must give the same answer twice.
        turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        ends = self.model.generation_config.eos_token_id
        given = ends if isinstance(ends, list) else [] if ends is None else [ends]
        self.ends = sorted({*given, turn_end})
        pad = tokenizer.pad_token_id
        self.model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=self.ends, pad_token_id=turn_end if pad is None else pad
        )

        # The same numbers, without a loop over frame pairs in Python.
        batch_equal_pairs(self.model.model.visual)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) at which a source of that size is read."""
        vision: Any = self.model.config.vision_config
        side = int(vision.patch_size) * int(vision.spatial_merge_size)
        return fit_frame_size(width, height, side, MAX_TOKENS_PER_FRAME)

    def vision_inputs(
        self, sampled: SampledVideo, image: bool
    ) -> tuple[dict[str, Tensor], tuple[int, int, int]]:
        """What the vision tower reads, under the library's names, and (P, H, W) in merged visual tokens."""
        vision: Any = self.model.config.vision_config
        merge = int(vision.spatial_merge_size)
        patches, grid = patchify(sampled.frames, int(vision.patch_size), merge)
        device = self.model.device
        kind, pixels = ("image", "pixel_values") if image else ("video", "pixel_values_videos")
        inputs = {
            pixels: patches.to(device, self.model.dtype),
            f"{kind}_grid_thw": torch.tensor([grid], device=device),
        }
        return inputs, (grid[0], grid[1] // merge, grid[2] // merge)

    def answer(self, ids: list[int], inputs: dict[str, Tensor], limit: int) -> StockAnswer:
        """The greedy answer to the prompt ``ids``, of at most ``limit`` tokens."""
        row = torch.tensor([ids], device=self.model.device)
        config: Any = self.model.config

        # Which tokens are of an image (1) or a video (2). Without it the library falls back to the positions of
        # plain text and says nothing.
        kinds = (row == config.image_token_id).int() + 2 * (row == config.video_token_id).int()

        seen = _TokenProbabilities()
        output = self.model.generate(
            input_ids=row,
            logits_processor=LogitsProcessorList([seen]),
            attention_mask=torch.ones_like(row),
            mm_token_type_ids=kinds,
            max_new_tokens=limit,
            # The library may write into them.
            **{name: value.clone() for name, value in inputs.items()},
        )

        generated = output[0, len(ids) :].tolist()
        cut = not generated or generated[-1] not in self.ends
        text = self.tokenizer.decode(generated, skip_special_tokens=True).strip()
        return StockAnswer(text, len(generated), cut, seen.mean)
