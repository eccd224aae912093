"""A question about a clip as token ids, in the words and marks of a stock Qwen3-VL's own chat template."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from bridge_stg.errors import CheckpointError, InputError, one_line
from bridge_stg.model.processing import MAX_QUERY_TOKENS
from bridge_stg.prompting.templates import check_query
from bridge_stg.prompting.timestamps import pair_timestamps

_START, _END, _VIDEO_PAD, _IMAGE_PAD = "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>"
# Marks the question's place while the template is rendered; no template has a reason to change it.
_QUESTION = "(the question goes here)"
# Qwen3-VL's own template for one turn, for checkpoints that come without one.
_PLAIN_TURN = "<|im_start|>user\n{vision}{question}<|im_end|>\n<|im_start|>assistant\n"


class StockChat:
    """One user's turn with a clip and a question, and the opening of the answer.

    The text is that of the library's Qwen3-VL processor, which needs torchvision. As in the code that Qwen3-VL
    was released with, the timestamped pairs of a video take the place of the template's whole
    ``<|vision_start|><|video_pad|><|vision_end|>``; some later releases of the library leave an empty pair of
    marks around all of them.

    Args:
        template: the checkpoint's chat template; None for Qwen3-VL's turn as it is.
        name: of the checkpoint, for messages.

    Raises:
        CheckpointError: the template fails, or does not give one place for the clip and one for the question.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str | None, name: str) -> None:
        self.tokenizer: Any = tokenizer
        self.name = name
        self._turns = {pad: self._render(pad, template) for pad in (_VIDEO_PAD, _IMAGE_PAD)}
        added = [token.content for token in tokenizer.added_tokens_decoder.values()]
        self._added = re.compile(
            "|".join(re.escape(content) for content in added if len(content) > 1) or "(?!)"
        )

    @property
    def opens_thought(self) -> bool:
        """Whether the template begins the answer with ``<think>``, so that it starts inside of a thought."""
        return self._turns[_VIDEO_PAD].rstrip().endswith("<think>")

    def ids(
        self, question: str, grid: tuple[int, int, int], times: NDArray[np.float64] | None = None
    ) -> list[int]:
        """Token ids up to where the answer begins; whatever the question holds, none of it is a special token.

        Args:
            grid: (P, H, W) frame pairs and merged visual tokens per side.
            times: (F,) seconds of the sampled frames; None for an image.
        """
        pad = _IMAGE_PAD if times is None else _VIDEO_PAD
        pair = f"{_START}{pad * (grid[1] * grid[2])}{_END}"
        stamps = [""] if times is None else pair_timestamps(times)
        clip = "".join(stamp + pair for stamp in stamps)
        before, after = self._turns[pad].replace(f"{_START}{pad}{_END}", clip).split(_QUESTION)
        return [*self._template_ids(before), *self.plain_ids(question), *self._template_ids(after)]

    def check_query(self, query: str) -> None:
        """Raise InputError when a query is empty, no text, or longer than MAX_QUERY_TOKENS."""
        check_query(query)
        length = len(self.plain_ids(query))
        if length > MAX_QUERY_TOKENS:
            raise InputError(
                f"the query is {length} tokens long, the limit is {MAX_QUERY_TOKENS}; "
                "describe one event briefly"
            )

    def plain_ids(self, text: str) -> list[int]:
        """Ids of text from outside, without any special or added token.

        The tokenizer can be told to leave special tokens alone, but not those that are merely added
        (``<think>``, ``<tool_call>``): the text is cut after the first letter of each.
        """
        cuts = [match.start() + 1 for match in self._added.finditer(text)]
        ids: list[int] = []
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            piece = self.tokenizer(text[start:end], add_special_tokens=False, split_special_tokens=True)
            ids += piece["input_ids"]
        return ids

    def _template_ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _render(self, pad: str, template: str | None) -> str:
        """The turn with marks for the clip and for the question."""
        vision = f"{_START}{pad}{_END}"
        if template is None:
            return _PLAIN_TURN.format(vision=vision, question=_QUESTION)
        kind = "image" if pad == _IMAGE_PAD else "video"
        content = [{"type": kind}, {"type": "text", "text": _QUESTION}]
        try:
            turn: str = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception as problem:  # a template is a program: it can fail in any way
            line = one_line(problem)
            raise CheckpointError(f"{self.name}: the chat template cannot be rendered: {line}") from problem
        if turn.count(vision) != 1 or turn.count(_QUESTION) != 1:
            raise CheckpointError(
                f"{self.name}: the chat template gives {turn.count(vision)} places for a {kind} and "
                f"{turn.count(_QUESTION)} for the question, one of each is needed; it is not Qwen3-VL's"
            )
        return turn
