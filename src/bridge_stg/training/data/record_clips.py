"""Annotated videos as training clips: one encoding each, and every question a branch of the token tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bridge_stg.errors import DataError
from bridge_stg.geometry.spans import boxes_at, sampled_in_span
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import Branch, build_tree
from bridge_stg.prompting.templates import (
    ABSENT,
    LOCATED,
    WINDOW_WORDINGS,
    WINDOW_WORDINGS_WITH_FRAMES,
    window_text,
    windows_text,
)
from bridge_stg.records.part import asked_span, clip_span, picture_times, same_aspect, true_windows
from bridge_stg.records.question_text import question_text
from bridge_stg.records.record import TruthRecord
from bridge_stg.training.configuration import DataConfig
from bridge_stg.training.data.cached_sampling import cached_or_sampled
from bridge_stg.training.data.sentences import Sentence, Track, add_rows, frames_to_learn, located_branch
from bridge_stg.training.data.training_clip import ClipRows, TrainingClip, locate
from bridge_stg.types import LOCATED_TASKS, WINDOW_TASKS, SampledVideo, TimeSpan


def record_clip(
    records: Sequence[TruthRecord],
    path: Path,
    rng: np.random.Generator,
    config: DataConfig,
    processor: BridgeSTGProcessor,
) -> TrainingClip:
    """One clip with the questions about it as branches; ``rng`` draws wordings and QGSL's frames.

    Raises:
        InputError: the video cannot be read (VideoError) or contradicts a record, or a record has nothing to
            learn from (DataError).
    """
    video, extent = read_clip(records[0], path, processor)
    image = records[0].task == "rec"
    # The clock of the clip, as in prediction; the frame on screen when it begins may have appeared before.
    times = np.maximum(video.times - extent.start, 0.0)
    layout = processor.clip(processor.patch_grid(video.frames), None if image else times)

    branches: list[Branch] = []
    rows = ClipRows()
    # One for all sentences: what they share of QGSL's frames is encoded once.
    seed = int(rng.integers(2**31))

    for record in records:
        answer = _answer(record, video, extent, rng)
        if record.task in LOCATED_TASKS and not record.absent:
            sentence = Sentence(record.task, question_text(record), answer)
            branches.append(_located(rows, record, sentence, video, extent, config, seed, processor))
        else:
            branches.append(processor.branch(record.task, question_text(record), answer, locates=False))

    tree = build_tree(layout.input_ids, layout.positions, layout.next_position, branches)
    spatial = locate(rows, video.frames, processor)
    return TrainingClip(tree, torch.from_numpy(video.frames), rows, spatial)


def read_clip(record: TruthRecord, path: Path, processor: BridgeSTGProcessor) -> tuple[SampledVideo, TimeSpan]:
    """The sampled frames of a record's clip (of a rec record: its one frame), and the clip's extent in seconds
    on the clock of the file.

    Raises:
        VideoError: the video cannot be read.
        DataError: it ends before the clip does, or has another shape than its boxes were drawn on.
    """
    rate, size = processor.config.sample_fps, processor.frame_size
    asked = asked_span(record)
    video = cached_or_sampled(path, rate, size, asked, picture_times(record))
    extent = clip_span(record) if asked is None else asked

    if record.task != "rec":
        if video.info.duration < extent.end - 1 / rate:
            raise DataError(
                f"{path}: lasts {video.info.duration:.1f} s, the clip of record {record.id!r} ends at "
                f"{extent.end:.1f} s; the file is cut off or another one"
            )

        extent = TimeSpan(extent.start, min(extent.end, video.info.duration))

    if not same_aspect((record.width, record.height), (video.info.width, video.info.height)):
        raise DataError(
            f"{path}: is {video.info.width}x{video.info.height}, record {record.id!r} says "
            f"{record.width}x{record.height}; rotated, or another file"
        )

    return video, extent


def tube_at(record: TruthRecord, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes (F, 4) xyxy in [0, 1] of the frame at ``times`` (F,) seconds, and where (F,) they are annotated.

    Between annotated frames boxes are interpolated; a gap of more than one and a half times the usual distance
    between annotated frames says that the object is not to be seen there. Elsewhere the nearest box is given.

    Raises:
        DataError: the record has no boxes.
    """
    if not record.boxes:
        raise DataError(f"record {record.id!r}: task {record.task} needs boxes")
    frames = np.array(sorted(record.boxes))
    scale = np.array([record.width, record.height] * 2, dtype=np.float64)
    corners = np.array([record.boxes[int(frame)] for frame in frames], dtype=np.float64) / scale

    # In source frames, counted in fractions: the file's clock need not agree with the annotation's to the bit.
    wanted = record.clock.position(times)
    usual = float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0
    after = np.searchsorted(frames, wanted).clip(0, len(frames) - 1)
    before = (after - 1).clip(0)
    nearest = np.minimum(np.abs(frames[after] - wanted), np.abs(frames[before] - wanted))
    between = (frames[before] <= wanted) & (wanted <= frames[after])
    close = frames[after] - frames[before] <= 1.5 * usual
    annotated = (nearest <= max(0.5, usual / 2)) | (between & close)
    at = wanted if record.frame_times is None else times
    box = boxes_at(record.clock.steady(frames), corners, at).clip(0.0, 1.0)

    # A box of which nothing is left within the frame is none.
    return box, annotated & (box[:, 2:] > box[:, :2]).all(axis=1)


