"""From the words of an answer to a result: which window counts, where the boxes are, and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.clock import clock_of
from bridge_stg.geometry.spans import boxes_at, sampled_in_span
from bridge_stg.inference.answer_outcome import AnswerOutcome, cut_outcome
from bridge_stg.inference.clip_cost import ClipCost, StageClock
from bridge_stg.inference.notes import cut_note
from bridge_stg.types import GroundingResult, SampledVideo, ScoredSpan, Status, TimeSpan, Tube, VideoInfo
from bridge_stg.video.sampling import frames_to_sample
from bridge_stg.video.source import VideoSource
from bridge_stg.zero_shot.answers import ZeroShotAnswer, parse_image_answer, parse_video_answer
from bridge_stg.zero_shot.stock_model import StockAnswer


@dataclass(frozen=True)
class StockClip:
    """A clip that a stock model answers about; ``extent`` is on the clock of the file.

    ``image``: it is one picture, which has no time. ``moments`` are times and source indices of the frames that
    get boxes. ``opens_thought``: the template begins a thought that the answer goes on with.
    """

    source: VideoSource
    extent: TimeSpan
    sampled: SampledVideo
    image: bool
    moments: tuple[NDArray[np.float64], NDArray[np.int64]]
    opens_thought: bool

    def read(self, text: str) -> ZeroShotAnswer:
        """What the words of an answer say."""
        whole = "<think>" + text if self.opens_thought else text
        return parse_image_answer(whole) if self.image else parse_video_answer(whole, self.extent.length)

    def result(
        self, query: str, said: StockAnswer, given: TimeSpan | None, checkpoint: str, limit: int
    ) -> GroundingResult:
        """One answer as the result that callers get; ``given`` is the caller's window."""
        # Which window counts, and where: both are in the words of the answer.
        read, sampled = self.read(said.text), self.sampled
        outcome = zero_shot_outcome(read, given, self.image, self.extent, 1 / sampled.sampled_fps)
        window = outcome.windows[0] if outcome.windows else None
        tube = _tube(read, window, sampled.info, self.moments, self.extent.start, said.probability)

        return GroundingResult(
            video=self.source.name,
            query=query,
            status=outcome.status,
            answer=said.text,
            info=sampled.info,
            sampled_fps=sampled.sampled_fps,
            checkpoint=checkpoint,
            window=window,
            tube=tube,
            notes=(*sampled.notes, *_notes(read, said.cut, limit, outcome.status, tube)),
            windows=tuple(ScoredSpan(one, said.probability) for one in outcome.windows),
            confidence=said.probability if outcome.windows else None,
            answer_style=None if self.image else "direct",
        )


def zero_shot_outcome(
    read: ZeroShotAnswer, given: TimeSpan | None, image: bool, extent: TimeSpan, step: float
) -> AnswerOutcome:
    """The window, cut to the clip, or the reason why there is none; ``step``: seconds between frames."""
    if given is not None:
        # An image has only its box to tell; a given window stands whatever was answered.
        return AnswerOutcome("no_window") if image and not len(read.boxes) else AnswerOutcome("ok", (given,))
    if read.window is not None:
        return cut_outcome([read.window], extent)
    if len(read.times):
        return cut_outcome([(float(read.times[0]), float(read.times[-1]) + step)], extent)
    return AnswerOutcome("no_window")


def frames_with_boxes(
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


def clip_cost(
    sampled: SampledVideo,
    merged: tuple[int, int, int],
    prompts: Sequence[Sequence[int]],
    said: Sequence[StockAnswer],
    clock: StageClock,
) -> ClipCost:
    """What the clip took; ``merged`` is (P, H, W) in visual tokens."""
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
