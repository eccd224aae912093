"""QGSL on chosen frames of a clip for several sentences at once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.types import SampledVideo, Tube

# What bounds memory: frames in the spatial encoder at a time.
FRAMES_PER_CHUNK = 16


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
    for begin in range(0, len(union), FRAMES_PER_CHUNK):
        chunk = union[begin : begin + FRAMES_PER_CHUNK]
        # Frames travel to the device as bytes and become floats there.
        images = processor.resize(sampled.frames[chunk]).to(model.device)
        pixels = processor.normalise(images).to(model.dtype)
        features = model.localizer.encode(pixels, None)

        for index, frames in wanted.items():
            rows = np.flatnonzero(np.isin(chunk, frames))
            if len(rows) == 0:
                continue
            place = torch.from_numpy(rows).to(model.device)
            queries = bridge[index].expand(len(rows), -1, -1)
            output = model.localizer.locate(features, place, queries, None, None)
            boxes, scores = output.best()
            for row, box, score in zip(rows, boxes.cpu().double().numpy(), scores.tolist(), strict=True):
                found[index].append((int(chunk[row]), box * scale, float(score)))
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


def _given_boxes(sampled: SampledVideo, frames: NDArray[np.int64], boxes: Tensor) -> Tube:
    """The tube of boxes (F, 4) that are known already, on some of the frames; they have no score."""
    scale = np.array([sampled.info.width, sampled.info.height] * 2, dtype=np.float64)
    return Tube(
        times=sampled.times[frames],
        frames=sampled.source_frames[frames],
        boxes=boxes.cpu().double().numpy()[frames] * scale,
        scores=np.ones(len(frames)),
    )
