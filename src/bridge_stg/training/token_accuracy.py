"""How many labelled tokens a model says right, by kind of token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

# How a byte-level vocabulary writes the space before a word.
SPACE = "\u0120"


class TokenGroups:
    """Tokens by kind: the groups of given words, whole seconds, tenths of seconds, and all others.

    Args:
        words: word -> the name of its group.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, words: Mapping[str, str] | None = None) -> None:
        words = words or {}
        self.names = ["other", *dict.fromkeys(words.values()), "second", "tenth"]
        self.group_of = torch.zeros(len(tokenizer), dtype=torch.long)

        for token, index in tokenizer.get_vocab().items():
            word = token.replace(SPACE, "")
            if word in words:
                self.group_of[index] = self.names.index(words[word])
            elif word.isdigit():
                self.group_of[index] = self.names.index("second")
            elif word.startswith(".") and word[1:].isdigit():
                self.group_of[index] = self.names.index("tenth")

    def accuracy(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """How many of logits (N, V) are right about labels (N,), and how many there are, per group (G,)."""
        # On the device and without a look at the result: nothing waits for it.
        groups = nn.functional.one_hot(self.group_of.to(labels.device)[labels], len(self.names)).float()
        return (logits.argmax(-1) == labels).float() @ groups, groups.sum(0)
