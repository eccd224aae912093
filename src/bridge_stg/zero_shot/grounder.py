"""``ZeroShotGrounder``: when and where, asked of a stock Qwen3-VL in words.

The baseline of the comparison, and something that runs on real videos without any Bridge-STG weights: the model
is ``Qwen3VLForConditionalGeneration`` as transformers ships it, with the checkpoint's own tokenizer and chat
template, and it sees the clip in its own way (a timestamp before each frame pair, its own positions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    Qwen3VLForConditionalGeneration,
)

from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.files.shipped import SHIPPED
from bridge_stg.geometry.clock import clock_of
from bridge_stg.geometry.spans import boxes_at, sampled_in_span
from bridge_stg.inference.confidence import EDGE, drop_unsure
from bridge_stg.inference.cost import ClipCost, StageClock
from bridge_stg.inference.device import hub_options, prepare_device
from bridge_stg.inference.door import DEFAULT_OPTIONS, Grounder, OnCost, Progress, load_by_name
from bridge_stg.inference.extent import clip_extent, given_window, span_to_sample
from bridge_stg.inference.long_videos import ground_in_pieces, pieces_of
from bridge_stg.inference.notes import cut_note
from bridge_stg.inference.options import GroundOptions
from bridge_stg.inference.outcome import Outcome, cut_outcome
from bridge_stg.model.frames import fit_frame_size, patchify
from bridge_stg.model.vision_attention import batch_equal_pairs
from bridge_stg.prompting.templates import check_queries
from bridge_stg.types import GroundingResult, SampledVideo, ScoredSpan, Status, Task, TimeSpan, Tube, VideoInfo
from bridge_stg.video.sampling import frames_to_sample, sample_video
from bridge_stg.video.source import VideoInput, VideoSource, open_video
from bridge_stg.weights.locate import checkpoint_folder
from bridge_stg.weights.qwen3_vl import WHAT_TO_GIVE, load_stock_model
from bridge_stg.zero_shot.answers import (
    ZeroShotAnswer,
    parse_image_answer,
    parse_video_answer,
    zero_shot_question,
)
from bridge_stg.zero_shot.chat import StockChat

# One question serves them all: it asks for a window and boxes. The others ask for something else.
TASKS: tuple[Task, ...] = ("stvg", "vtg", "rec")
# A window, 24 boxes of about 36 tokens each (every digit is one), and some words around them.
MAX_ANSWER_TOKENS = 1024
# The rate and the budget of the paper (section 4.1, Table 9), so that both methods see the same frames.
SAMPLE_FPS = 2.0
MAX_TOKENS_PER_FRAME = 192
# The tokens that a clip is written with, by the fields of the configuration that must name them.
_MARKS = {
    "<|vision_start|>": "vision_start_token_id",
    "<|vision_end|>": "vision_end_token_id",
    "<|video_pad|>": "video_token_id",
    "<|image_pad|>": "image_token_id",
}


@dataclass(frozen=True)
class StockAnswer:
    """An answer, its tokens, whether it was cut at their limit, and the mean probability of a token of it."""

    text: str
    tokens: int
    cut: bool
    probability: float


class _TokenProbabilities(LogitsProcessor):  # type: ignore[misc]
    """Notes how probable each greedy token is, and changes nothing."""

    def __init__(self) -> None:
        self.log_probs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.log_probs.append(scores[0].float().log_softmax(-1).amax())
        return scores

    @property
    def mean(self) -> float:
        """The geometric mean, inside of (0, 1)."""
        probability = float(torch.stack(self.log_probs).mean().exp()) if self.log_probs else 0.5
        return min(max(probability, EDGE), 1 - EDGE)


class ZeroShotGrounder(Grounder):
    """Grounds sentences in videos with a stock Qwen3-VL; the interface is that of ``VideoGrounder``.

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
        self.model: Any = model.eval()
        self.tokenizer: Any = tokenizer
        self.name = name
        for token, field in _MARKS.items():
            found, wanted = tokenizer.convert_tokens_to_ids(token), getattr(model.config, field)
            if found != wanted:
                raise CheckpointError(
                    f"{name}: the tokenizer gives {token} the id {found}, the configuration's {field} is "
                    f"{wanted}: they are not of the same Qwen3-VL"
                )
        self.chat = StockChat(tokenizer, chat_template, name)
        turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        ends = self.model.generation_config.eos_token_id
        given = ends if isinstance(ends, list) else [] if ends is None else [ends]
        self._ends = sorted({*given, turn_end})
        pad = tokenizer.pad_token_id
        # The published settings draw at random; a baseline must give the same answer twice.
        self.model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=self._ends, pad_token_id=turn_end if pad is None else pad
        )
        # The same numbers, without a loop over frame pairs in Python.
        batch_equal_pairs(self.model.model.visual)

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
        stock = load_stock_model(folder, dtype, **hub)
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
        """
        # What cannot be asked is refused before anything is decoded.
        check_queries(queries)
        for text in queries:
            self.chat.check_query(text)
        if options.task not in (None, *TASKS):
            raise InputError(f"a stock Qwen3-VL is asked {', '.join(TASKS)}, not {options.task}")
        if options.answer == "scan":
            raise InputError("a stock Qwen3-VL answers directly; leave the style of the answer out")
        source = open_video(video, options.times)
        options.windows_for(len(queries))
        extent = clip_extent(source.info, options.clip)

        # A long video is read in pieces if the caller wants it.
        pieces = [extent]
        if options.chunk is not None and options.window is None and not source.still and options.task != "rec":
            pieces = pieces_of(extent, options.chunk)
        if len(pieces) == 1:
            found = self._ground_clip(source, queries, extent, options, StageClock(progress), on_cost)
            return [drop_unsure(result, options.min_confidence) for result in found]

        def in_piece(piece: TimeSpan, tell: Progress | None, count: OnCost) -> list[GroundingResult]:
            return self._ground_clip(source, queries, piece, options, StageClock(tell), count)

        found = ground_in_pieces(pieces, in_piece, (), progress, on_cost)
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
            inputs, merged = self._vision_inputs(sampled, image)

        # Answer: one sentence at a time.
        limit = options.max_answer_tokens or MAX_ANSWER_TOKENS
        seconds = None if image else np.maximum(sampled.times - extent.start, 0.0)
        prompts = [self.chat.ids(zero_shot_question(text, image), merged, seconds) for text in queries]
        said: list[StockAnswer] = []
        for ids in prompts:
            with clock.stage("answer"):
                said.append(self.generate(ids, inputs, limit))

        # Which window counts, and where: both are in the words of the answer.
        rate = None if image else options.box_fps
        moments = _moments(source, sampled, rate, extent)
        results = []
        for index, answer in enumerate(said):
            # A template can open the thought itself; the answer then begins in the middle of it.
            whole = "<think>" + answer.text if self.chat.opens_thought else answer.text
            read = parse_image_answer(whole) if image else parse_video_answer(whole, extent.length)
            outcome = zero_shot_outcome(
                read, given[index] if given else None, image, extent, 1 / sampled.sampled_fps
            )
            window = outcome.windows[0] if outcome.windows else None
            tube = _tube(read, window, sampled.info, moments, extent.start, answer.probability)
            results.append(
                GroundingResult(
                    video=source.name,
                    query=queries[index],
                    status=outcome.status,
                    answer=answer.text,
                    info=sampled.info,
                    sampled_fps=sampled.sampled_fps,
                    checkpoint=self.name,
                    window=window,
                    tube=tube,
                    timing_ms=dict(clock.milliseconds) if options.timing else {},
                    notes=(*sampled.notes, *_notes(read, answer.cut, limit, outcome.status, tube)),
                    windows=tuple(ScoredSpan(one, answer.probability) for one in outcome.windows),
                    confidence=answer.probability if outcome.windows else None,
                    answer_style=None if image else "direct",
                )
            )

        # What it took.
        if on_cost is not None:
            on_cost(_cost(sampled, merged, prompts, said, clock))
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
        return sample_video(video, fps=rate, frame_size=self.frame_size, span=span, times=times)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) at which a source of that size is read."""
        vision: Any = self.model.config.vision_config
        side = int(vision.patch_size) * int(vision.spatial_merge_size)
        return fit_frame_size(width, height, side, MAX_TOKENS_PER_FRAME)

    def _vision_inputs(
        self, sampled: SampledVideo, image: bool
    ) -> tuple[dict[str, Tensor], tuple[int, int, int]]:
        """What the vision tower reads, under the library's names, and (P, H, W) in merged visual tokens."""
        vision: Any = self.model.config.vision_config
        merge = int(vision.spatial_merge_size)
        patches, grid = patchify(sampled.frames, int(vision.patch_size), merge)
        device = self.model.device
        kind, pixels = ("image", "pixel_values") if image else ("video", "pixel_values_videos")
        inputs = {
            pixels: patches.to(device, self.model.dtype),
            f"{kind}_grid_thw": torch.tensor([grid], device=device),
        }
        return inputs, (grid[0], grid[1] // merge, grid[2] // merge)

    def generate(self, ids: list[int], inputs: dict[str, Tensor], limit: int) -> StockAnswer:
        """The greedy answer to the prompt ``ids``, of at most ``limit`` tokens."""
        row = torch.tensor([ids], device=self.model.device)
        config: Any = self.model.config
        # Which tokens are of an image (1) or a video (2). Without it the library falls back to the positions of
        # plain text and says nothing.
        kinds = (row == config.image_token_id).int() + 2 * (row == config.video_token_id).int()
        seen = _TokenProbabilities()
        output = self.model.generate(
            input_ids=row,
            logits_processor=LogitsProcessorList([seen]),
            attention_mask=torch.ones_like(row),
            mm_token_type_ids=kinds,
            max_new_tokens=limit,
            # The library may write into them.
            **{name: value.clone() for name, value in inputs.items()},
        )
        generated = output[0, len(ids) :].tolist()
        cut = not generated or generated[-1] not in self._ends
        text = self.tokenizer.decode(generated, skip_special_tokens=True).strip()
        return StockAnswer(text, len(generated), cut, seen.mean)


def zero_shot_outcome(
    read: ZeroShotAnswer, given: TimeSpan | None, image: bool, extent: TimeSpan, step: float
) -> Outcome:
    """The window, cut to the clip, or the reason why there is none; ``step``: seconds between frames."""
    if given is not None:
        # An image has only its box to tell; a given window stands whatever was answered.
        return Outcome("no_window") if image and not len(read.boxes) else Outcome("ok", (given,))
    if read.window is not None:
        return cut_outcome([read.window], extent)
    if len(read.times):
        return cut_outcome([(float(read.times[0]), float(read.times[-1]) + step)], extent)
    return Outcome("no_window")


def _moments(
    source: VideoSource, sampled: SampledVideo, fps: float | None, extent: TimeSpan
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times and source indices of the frames that get boxes: the sampled ones, or those at ``fps``.

    These are chosen as sampling would choose them; nothing is decoded.
    """
    if fps is None:
        return sampled.times, sampled.source_frames
    frames = frames_to_sample(source.video, fps, extent.start, extent.end)
    return source.video.times[frames], frames


def _tube(
    read: ZeroShotAnswer,
    span: TimeSpan | None,
    info: VideoInfo,
    moments: tuple[NDArray[np.float64], NDArray[np.int64]],
    offset: float,
    probability: float,
) -> Tube | None:
    """The answer's boxes on the frames of the window, in source pixels; its clock begins at ``offset``."""
    if span is None or not len(read.boxes):
        return None
    times, frames = moments
    inside = sampled_in_span(times, span, clock_of(info).shown(frames))
    scale = np.array([info.width, info.height] * 2, dtype=np.float64)
    return Tube(
        times=times[inside],
        frames=frames[inside],
        boxes=boxes_at(read.times + offset, read.boxes, times[inside]) * scale,
        # The answer has no score for a box; how sure its tokens are speaks for all.
        scores=np.full(len(inside), probability),
    )


def _notes(read: ZeroShotAnswer, cut: bool, limit: int, status: Status, tube: Tube | None) -> list[str]:
    notes = [*cut_note(cut, limit)]
    if read.remarks:
        notes.append(f"of the answer, {read.remarks_text()}")
    if status == "ok" and tube is None:
        notes.append("the answer names no box that can be read")
    return notes


def _cost(
    sampled: SampledVideo,
    merged: tuple[int, int, int],
    prompts: Sequence[Sequence[int]],
    said: Sequence[StockAnswer],
    clock: StageClock,
) -> ClipCost:
    return ClipCost(
        frames=len(sampled),
        frame_width=sampled.frames.shape[2],
        frame_height=sampled.frames.shape[1],
        source_fps=float(sampled.info.fps),
        visual_tokens=merged[0] * merged[1] * merged[2],
        prompt_tokens=tuple(map(len, prompts)),
        answer_tokens=tuple(answer.tokens for answer in said),
        located_frames=(0,) * len(said),
        milliseconds=dict(clock.milliseconds),
    )
