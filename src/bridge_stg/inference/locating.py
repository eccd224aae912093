"""QGSL on the frames of windows, for several sentences at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.errors import InputError
from bridge_stg.geometry.clock import shown_for
from bridge_stg.geometry.spans import sampled_in_span
from bridge_stg.inference.free_memory import frames_at_once, is_out_of_memory
from bridge_stg.inference.tubes import join_tubes
from bridge_stg.model.frames import spatial_size
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.types import SampledVideo, TimeSpan, Tube


def locate_windows(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    sampled: SampledVideo,
    spans: Sequence[Sequence[TimeSpan]],
    bridge: Tensor,
    dense: Callable[[TimeSpan], SampledVideo] | None,
) -> list[Tube | None]:
    """QGSL on the frames inside each sentence's windows; None where there is no window.

    The sampled frames are shared by all sentences and decoded in chunks, so that memory does not grow with the
    length of the window.

    Args:
        sampled: the frames the language model read; they get the boxes unless there is ``dense``.
        spans: the windows of S sentences.
        bridge: (S, M, D) their bridging queries.
        dense: reads other frames of a window.

    Raises:
        InputError: ``dense`` with a checkpoint that has no spatial decoder.
    """
    located = {index: windows for index, windows in enumerate(spans) if windows}

    # On the frames that were read.
    if dense is None:
        wanted = {index: _frames_of(sampled, windows) for index, windows in located.items()}
        found = locate_frames(model, processor, sampled, wanted, bridge)
        return [found.get(index) for index in range(len(spans))]

    # On others, decoded window by window.
    if model.localizer is None:
        raise InputError("this checkpoint has no spatial decoder; it gives boxes on the frames that it reads")
    tubes: list[Tube | None] = [None] * len(spans)
    for index, windows in located.items():
        parts = []
        for window in windows:
            # The frame on screen when the window opens may have appeared before it.
            read = dense(window)
            frames = {index: _frames_of(read, [window])}
            parts.append(locate_frames(model, processor, read, frames, bridge)[index])
        tubes[index] = join_tubes(parts)
    return tubes


def _frames_of(sampled: SampledVideo, windows: Sequence[TimeSpan]) -> NDArray[np.int64]:
    """Indices of the sampled frames in any of the windows; a window without one has the nearest."""
    shown = shown_for(sampled)
    return np.unique(np.concatenate([sampled_in_span(sampled.times, window, shown) for window in windows]))


def locate_frames(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    sampled: SampledVideo,
    wanted: dict[int, NDArray[np.int64]],
    bridge: Tensor,
) -> dict[int, Tube]:
    """Boxes of each sentence on its frames; a frame that several sentences ask for is encoded once.

    Args:
        wanted: sentence -> indices of sampled frames, at least one each.
        bridge: (S, M, D) the bridging queries of all sentences; of a baseline without a spatial decoder
            (S, F, 4), the box of every sampled frame, xyxy in [0, 1].

    Returns:
        Sentence -> its tube, in source pixels and source frames.
    """
    if model.localizer is None:
        return {index: _given_boxes(sampled, frames, bridge[index]) for index, frames in wanted.items()}

    # (sampled frame, its box in source pixels, its score), frame by frame.
    found: dict[int, list[tuple[int, NDArray[np.float64], float]]] = {index: [] for index in wanted}
    union = np.unique(np.concatenate(list(wanted.values()))) if wanted else np.array([], dtype=np.int64)
    scale = np.array([sampled.info.width, sampled.info.height] * 2, dtype=np.float64)
    height, width = sampled.frames.shape[1:3]
    at_once = frames_at_once(model, *spatial_size(height, width, processor.config.spatial_short_side))
    begin = 0
    while begin < len(union):
        chunk = union[begin : begin + at_once]
        try:
            located = _locate_chunk(model, processor, sampled.frames[chunk], chunk, wanted, bridge)
        except RuntimeError as problem:
            # Fewer frames need less memory; where one alone needs too much, nothing helps.
            if not is_out_of_memory(problem) or len(chunk) == 1:
                raise
            at_once = len(chunk) // 2
            continue

        begin += len(chunk)
        for index, frame, box, score in located:
            found[index].append((frame, box * scale, score))

    tubes = {}
    for index, rows_found in found.items():
        frames = np.array([frame for frame, _, _ in rows_found], dtype=np.int64)
        tubes[index] = Tube(
            times=sampled.times[frames],
            frames=sampled.source_frames[frames],
            boxes=np.stack([box for _, box, _ in rows_found]),
            scores=np.array([score for _, _, score in rows_found]),
        )
    return tubes


def _locate_chunk(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    shown: NDArray[np.uint8],
    chunk: NDArray[np.int64],
    wanted: dict[int, NDArray[np.int64]],
    bridge: Tensor,
) -> list[tuple[int, int, NDArray[np.float64], float]]:
    """(sentence, sampled frame, box in [0, 1], score) on the frames ``chunk`` (C,), which are ``shown``."""
    assert model.localizer is not None

    # Frames travel to the device as bytes and become floats there.
    images = processor.resize(shown).to(model.device)
    pixels = processor.normalise(images).to(model.dtype)
    features = model.localizer.encode(pixels, None)

    found = []
    for index, frames in wanted.items():
        rows = np.flatnonzero(np.isin(chunk, frames))
        if len(rows) == 0:
            continue
        place = torch.from_numpy(rows).to(model.device)
        queries = bridge[index].expand(len(rows), -1, -1)
        boxes, scores = model.localizer.locate(features, place, queries, None, None).best()
        for row, box, score in zip(rows, boxes.cpu().double().numpy(), scores.tolist(), strict=True):
            found.append((index, int(chunk[row]), box, float(score)))
    return found


def _given_boxes(sampled: SampledVideo, frames: NDArray[np.int64], boxes: Tensor) -> Tube:
    """The tube of boxes (F, 4) that are known already, on some of the frames; they have no score."""
    scale = np.array([sampled.info.width, sampled.info.height] * 2, dtype=np.float64)
    return Tube(
        times=sampled.times[frames],
        frames=sampled.source_frames[frames],
        boxes=boxes.cpu().double().numpy()[frames] * scale,
        scores=np.ones(len(frames)),
    )
