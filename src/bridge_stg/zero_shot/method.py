"""A stock Qwen3-VL as a method of ``predict``: parts of videos and single frames are cut out for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from bridge_stg.errors import InputError
from bridge_stg.evaluation.methods import Answered, to_prediction, true_window
from bridge_stg.inference.cost import ClipCost
from bridge_stg.records.part import ClipQuestions
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.types import GroundingResult, TimeSpan
from bridge_stg.video.decode import open_source
from bridge_stg.video.images import is_still_image
from bridge_stg.video.sampling import frames_to_sample, sample_video
from bridge_stg.zero_shot.answers import zero_shot_question
from bridge_stg.zero_shot.grounder import SAMPLE_FPS, ZeroShotGrounder

# One question serves them all: it asks for a window and boxes. The others ask for something else.
TASKS = ("stvg", "vtg", "rec")


class ZeroShotMethod:
    """``ZeroShotGrounder`` on the clips of a benchmark.

    It reads whole files. Of a part of a video it is given the frames as pictures, with their times from the
    beginning of the part; of a rec question the one picture.
    """

    def __init__(
        self, grounder: ZeroShotGrounder, box_fps: float | None = None, oracle_window: bool = False
    ) -> None:
        self.grounder, self.box_fps, self.oracle_window = grounder, box_fps, oracle_window

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        if clip.task not in TASKS:
            raise InputError(f"qwen3-vl is asked {', '.join(TASKS)}, not {clip.task}")
        with _cut_out(videos / clip.video, clip, self.box_fps) as (source, times):
            offset = 0.0 if clip.span is None or source == videos / clip.video else clip.span.start
            if self.oracle_window:
                windows = [_moved(true_window(record), -offset) for record in clip.records]
                results = [
                    self.grounder.ground_many(
                        source, [query], times=times, box_fps=self.box_fps, window=window, timing=True
                    )[0]
                    for query, window in zip(clip.queries, windows, strict=True)
                ]
            else:
                results = self.grounder.ground_many(
                    source, clip.queries, times=times, box_fps=self.box_fps, timing=True
                )
            cost = self._cost(source, times, clip, results)
        answers = [
            _on_file_clock(to_prediction(record, result), clip, offset)
            for record, result in zip(clip.records, results, strict=True)
        ]
        return answers, cost

    def _cost(
        self, source: Path, times: list[float] | None, clip: ClipQuestions, results: list[GroundingResult]
    ) -> ClipCost:
        """What the clip took; frames and prompts are counted again, answers from their text."""
        video = open_source(source, times)
        chosen = frames_to_sample(video, SAMPLE_FPS)
        width, height = self.grounder.frame_size(video.info.width, video.info.height)
        vision = self.grounder.model.config.vision_config
        side = int(vision.patch_size) * int(vision.spatial_merge_size)
        merged = (-(-len(chosen) // 2), height // side, width // side)
        image = is_still_image(source)
        seconds = None if image else video.times[chosen]
        # One call for each result gives each its own clock, one call for all the same one to all.
        clocks = [result.timing_ms for result in (results if self.oracle_window else results[:1])]
        stages = {stage: sum(clock.get(stage, 0.0) for clock in clocks) for stage in clocks[0]}
        return ClipCost(
            frames=len(chosen),
            frame_width=width,
            frame_height=height,
            source_fps=clip.records[0].fps,
            visual_tokens=merged[0] * merged[1] * merged[2],
            prompt_tokens=tuple(
                len(self.grounder.chat.ids(zero_shot_question(query, image), merged, seconds))
                for query in clip.queries
            ),
            answer_tokens=tuple(len(self.grounder.tokenizer(result.answer)["input_ids"]) for result in results),
            located_frames=(0,) * len(results),
            milliseconds=stages,
        )


@contextmanager
def _cut_out(
    video: Path, clip: ClipQuestions, box_fps: float | None
) -> Iterator[tuple[Path, list[float] | None]]:
    """What to read instead of ``video``, and the times of its pictures: the file itself if it is all of it."""
    span = clip.span
    if span is None or is_still_image(video):
        yield video, clip.times
        return
    if clip.task == "rec":
        span = TimeSpan(span.start, span.start)
    sampled = sample_video(video, fps=max(SAMPLE_FPS, box_fps or 0.0), span=span, times=clip.times)
    with tempfile.TemporaryDirectory(prefix="bridge-stg-") as name:
        folder = Path(name)
        for number, frame in enumerate(sampled.frames):
            Image.fromarray(frame).save(folder / f"{number:06d}.png", compress_level=1)
        if clip.task == "rec":
            yield folder / "000000.png", None
        else:
            yield folder, [float(time) for time in np.maximum(sampled.times - span.start, 0.0)]


def _moved(span: TimeSpan, seconds: float) -> TimeSpan:
    return TimeSpan(span.start + seconds, span.end + seconds)


def _on_file_clock(answer: PredictionRecord, clip: ClipQuestions, offset: float) -> PredictionRecord:
    """An answer about pictures that were cut out, on the clock of the file, inside the clip."""
    span = clip.span
    if span is None or not offset:
        return answer
    windows = []
    for window, score in answer.windows:
        moved = _moved(window, offset)
        windows.append((TimeSpan(moved.start, max(min(moved.end, span.end), moved.start)), score))
    return replace(answer, windows=tuple(windows), times=answer.times + offset)
