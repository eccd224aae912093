"""The shipped checkpoint's own tokenizer: byte-level, with every word of a small world as one token.

It has Qwen3-VL's special tokens under the same names. Any text can be written with it: words it does not know
fall back to bytes. A number is split as ``12`` + ``.7``, so that the whole second of an answer is the very
token that the pair's timestamp carries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

DET_TOKEN = "<det>"
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    DET_TOKEN,
)
# The sides of a box in text, beyond the seconds of a clip.
BOX_NUMBERS = range(100, 1001)
_PIECES = r"\.\d|1000|\d{1,3}| ?[A-Za-z]+|\s|[^\sA-Za-z0-9]"


def build_small_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is the bytes, the given ``words`` (with and without a leading space), the
    numbers 0-99 and the tenths .0-.9.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # The leading space of a piece is written as G with a dot in the byte-level alphabet.
    pieces = [f"{number}" for number in range(10, 100)] + [f".{digit}" for digit in range(10)]
    pieces += [form for word in sorted(set(words)) for form in (word, "\u0120" + word)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*alphabet, *pieces]))}
    # No merges: a piece is either a whole entry of the vocabulary or a row of bytes.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return _fast(tokenizer)


def with_box_numbers(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A small tokenizer with a word for each number up to 1000, the new ones behind all that it has."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary: dict[str, int] = state["model"]["vocab"]
    missing = [str(number) for number in BOX_NUMBERS if str(number) not in vocabulary]
    if not missing:
        return tokenizer
    # A model's rows have no gaps: special tokens are words like any other for whoever counts them.
    vocabulary |= {token["content"]: token["id"] for token in state["added_tokens"]}
    vocabulary |= {number: row for row, number in enumerate(missing, start=len(tokenizer))}
    state["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": _PIECES}
    return _fast(Tokenizer.from_str(json.dumps(state)))


def _fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
