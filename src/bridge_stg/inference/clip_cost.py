"""What answering the sentences of one clip took: frames, tokens, and milliseconds by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class ClipCost:
    """The cost of one clip (the columns of Table 9).

    ``frames`` were read by the language model at ``frame_width`` x ``frame_height`` pixels, out of a source of
    ``source_fps``; ``visual_tokens`` is what they became. The tuples have one number per sentence:
    ``prompt_tokens`` of clip and question, ``answer_tokens`` generated, ``located_frames`` given to the spatial
    decoder. ``milliseconds`` are of the whole clip, by stage.
    """

    frames: int
    frame_width: int
    frame_height: int
    source_fps: float
    visual_tokens: int
    prompt_tokens: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    located_frames: tuple[int, ...]
    milliseconds: dict[str, float]

    def of_rows(self, rows: Sequence[int], count: int) -> ClipCost:
        """The cost of more words and boxes for some of ``count`` sentences, of a clip that was read before."""

        def spread(values: tuple[int, ...]) -> tuple[int, ...]:
            found = dict(zip(rows, values, strict=True))
            return tuple(found.get(row, 0) for row in range(count))

        return replace(
            self,
            frames=0,
            visual_tokens=0,
            prompt_tokens=spread(self.prompt_tokens),
            answer_tokens=spread(self.answer_tokens),
            located_frames=spread(self.located_frames),
        )

    @property
    def queries(self) -> int:
        return len(self.answer_tokens)


class StageClock:
    """Milliseconds by stage; a stage that is entered again adds to its own."""

    def __init__(self, progress: Callable[[str], None] | None = None) -> None:
        self.milliseconds: dict[str, float] = {}
        self.progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self.progress is not None:
            self.progress(name)
        started = time.perf_counter()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        elapsed = (time.perf_counter() - started) * 1000
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + elapsed
