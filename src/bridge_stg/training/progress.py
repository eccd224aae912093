"""What a run writes down: one JSON line every few steps, averaged since the last one."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bridge_stg.data.shapes.objects import ACTIONS, COLOURS, SHAPES


class TokenGroups:
    """Accuracy of labelled tokens by kind: colour, shape, action, number, or another word."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        words = dict.fromkeys(COLOURS, "colour") | dict.fromkeys(SHAPES, "shape")
        words |= {word: "action" for kind in ACTIONS for word in kind.split()} | {"rests": "action"}
        self.names = ["other", "colour", "shape", "action", "second", "tenth"]
        self.group_of = torch.zeros(len(tokenizer), dtype=torch.long)
        for token, index in tokenizer.get_vocab().items():
            word = token.replace("\u0120", "")
            if word in words:
                self.group_of[index] = self.names.index(words[word])
            elif word.isdigit():
                self.group_of[index] = self.names.index("second")
            elif word.startswith(".") and word[1:].isdigit():
                self.group_of[index] = self.names.index("tenth")

    def accuracy(self, logits: Tensor, labels: Tensor) -> dict[str, tuple[int, int]]:
        """(right, asked) per group for logits (N, V) and labels (N,)."""
        right = logits.argmax(-1) == labels
        group = self.group_of[labels.cpu()].to(labels.device)
        return {
            name: (int(right[group == index].sum()), int((group == index).sum()))
            for index, name in enumerate(self.names)
        }


class RunLog:
    """Averages values and appends them to ``log.jsonl``.

    A run that goes on from step ``start`` was logged further than that before it was stopped; those lines are
    dropped, because the steps are about to be done again.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        if path.is_file():
            _keep_until(path, start)
        self.sums: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)
        self.started = time.perf_counter()
        self.clips = 0

    def add(self, name: str, value: float, count: int = 1) -> None:
        """Add ``value``, a sum over ``count`` items."""
        self.sums[name] += value
        self.counts[name] += count

    def write(self, step: int, **facts: float) -> dict[str, float]:
        """Append one line with the averages since the last one and start anew."""
        seconds = time.perf_counter() - self.started
        line: dict[str, float] = {"step": step, **facts, "seconds": round(seconds, 2)}
        line["clips_per_second"] = round(self.clips / max(seconds, 1e-9), 2)
        for name, count in self.counts.items():
            if count:
                line[name] = round(self.sums[name] / count, 5)
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        self.sums.clear()
        self.counts.clear()
        self.started, self.clips = time.perf_counter(), 0
        return line


def _keep_until(path: Path, step: int) -> None:
    """Keep the lines up to ``step``; a last line that was cut off in writing goes too."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n") and json.loads(line)["step"] <= step:
            kept.append(line)
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(kept), encoding="utf-8")
    os.replace(fresh, path)
