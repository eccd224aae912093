"""``VideoGrounder``: a video and sentences in, windows and tubes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridge_stg.geometry.clock import shown_for
from bridge_stg.geometry.spans import sampled_in_span
from bridge_stg.inference.answering import MAX_ANSWER_TOKENS, ReadClip, answer, bridge_answers, read_clip
from bridge_stg.inference.cost import ClipCost, StageClock
from bridge_stg.inference.device import hub_options, prepare_device
from bridge_stg.inference.door import DEFAULT_OPTIONS, Grounder, OnCost, Progress
from bridge_stg.inference.extent import clip_extent, given_window, span_to_sample
from bridge_stg.inference.locating import locate_frames
from bridge_stg.inference.options import GroundOptions
from bridge_stg.inference.outcome import Outcome, cut_note, read_outcome
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.templates import check_queries
from bridge_stg.types import (
    LOCATED_TASKS,
    WHOLE_CLIP_TASKS,
    GroundingResult,
    SampledVideo,
    Task,
    TimeSpan,
    Tube,
)
from bridge_stg.video.images import is_still_image
from bridge_stg.video.sampling import sample_video
from bridge_stg.weights.locate import checkpoint_folder

# What bounds memory: every sentence of a chunk holds a copy of the clip's cache.
SENTENCES_PER_CHUNK = 8


@dataclass(frozen=True)
class _Clip:
    """A clip that the language model has read. ``grid`` (P, H, W) is in merged visual tokens."""

    extent: TimeSpan
    grid: tuple[int, int, int]
    read: ReadClip


@dataclass(frozen=True)
class _Answers:
    """What was said about S sentences; ``bridge`` (S, M, D) is None where no boxes are wanted."""

    texts: list[str]
    tokens: list[int]
    bridge: Tensor | None


class VideoGrounder(Grounder):
    """Grounds sentences in videos with one loaded checkpoint.

    >>> grounder = VideoGrounder.from_pretrained("shapes")              # doctest: +SKIP
    >>> grounder.ground("clip.mp4", "the red circle that moves left")   # doctest: +SKIP
    """

    def __init__(self, model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, name: str) -> None:
        self.model = model.eval()
        self.processor = processor
        self.name = name

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "shapes",
        device: str | None = None,
        dtype: Any = None,
        threads: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> VideoGrounder:
        """Load a shipped checkpoint by name, a folder, or a hub id.

        Args:
            device: "cpu", "cuda", ...; by default a GPU if there is one.
            dtype: a torch dtype or its name; by default float32 on a CPU and bfloat16 on a GPU.
            threads: of torch on a CPU; by default the free cores (``choose_threads``).
            revision: branch, tag or commit of a hub id.
            token: for a hub id that asks who you are; True for the one that is stored on this machine.

        Raises:
            CheckpointError: missing, truncated, or not a Bridge-STG checkpoint.
            InputError: torch cannot use that device or dtype.
        """
        folder = checkpoint_folder(name)
        device, dtype = prepare_device(device, dtype, threads)
        hub = hub_options(revision, token)
        processor = BridgeSTGProcessor.from_pretrained(folder, **hub)
        model = BridgeSTGForVideoGrounding.from_pretrained(folder, dtype=dtype, **hub)
        return cls(model.to(device), processor, str(name))

    @torch.inference_mode()
    def ground_with(
        self,
        video: str | Path,
        queries: Sequence[str],
        options: GroundOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> list[GroundingResult]:
        # Ask: what cannot be asked is refused before anything is decoded.
        check_queries(queries)
        still = is_still_image(Path(video))
        task: Task = options.task or ("rec" if still else "stvg")
        questions = [self.processor.question_ids(task, text) for text in queries]
        windows = options.windows_for(len(queries))
        limit = options.max_answer_tokens or MAX_ANSWER_TOKENS
        clock = StageClock(progress)

        # Read: one decoding, one pass of the vision tower, one prefill for all sentences.
        with clock.stage("decode"):
            sampled = self.sample(video, span=span_to_sample(task, options.clip), times=options.times)
        extent = clip_extent(sampled.info, options.clip)
        given = None if windows is None else [given_window(window, extent) for window in windows]
        clip = self._read(sampled, extent, timed=not still and task != "rec", clock=clock)

        # Answer: in words, then with the bridging queries where boxes are wanted.
        said = self._answer(clip, questions, task in LOCATED_TASKS, limit, clock)

        # Which window counts: the whole clip where the task says so, the caller's, or the one of the answer.
        if task == "vqa":
            outcomes = [Outcome("ok") for _ in said.texts]
        elif task in WHOLE_CLIP_TASKS:
            outcomes = [Outcome("ok", extent) for _ in said.texts]
        elif given is not None:
            outcomes = [Outcome("ok", span) for span in given]
        else:
            outcomes = [read_outcome(text, extent) for text in said.texts]

        # Locate: the spatial decoder on the frames of each window.
        tubes: list[Tube | None] = [None] * len(queries)
        if said.bridge is not None:
            with clock.stage("spatial"):
                spans = [outcome.window for outcome in outcomes]
                rate = None if task == "rec" else options.box_fps
                tubes = self.locate(video, sampled, spans, said.bridge, rate, options.times)

        # Results, in the order of the sentences.
        if on_cost is not None:
            on_cost(_cost(sampled, clip, questions, said, tubes, clock))
        return [
            GroundingResult(
                video=str(video),
                query=queries[index],
                status=outcome.status,
                answer=said.texts[index],
                info=sampled.info,
                sampled_fps=sampled.sampled_fps,
                checkpoint=self.name,
                window=outcome.window,
                tube=tubes[index],
                timing_ms=dict(clock.milliseconds) if options.timing else {},
                notes=(*sampled.notes, *cut_note(said.tokens[index] >= limit, limit)),
            )
            for index, outcome in enumerate(outcomes)
        ]

    def sample(
        self,
        video: str | Path,
        fps: float | None = None,
        span: TimeSpan | None = None,
        times: Sequence[float] | None = None,
    ) -> SampledVideo:
        """Frames of a video at the size and, by default, the rate that the model reads."""
        rate = self.processor.config.sample_fps if fps is None else fps
        return sample_video(video, fps=rate, frame_size=self.processor.frame_size, span=span, times=times)

    def locate(
        self,
        video: str | Path,
        sampled: SampledVideo,
        spans: Sequence[TimeSpan | None],
        bridge: Tensor,
        box_fps: float | None,
        times: Sequence[float] | None,
    ) -> list[Tube | None]:
        """QGSL on the frames inside each sentence's window; None where there is no window.

        The sampled frames are shared by all sentences and decoded in chunks, so that memory does not grow with
        the length of the window.

        Args:
            sampled: the frames the language model read; they get the boxes unless ``box_fps`` asks for others.
            spans: S windows. bridge: (S, M, D) their bridging queries.
        """
        located = {index: span for index, span in enumerate(spans) if span is not None}

        # On the frames that were read.
        if box_fps is None:
            shown = shown_for(sampled)
            wanted = {index: sampled_in_span(sampled.times, span, shown) for index, span in located.items()}
            tubes = locate_frames(self.model, self.processor, sampled, wanted, bridge)
            return [tubes.get(index) for index in range(len(spans))]

        # On others, decoded window by window.
        tubes = {}
        for index, span in located.items():
            dense = self.sample(video, fps=box_fps, span=span, times=times)
            # The frame on screen when the window opens may have appeared before it.
            frames = {index: sampled_in_span(dense.times, span, shown_for(dense))}
            tubes |= locate_frames(self.model, self.processor, dense, frames, bridge)
        return [tubes.get(index) for index in range(len(spans))]

    def _read(self, sampled: SampledVideo, extent: TimeSpan, timed: bool, clock: StageClock) -> _Clip:
        """One pass of the vision tower and one prefill; ``timed`` writes a timestamp beside each frame pair."""
        with clock.stage("preprocess"):
            patches, grid = self.processor.patches(sampled.frames)
            # The model's clock begins with the clip.
            seconds = np.maximum(sampled.times - extent.start, 0.0) if timed else None
            layout = self.processor.clip(grid, seconds)

        device = self.model.device
        with clock.stage("vision"):
            vision = self.model.encode_video(patches.to(device), torch.tensor([grid], device=device))
        with clock.stage("prefill"):
            read = read_clip(self.model, layout, vision)
        return _Clip(extent, self.processor.merged_grid(grid), read)

    def _answer(
        self, clip: _Clip, questions: Sequence[Sequence[int]], located: bool, limit: int, clock: StageClock
    ) -> _Answers:
        """The answers of all sentences, some at a time, since each holds a copy of the clip's cache."""
        texts: list[str] = []
        tokens: list[int] = []
        bridges: list[Tensor] = []
        for first in range(0, len(questions), SENTENCES_PER_CHUNK):
            chunk = questions[first : first + SENTENCES_PER_CHUNK]
            with clock.stage("answer"):
                answers = answer(self.model, clip.read, chunk, self.processor.turn_end, limit)
            if located:
                with clock.stage("bridge"):
                    bridges.append(bridge_answers(self.model, clip.read, answers))
            texts += [self.processor.tokenizer.decode(ids).strip() for ids in answers.ids]
            tokens += [len(ids) for ids in answers.ids]
        return _Answers(texts, tokens, torch.cat(bridges) if bridges else None)


def _cost(
    sampled: SampledVideo,
    clip: _Clip,
    questions: Sequence[Sequence[int]],
    said: _Answers,
    tubes: Sequence[Tube | None],
    clock: StageClock,
) -> ClipCost:
    pairs, height, width = clip.grid
    return ClipCost(
        frames=len(sampled),
        frame_width=sampled.frames.shape[2],
        frame_height=sampled.frames.shape[1],
        source_fps=float(sampled.info.fps),
        visual_tokens=pairs * height * width,
        prompt_tokens=tuple(clip.read.length + len(question) for question in questions),
        answer_tokens=tuple(said.tokens),
        located_frames=tuple(0 if tube is None else len(tube) for tube in tubes),
        milliseconds=dict(clock.milliseconds),
    )
