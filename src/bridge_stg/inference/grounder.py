"""``VideoGrounder``: a video and sentences in, windows and tubes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.geometry.spans import sampled_in_span
from bridge_stg.inference.answering import MAX_ANSWER_TOKENS, answer, bridge_answers, read_clip
from bridge_stg.inference.cost import ClipCost, StageClock
from bridge_stg.inference.device import hub_options, prepare_device
from bridge_stg.inference.locating import locate_frames
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.parsing import parse_window
from bridge_stg.prompting.templates import check_queries
from bridge_stg.types import LOCATED_TASKS, GroundingResult, SampledVideo, Status, Task, TimeSpan, Tube
from bridge_stg.video.images import is_still_image
from bridge_stg.video.sampling import sample_video
from bridge_stg.weights.adapter_files import is_adapter_folder

SHIPPED = ("shapes",)
# What bounds memory: every sentence of a chunk holds a copy of the clip's cache.
SENTENCES_PER_CHUNK = 8
Progress = Callable[[str], None]


def checkpoint_folder(name: str) -> str:
    """The folder of a shipped checkpoint or of a path, or the name itself when it is a hub id.

    A shipped name always means the shipped checkpoint; a folder that happens to be called so is ``./shapes``.

    Raises:
        CheckpointError: the shipped checkpoint is not installed, a path leads nowhere, or to something else
            that training writes.
    """
    if name in SHIPPED:
        folder = resources.files("bridge_stg") / "checkpoints" / name
        if not folder.is_dir():
            raise CheckpointError(
                f"the shipped checkpoint {name!r} is not part of this installation; reinstall it"
            )
        return str(folder)
    path = Path(name).expanduser()
    if path.is_dir():
        if (path / "checkpoint" / "config.json").is_file():
            raise CheckpointError(f"{name}: is the folder of a run; give {path / 'checkpoint'}")
        if is_adapter_folder(path):
            raise CheckpointError(
                f"{name}: holds what LoRA tuning learned, without its base; merge both first: "
                f"bridge-stg merge {name} --out FOLDER"
            )
        return str(path)
    if path.exists():
        raise CheckpointError(f"{name}: is a file; give the checkpoint's folder")
    # A hub id is "owner/name"; nothing else is asked for there, nor a missing folder beside existing ones.
    if len(path.parts) != 2 or path.is_absolute() or name.startswith((".", "~")) or path.parent.is_dir():
        known = ", ".join(SHIPPED)
        raise CheckpointError(
            f"{name}: no such folder; give {known}, a checkpoint's folder or a hub id owner/name"
        )
    return name


class VideoGrounder:
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
        name: str = "shapes",
        device: str | None = None,
        dtype: Any = None,
        threads: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> VideoGrounder:
        """Load a shipped checkpoint by name, a folder, or a hub id.

        Args:
            device: "cpu", "cuda", ...; by default a GPU if there is one.
            dtype: a torch dtype; by default float32 on a CPU and bfloat16 on a GPU.
            threads: of torch on a CPU; by default the free cores (``choose_threads``).
            revision: branch, tag or commit of a hub id.
            token: for a hub id that asks who you are; True for the one that is stored on this machine.

        Raises:
            CheckpointError: missing, truncated, or not a Bridge-STG checkpoint.
            InputError: torch cannot use that device.
        """
        folder = checkpoint_folder(name)
        device, dtype = prepare_device(device, dtype, threads)
        hub = hub_options(revision, token)
        processor = BridgeSTGProcessor.from_pretrained(folder, **hub)
        model = BridgeSTGForVideoGrounding.from_pretrained(folder, dtype=dtype, **hub)
        return cls(model.to(device), processor, name)

    @overload
    def ground(self, video: str | Path, query: str, **options: Any) -> GroundingResult: ...
    @overload
    def ground(self, video: str | Path, query: Sequence[str], **options: Any) -> list[GroundingResult]: ...
    def ground(
        self, video: str | Path, query: str | Sequence[str], **options: Any
    ) -> GroundingResult | list[GroundingResult]:
        """Find when and where one sentence, or each of several, happens.

        Several sentences share one decoding of the video and one pass of the vision tower.

        Args:
            video: a file, a folder of images, or an image. A single image has no time: the sentence is looked
                for in it as a referring expression, and the window is all of it.
            query: one sentence, or several.
            options: ``times`` (seconds of a folder's images), ``box_fps`` (boxes per second; default: the
                sampled frames), ``window`` (a TimeSpan that replaces the predicted one, or one per sentence),
                ``progress`` (called with the name of each stage), ``max_answer_tokens`` (an answer is cut
                there), ``timing`` (milliseconds of each stage in the result), ``task``, ``clip`` and
                ``on_cost`` as in ``ground_many``.

        Raises:
            InputError: an empty or too long query, or a window outside the video.
            VideoError: a video that cannot be read.
        """
        single = isinstance(query, str)
        results = self.ground_many(video, [query] if isinstance(query, str) else query, **options)
        return results[0] if single else results

    @torch.inference_mode()
    def ground_many(
        self,
        video: str | Path,
        queries: Sequence[str],
        times: Sequence[float] | None = None,
        box_fps: float | None = None,
        window: TimeSpan | Sequence[TimeSpan] | None = None,
        progress: Progress | None = None,
        max_answer_tokens: int = MAX_ANSWER_TOKENS,
        timing: bool = False,
        task: Task | None = None,
        clip: TimeSpan | None = None,
        on_cost: Callable[[ClipCost], None] | None = None,
    ) -> list[GroundingResult]:
        """``ground`` for a list of sentences, with its options by name.

        Args:
            task: what is asked: "stvg" (window and boxes), "vtg" (window), "vot" (boxes in the whole clip),
                "rec" (one box in the frame that is shown when the clip begins, read as an image) or "vqa" (an
                answer in words, without window). By default "rec" for an image and "stvg" for a video.
            clip: only this part of the video is read, as if it were a video of its own; windows and box times
                of the results are on the clock of the file all the same.
            on_cost: called with what the clip took.
        """
        check_queries(queries)
        still = is_still_image(Path(video))
        if task is None:
            task = "rec" if still else "stvg"
        questions = [self.processor.question_ids(task, text) for text in queries]
        clock = StageClock(progress)
        with clock.stage("decode"):
            # The frame that is shown when the clip begins: a span without length holds nothing else.
            begin = 0.0 if clip is None else clip.start
            sampled = self.sample(video, span=TimeSpan(begin, begin) if task == "rec" else clip, times=times)
        extent = TimeSpan(0.0, sampled.info.duration)
        if clip is not None:
            extent = _inside(clip, extent)
        given = _given_windows(window, extent, len(queries))
        if task in ("vot", "rec"):
            given = [extent] * len(queries)
        with clock.stage("preprocess"):
            patches, grid = self.processor.patches(sampled.frames)
            seconds = np.maximum(sampled.times - extent.start, 0.0)
            layout = self.processor.clip(grid, None if still or task == "rec" else seconds)
        with clock.stage("vision"):
            vision = self.model.encode_video(
                patches.to(self.model.device), torch.tensor([grid], device=self.model.device)
            )
        with clock.stage("prefill"):
            read = read_clip(self.model, layout, vision)
        texts: list[str] = []
        counts: list[int] = []
        bridges = []
        for first in range(0, len(questions), SENTENCES_PER_CHUNK):
            with clock.stage("answer"):
                chunk = questions[first : first + SENTENCES_PER_CHUNK]
                answers = answer(self.model, read, chunk, self.processor.turn_end, max_answer_tokens)
            if task in LOCATED_TASKS:
                with clock.stage("bridge"):
                    bridges.append(bridge_answers(self.model, read, answers))
            texts += [self.processor.tokenizer.decode(ids).strip() for ids in answers.ids]
            counts += [len(ids) for ids in answers.ids]
        outcomes: list[tuple[Status, TimeSpan | None]]
        if task == "vqa":
            outcomes = [("ok", None)] * len(texts)
        elif given is not None:
            outcomes = [("ok", span) for span in given]
        else:
            outcomes = [_on_file_clock(read_window(text, extent.length), extent) for text in texts]
        tubes: list[Tube | None] = [None] * len(texts)
        if task in LOCATED_TASKS:
            with clock.stage("spatial"):
                spans = [span for _, span in outcomes]
                rate = None if task == "rec" else box_fps
                tubes = self.locate(video, sampled, spans, torch.cat(bridges), rate, times)
        if on_cost is not None:
            merged = self.processor.merged_grid(grid)
            on_cost(
                ClipCost(
                    frames=len(sampled),
                    frame_width=sampled.frames.shape[2],
                    frame_height=sampled.frames.shape[1],
                    source_fps=float(sampled.info.fps),
                    visual_tokens=merged[0] * merged[1] * merged[2],
                    prompt_tokens=tuple(read.length + len(question) for question in questions),
                    answer_tokens=tuple(counts),
                    located_frames=tuple(0 if tube is None else len(tube) for tube in tubes),
                    milliseconds=dict(clock.milliseconds),
                )
            )
        return [
            GroundingResult(
                video=str(video),
                query=text,
                status=status,
                answer=said,
                info=sampled.info,
                sampled_fps=sampled.sampled_fps,
                checkpoint=self.name,
                window=span,
                tube=tube,
                timing_ms=dict(clock.milliseconds) if timing else {},
                notes=(*sampled.notes, *_cut_notes(count, max_answer_tokens)),
            )
            for text, said, count, (status, span), tube in zip(
                queries, texts, counts, outcomes, tubes, strict=True
            )
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
        given = None if times is None else list(times)
        return sample_video(video, fps=rate, frame_size=self.processor.frame_size, span=span, times=given)

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
        if box_fps is None:
            shown = 1 / sampled.info.fps
            wanted = {index: sampled_in_span(sampled.times, span, shown) for index, span in located.items()}
            tubes = locate_frames(self.model, self.processor, sampled, wanted, bridge)
        else:
            tubes = {}
            for index, span in located.items():
                dense = self.sample(video, fps=box_fps, span=span, times=times)
                # The frame on screen when the window opens may have appeared before it.
                frames = {index: sampled_in_span(dense.times, span, 1 / dense.info.fps)}
                tubes |= locate_frames(self.model, self.processor, dense, frames, bridge)
        return [tubes.get(index) for index in range(len(spans))]


def read_window(text: str, duration: float) -> tuple[Status, TimeSpan | None]:
    """The window an answer names, cut to the video; a reason instead where there is none."""
    numbers = parse_window(text)
    if numbers is None:
        return "no_window", None
    start, end = max(numbers[0], 0.0), min(numbers[1], duration)
    if end <= start:
        return "empty_window", None
    return "ok", TimeSpan(start, end)


def _inside(window: TimeSpan, extent: TimeSpan) -> TimeSpan:
    """A given window, cut to what is read of the video."""
    start, end = max(window.start, extent.start), min(window.end, extent.end)
    if end <= start:
        what = "video" if extent.start == 0 else f"clip [{extent.start:.2f}, {extent.end:.2f}) s of the video"
        raise InputError(
            f"window [{window.start:.2f}, {window.end:.2f}) s is empty or outside the {what} of "
            f"{extent.length:.2f} s"
        )
    return TimeSpan(start, end)


def _cut_notes(tokens: int, limit: int) -> tuple[str, ...]:
    """An answer that ended by itself has fewer tokens than the limit: the last one is its end."""
    return (f"the answer was cut at {limit} tokens",) if tokens >= limit else ()


def _given_windows(
    window: TimeSpan | Sequence[TimeSpan] | None, extent: TimeSpan, count: int
) -> list[TimeSpan] | None:
    """One window per sentence, if the caller gives them."""
    if window is None:
        return None
    windows = [window] * count if isinstance(window, TimeSpan) else list(window)
    if len(windows) != count:
        raise InputError(f"{count} queries need one window, or {count}, got {len(windows)}")
    return [_inside(one, extent) for one in windows]


def _on_file_clock(outcome: tuple[Status, TimeSpan | None], extent: TimeSpan) -> tuple[Status, TimeSpan | None]:
    """A window that was read on the clock of the clip, on the clock of the file."""
    status, span = outcome
    if span is None or extent.start == 0:
        return outcome
    return status, TimeSpan(span.start + extent.start, min(span.end + extent.start, extent.end))
