"""The real vocabulary of Qwen3, from the file that the package ``dashscope`` carries (extra ``vocabulary``)."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
# In the order of their ids, which follow those of the 151,643 pieces.
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"),
    *("<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>"),
    *("</tool_response>", "<think>", "</think>"),
)


def vocabulary_file() -> Path | None:
    """Where the package lies; None if it is not installed."""
    try:
        files = metadata.files("dashscope") or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == "qwen.tiktoken"), None)


def qwen3_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """As Qwen3-VL publishes it: pieces, special tokens, and no <det>."""
    converter = TikTokenConverter(str(file), pattern=_PIECES, extra_special_tokens=list(SPECIAL))
    tokenizer = converter.converted()
    tokenizer.normalizer = normalizers.NFC()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
