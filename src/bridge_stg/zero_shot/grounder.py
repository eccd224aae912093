"""``ZeroShotGrounder``: when and where, asked of a stock Qwen3-VL in words.

The baseline of the comparison, and something that runs on real videos without any Bridge-STG weights: the model
is ``Qwen3VLForConditionalGeneration`` as transformers ships it, with the checkpoint's own tokenizer and chat
template, and it sees the clip in its own way (a timestamp before each frame pair, its own positions).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration

from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.geometry.spans import boxes_at, sampled_in_span
from bridge_stg.inference.cost import StageClock
from bridge_stg.inference.device import hub_options, prepare_device
from bridge_stg.inference.grounder import SHIPPED, Progress, checkpoint_folder
from bridge_stg.model.frames import fit_frame_size, patchify
from bridge_stg.model.vision_attention import batch_equal_pairs
from bridge_stg.prompting.templates import check_queries
from bridge_stg.types import GroundingResult, SampledVideo, Status, TimeSpan, Tube
from bridge_stg.video.decode import open_source
from bridge_stg.video.images import is_still_image
from bridge_stg.video.sampling import frames_to_sample, sample_video
from bridge_stg.weights.qwen3_vl import WHAT_TO_GIVE, load_stock_model
from bridge_stg.zero_shot.answers import (
    ZeroShotAnswer,
    parse_image_answer,
    parse_video_answer,
    zero_shot_question,
)
from bridge_stg.zero_shot.chat import StockChat

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


class ZeroShotGrounder:
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
        name: str,
        device: str | None = None,
        dtype: Any = None,
        threads: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> ZeroShotGrounder:
        """Load a Qwen3-VL (dense, any size) from a folder or hub id.

        Args:
            device: "cpu", "cuda", ...; by default a GPU if there is one.
            dtype: a torch dtype; by default float32 on a CPU and bfloat16 on a GPU.
            threads: of torch on a CPU; by default the free cores (``choose_threads``).
            revision: branch, tag or commit of a hub id.
            token: for a hub id that asks who you are; True for the one that is stored on this machine.

        Raises:
            CheckpointError: missing, truncated, or not a Qwen3-VL.
            InputError: torch cannot use that device.
        """
        if name in SHIPPED:
            raise CheckpointError(f"{name!r} is a Bridge-STG checkpoint; {WHAT_TO_GIVE}")
        folder = checkpoint_folder(name)
        device, dtype = prepare_device(device, dtype, threads)
        hub = hub_options(revision, token)
        model, tokenizer, template = load_stock_model(folder, dtype, **hub)
        return cls(model.to(device), tokenizer, name, template)

    @overload
    def ground(self, video: str | Path, query: str, **options: Any) -> GroundingResult: ...
    @overload
    def ground(self, video: str | Path, query: Sequence[str], **options: Any) -> list[GroundingResult]: ...
    def ground(
        self, video: str | Path, query: str | Sequence[str], **options: Any
    ) -> GroundingResult | list[GroundingResult]:
        """Find when and where one sentence, or each of several, happens.

        Several sentences share one decoding of the video; each is asked by itself, as in a chat of its own.

        Args:
            video: a file, a folder of images, or an image, which has no time.
            query: one sentence, or several.
            options: those of ``VideoGrounder.ground``. Boxes are on the sampled frames inside the window, or at
                ``box_fps``: linear between the boxes of the answer, the nearest one before and after them. All
                scores are 1, since the answer has none. ``window`` replaces the answer's and leaves its boxes.

        Returns:
            ``ok`` with a window; without a tube if the answer names no box. The answer's window, else the time
            from its first to its last box (each stands for one sampled frame); ``no_window`` if it has neither.

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
        window: TimeSpan | None = None,
        progress: Progress | None = None,
        max_answer_tokens: int = MAX_ANSWER_TOKENS,
        timing: bool = False,
    ) -> list[GroundingResult]:
        """``ground`` for a list of sentences, with its options by name."""
        check_queries(queries)
        if box_fps is not None and not (np.isfinite(box_fps) and box_fps > 0):
            raise InputError(f"box_fps must be a positive number of boxes per second, got {box_fps}")
        for text in queries:
            self.chat.check_query(text)
        image = is_still_image(Path(video))
        clock = StageClock(progress)
        with clock.stage("decode"):
            sampled = self.sample(video, times=times)
        duration = sampled.info.duration
        if image:
            window = TimeSpan(0.0, duration)
        elif window is not None:
            window = _inside(window, duration)
        moments = None if box_fps is None else _dense_frames(video, box_fps, times)
        with clock.stage("preprocess"):
            inputs, merged = self._vision_inputs(sampled, image)
        results = []
        for text in queries:
            with clock.stage("answer"):
                question = zero_shot_question(text, image)
                ids = self.chat.ids(question, merged, None if image else sampled.times)
                said, cut = self._answer(ids, inputs, max_answer_tokens)
            # A template can open the thought itself; the answer then begins in the middle of it.
            whole = "<think>" + said if self.chat.opens_thought else said
            read = parse_image_answer(whole) if image else parse_video_answer(whole, duration)
            status, span = _outcome(read, window, image, duration, 1 / sampled.sampled_fps)
            tube = _tube(read, span, sampled, moments)
            results.append(
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
                    timing_ms={},
                    notes=(*sampled.notes, *_notes(read, cut, max_answer_tokens, status, tube)),
                )
            )
        if timing:
            for result in results:
                result.timing_ms.update(clock.milliseconds)
        return results

    def sample(
        self, video: str | Path, fps: float | None = None, times: Sequence[float] | None = None
    ) -> SampledVideo:
        """Frames of a video at the size and, by default, the rate that the model reads."""
        given = None if times is None else list(times)
        return sample_video(
            video, fps=SAMPLE_FPS if fps is None else fps, frame_size=self.frame_size, times=given
        )

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

    def _answer(self, ids: list[int], inputs: dict[str, Tensor], limit: int) -> tuple[str, bool]:
        """The greedy answer to the prompt ``ids``, and whether it was cut at ``limit`` tokens."""
        row = torch.tensor([ids], device=self.model.device)
        config: Any = self.model.config
        # Which tokens are of an image (1) or a video (2). Without it the library falls back to the positions of
        # plain text and says nothing.
        kinds = (row == config.image_token_id).int() + 2 * (row == config.video_token_id).int()
        output = self.model.generate(
            input_ids=row,
            attention_mask=torch.ones_like(row),
            mm_token_type_ids=kinds,
            max_new_tokens=limit,
            # The library may write into them.
            **{name: value.clone() for name, value in inputs.items()},
        )
        generated = output[0, len(ids) :].tolist()
        cut = not generated or generated[-1] not in self._ends
        return self.tokenizer.decode(generated, skip_special_tokens=True).strip(), cut