def _answer(record: TruthRecord, video: SampledVideo, extent: TimeSpan, rng: np.random.Generator) -> str:
    if record.absent:
        return ABSENT
    if record.task in WINDOW_TASKS:
        if len(record.windows) > 1:
            spans = [cut for span in true_windows(record) if (cut := span.cut_to(extent)) is not None]
            return windows_text([span.shifted(-extent.start) for span in spans])
        span = window_in_clip(record, extent)
        wordings = WINDOW_WORDINGS + WINDOW_WORDINGS_WITH_FRAMES
        inside = sampled_in_span(video.times, span)
        return window_text(
            TimeSpan(span.start - extent.start, span.end - extent.start),
            wordings[int(rng.integers(len(wordings)))],
            int(inside[0]),
            int(inside[-1]),
        )

    if record.task != "vqa":
        return LOCATED
    if record.choice is not None:
        return record.choice
    if record.labels:
        right = [letter for letter, label in zip(record.letters, record.labels, strict=True) if label]
        return ", ".join(right) or "None"
    if not record.answer:
        raise DataError(f"record {record.id!r}: task vqa needs a choice, labels or an answer to learn from")

    return record.answer


def window_in_clip(record: TruthRecord, extent: TimeSpan) -> TimeSpan:
    """The window as annotated, cut to the clip, in seconds on the clock of the file.

    Raises:
        DataError: none of it lies in the clip.
    """
    assert record.window is not None
    span = true_windows(record)[0]
    start, end = max(span.start, extent.start), min(span.end, extent.end)

    if end <= start:
        raise DataError(
            f"record {record.id!r}: its window [{span.start:.2f}, {span.end:.2f}) s lies outside its clip "
            f"[{extent.start:.2f}, {extent.end:.2f}) s"
        )

    return TimeSpan(start, end)


def _located(
    rows: ClipRows,
    record: TruthRecord,
    sentence: Sentence,
    video: SampledVideo,
    extent: TimeSpan,
    config: DataConfig,
    seed: int,
    processor: BridgeSTGProcessor,
) -> Branch:
    """A sentence that asks where, with its rows, at least one of them with a box."""
    objective = processor.config.objective
    box, annotated = tube_at(record, video.times)
    track = Track(video.times, box, annotated, extent.start)

    if record.task == "rec":
        if not annotated[0]:
            raise DataError(f"record {record.id!r}: its box lies outside the image or on another frame")
        positive, negative = np.array([0]), np.zeros(0, dtype=np.int64)
    else:
        window = window_in_clip(record, extent) if record.task == "stvg" else extent
        positive, negative = frames_to_learn(track, window, config, seed, objective)
        if not len(positive) and config.num_positive:
            # An event between two sampled frames: the frame beside it stands for it, as in prediction.
            nearest = _beside_a_box(record, video)
            positive, negative = np.array([nearest]), negative[negative != nearest]

    add_rows(rows, track, positive, negative, objective)
    return located_branch(sentence, track, positive, processor)


def _beside_a_box(record: TruthRecord, video: SampledVideo) -> int:
    """The sampled frame nearest to an annotated one, which must be less than a sampling step away."""
    annotated = record.clock.seconds(sorted(record.boxes))
    distance = np.abs(video.times[:, None] - annotated[None]).min(axis=1)
    nearest = int(distance.argmin())

    if distance[nearest] > 1 / video.sampled_fps:
        raise DataError(
            f"record {record.id!r}: no sampled frame is within {1 / video.sampled_fps:.2f} s of a box"
        )

    return nearest
