"""The tokens that a clip is written with, which a tokenizer and a Qwen3-VL's configuration must agree on."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from bridge_stg.errors import CheckpointError

# Each with the field of Qwen3-VL's configuration that names its id.
VIDEO_TOKENS = {
    "<|vision_start|>": "vision_start_token_id",
    "<|vision_end|>": "vision_end_token_id",
    "<|video_pad|>": "video_token_id",
}
IMAGE_TOKENS = {"<|image_pad|>": "image_token_id"}


def check_special_tokens(
    tokenizer: PreTrainedTokenizerBase, config: Any, tokens: dict[str, str], name: str
) -> None:
    """See that ``tokens`` have the ids that ``config`` says; ``name`` begins the message.

    Raises:
        CheckpointError: one has another id, so the two are of different models.
    """
    for token, field in tokens.items():
        found, wanted = tokenizer.convert_tokens_to_ids(token), getattr(config, field)
        if found != wanted:
            raise CheckpointError(
                f"{name}: the tokenizer gives {token} the id {found}, the configuration's {field} is {wanted}: "
                "they are not of the same model"
            )