def _inside(window: TimeSpan, duration: float) -> TimeSpan:
    """A given window, cut to the video."""
    start, end = max(window.start, 0.0), min(window.end, duration)
    if end <= start:
        raise InputError(
            f"window [{window.start:.2f}, {window.end:.2f}) s is empty or outside the video of {duration:.2f} s"
        )
    return TimeSpan(start, end)


def _outcome(
    read: ZeroShotAnswer, given: TimeSpan | None, image: bool, duration: float, step: float
) -> tuple[Status, TimeSpan | None]:
    """The window, cut to the video, or the reason why there is none; ``step``: seconds between frames."""
    if given is not None:
        # An image has only its box to tell; a given window stands whatever was answered.
        return ("no_window", None) if image and not len(read.boxes) else ("ok", given)
    if read.window is not None:
        start, end = read.window
    elif len(read.times):
        start, end = float(read.times[0]), float(read.times[-1]) + step
    else:
        return "no_window", None
    start, end = max(start, 0.0), min(end, duration)
    return ("ok", TimeSpan(start, end)) if end > start else ("empty_window", None)


def _dense_frames(
    video: str | Path, fps: float, times: Sequence[float] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times and source indices of the frames at ``fps``, as sampling would choose them; nothing is decoded."""
    source = open_source(video, None if times is None else list(times))
    frames = frames_to_sample(source, fps)
    return source.times[frames], frames


def _tube(
    read: ZeroShotAnswer,
    span: TimeSpan | None,
    sampled: SampledVideo,
    moments: tuple[NDArray[np.float64], NDArray[np.int64]] | None,
) -> Tube | None:
    """The answer's boxes on the frames of the window, in source pixels."""
    if span is None or not len(read.boxes):
        return None
    times, frames = (sampled.times, sampled.source_frames) if moments is None else moments
    inside = sampled_in_span(times, span, 1 / sampled.info.fps)
    scale = np.array([sampled.info.width, sampled.info.height] * 2, dtype=np.float64)
    return Tube(
        times=times[inside],
        frames=frames[inside],
        boxes=boxes_at(read.times, read.boxes, times[inside]) * scale,
        scores=np.ones(len(inside)),
    )


def _notes(read: ZeroShotAnswer, cut: bool, limit: int, status: Status, tube: Tube | None) -> list[str]:
    notes = []
    if cut:
        notes.append(f"the answer was cut at {limit} tokens")
    if read.remarks:
        notes.append(f"of the answer, {read.remarks_text()}")
    if status == "ok" and tube is None:
        notes.append("the answer names no box that can be read")
    return notes
