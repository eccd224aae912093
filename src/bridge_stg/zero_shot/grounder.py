"""``ZeroShotGrounder``: when and where, asked of a stock Qwen3-VL in words.

The baseline of the comparison, and something that runs on real videos without any Bridge-STG weights: the model
is ``Qwen3VLForConditionalGeneration`` as transformers ships it, with the checkpoint's own tokenizer and chat
template, and it sees the clip in its own way (a timestamp before each frame pair, its own positions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import (
    PreTrainedTokenizerBase,
    Qwen3VLForConditionalGeneration,
)

from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.files.shipped import SHIPPED
from bridge_stg.inference.clip_cost import StageClock
from bridge_stg.inference.confidence import drop_unsure
from bridge_stg.inference.device import hub_options, prepare_device
from bridge_stg.inference.door import DEFAULT_OPTIONS, Grounder, OnCost, Progress, load_by_name
from bridge_stg.inference.extent import clip_extent, given_window, span_to_sample
from bridge_stg.inference.long_videos import ground_in_pieces, pieces_of
from bridge_stg.inference.options import GroundOptions
from bridge_stg.prompting.templates import check_queries
from bridge_stg.types import GroundingResult, SampledVideo, Task, TimeSpan
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.source import VideoInput, VideoSource, open_video
from bridge_stg.weights.locate import checkpoint_folder
from bridge_stg.weights.qwen3_vl import WHAT_TO_GIVE, load_stock_checkpoint
from bridge_stg.zero_shot.answers import zero_shot_question
from bridge_stg.zero_shot.chat import StockChat
from bridge_stg.zero_shot.stock_clip import StockClip, clip_cost, frames_with_boxes
from bridge_stg.zero_shot.stock_model import StockAnswer, StockModel

# One question serves them all: it asks for a window and boxes. The others ask for something else.
TASKS: tuple[Task, ...] = ("stvg", "vtg", "rec")
# A window, 24 boxes of about 36 tokens each (every digit is one), and some words around them.
MAX_ANSWER_TOKENS = 1024
# The rate of the paper (section 4.1), so that both methods see the same frames.
SAMPLE_FPS = 2.0


class ZeroShotGrounder(Grounder):
    """Grounds sentences in videos with a stock Qwen3-VL; the interface is that of ``VideoGrounder``.

    Examples:
        >>> grounder = ZeroShotGrounder.from_pretrained("Qwen/Qwen3-VL-4B-Instruct")   # doctest: +SKIP
        >>> grounder.ground("clip.mp4", "the man who opens the door")                  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Qwen3VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        chat_template: str | None = None,
    ) -> None:
        """Take a loaded model; its generation settings are replaced by greedy ones.

        Args:
            chat_template: None for Qwen3-VL's turn as it is.

        Raises:
            CheckpointError: the tokenizer or the template is not of this model.
        """
        self.stock = StockModel(model, tokenizer, name)
        self.model = self.stock.model
        self.name = name
        self.chat = StockChat(tokenizer, chat_template, name)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: str | None = None,
        dtype: Any = None,
        threads: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> Self:
        """Load a Qwen3-VL (dense, any size) from a folder or hub id.

        Args:
            device: "cpu", "cuda", ...; by default a GPU if there is one.
            dtype: a torch dtype or its name; by default float32 on a CPU and bfloat16 on a GPU.
            threads: of torch on a CPU; by default the free cores (``choose_threads``).
            revision: branch, tag or commit of a hub id.
            token: for a hub id that asks who you are; True for the one that is stored on this machine.

        Raises:
            CheckpointError: missing, truncated, or not a Qwen3-VL.
            InputError: torch cannot use that device or dtype.
        """
        if name in SHIPPED:
            raise CheckpointError(f"{name!r} is a Bridge-STG checkpoint; {WHAT_TO_GIVE}")
        folder = checkpoint_folder(name)
        device, dtype = prepare_device(device, dtype, threads)
        hub = hub_options(revision, token)
        stock = load_stock_checkpoint(folder, dtype, **hub)
        return cls(stock.model.to(device), stock.tokenizer, str(name), stock.template)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the name and not the weights: they are loaded again where it is opened."""
        return load_by_name, (type(self), self.name, str(self.model.device), str(self.model.dtype))

    @property
    def sample_fps(self) -> float:
        return SAMPLE_FPS

    @torch.inference_mode()
    def ground_with(
        self,
        video: VideoInput,
        queries: Sequence[str],
        options: GroundOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> list[GroundingResult]:
        """As ``VideoGrounder.ground_with``; each sentence is asked by itself, as in a chat of its own.

        Boxes are on the sampled frames inside the window, or at ``box_fps``: linear between the boxes of the
        answer, the nearest one before and after them. A given window replaces the answer's and leaves its
        boxes. Confidence and scores are the mean probability of a token of the answer, since it names none.

        Returns:
            ``ok`` with a window; without a tube if the answer names no box. The answer's window, else the time
            from its first to its last box (each stands for one sampled frame); ``no_window`` if it has neither.

        Raises:
            InputError: what is not in ``TASKS``, such as a sentence that gives a box to track.
        """
        # What cannot be asked is refused before anything is decoded.
        check_queries(queries)
        for text in queries:
            self.chat.check_query(text)
        if options.answer == "scan":
            raise InputError("a stock Qwen3-VL answers directly; leave the style of the answer out")
        if options.careful:
            raise InputError("a stock Qwen3-VL looks once; leave out careful")
        source = open_video(video, options.times)
        task = options.task_for(queries, source.still)
        if task not in TASKS:
            cure = "name one of these" if task != "vot" else "say in words what to find, without a box"
            raise InputError(f"a stock Qwen3-VL is asked {', '.join(TASKS)}, not {task}; {cure}")
        options.windows_for(len(queries))
        extent = clip_extent(source.info, options.clip)

        # A long video is read in pieces if the caller wants it.
        pieces = [extent]
        if options.chunk is not None and options.window is None and not source.still and task != "rec":
            pieces = pieces_of(extent, options.chunk)
        if len(pieces) == 1:
            found = self._ground_clip(source, queries, extent, options, StageClock(progress), on_cost)
            return [drop_unsure(result, options.min_confidence) for result in found]

        def in_piece(piece: TimeSpan, tell: Progress | None, count: OnCost) -> list[GroundingResult]:
            return self._ground_clip(source, queries, piece, options, StageClock(tell), count)

        found = ground_in_pieces(pieces, in_piece, progress, on_cost)
        return [drop_unsure(result, options.min_confidence) for result in found]

    def _ground_clip(
        self,
        source: VideoSource,
        queries: Sequence[str],
        extent: TimeSpan,
        options: GroundOptions,
        clock: StageClock,
        on_cost: OnCost | None,
    ) -> list[GroundingResult]:
        """All sentences in one part of the video."""
        # Read: one decoding for all sentences.
        image = source.still or options.task == "rec"
        windows = [extent] * len(queries) if image else options.windows_for(len(queries))
        given = None if windows is None else [given_window(window, extent) for window in windows]
        with clock.stage("decode"):
            sampled = self.sample(source, span=span_to_sample("rec" if image else "stvg", extent))
        with clock.stage("preprocess"):
            inputs, merged = self.stock.vision_inputs(sampled, image)

        # Answer: one sentence at a time.
        limit = options.max_answer_tokens or MAX_ANSWER_TOKENS
        seconds = None if image else np.maximum(sampled.times - extent.start, 0.0)
        prompts = [self.chat.ids(zero_shot_question(text, image), merged, seconds) for text in queries]
        said: list[StockAnswer] = []
        for ids in prompts:
            with clock.stage("answer"):
                said.append(self.stock.answer(ids, inputs, limit))

        # Each answer as a result.
        wanted: list[TimeSpan | None] = [None] * len(said) if given is None else [*given]
        moments = frames_with_boxes(source, sampled, None if image else options.box_fps, extent)
        clip = StockClip(source, extent, sampled, image, moments, self.chat.opens_thought)
        results = [
            clip.result(query, one, window, self.name, limit)
            for query, one, window in zip(queries, said, wanted, strict=True)
        ]
        if options.timing:
            results = [replace(result, timing_ms=dict(clock.milliseconds)) for result in results]

        # What it took.
        if on_cost is not None:
            on_cost(clip_cost(sampled, merged, prompts, said, clock))
        return results

    def sample(
        self,
        video: VideoInput | VideoSource,
        fps: float | None = None,
        span: TimeSpan | None = None,
        times: Sequence[float] | None = None,
    ) -> SampledVideo:
        """Frames of a video at the size and, by default, the rate that the model reads."""
        rate = SAMPLE_FPS if fps is None else fps
        return sample_video(video, fps=rate, frame_size=self.stock.frame_size, span=span, times=times)
