"""A training clip, and how clips are joined to a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.model.token_tree import TokenTree, collate_trees
from bridge_stg.training.data.batch import ClipBatch, LocatedRows


@dataclass
class Rows:
    """What QGSL learns from one clip: each row joins a frame and a sentence of the clip."""

    frame: list[int] = field(default_factory=list)
    sentence: list[int] = field(default_factory=list)
    targets: list[NDArray[np.float64]] = field(default_factory=list)
    has_target: list[bool] = field(default_factory=list)
    sentences: int = 0

    def add(self, frames: NDArray[np.int64], box: NDArray[np.float64], positive: bool) -> None:
        """Rows of the current sentence on ``frames``; ``box`` (F, 4) xyxy in [0, 1] over all frames."""
        for frame in frames:
            low, high = box[frame, :2], box[frame, 2:]
            self.frame.append(int(frame))
            self.sentence.append(self.sentences)
            self.targets.append(np.concatenate([(low + high) / 2, high - low]))
            self.has_target.append(positive)

    def used_frames(self) -> list[int]:
        """The frames some row needs; from here on rows count within these."""
        used = sorted(set(self.frame))
        place = {frame: index for index, frame in enumerate(used)}
        self.frame = [place[frame] for frame in self.frame]
        return used


@dataclass
class TrainingClip:
    """One clip: ``frames`` (F, H, W, 3) uint8 as the language model reads them, and ``spatial_frames``
    (U, 3, h, w) uint8 as QGSL does, only if a sentence is located.
    """

    tree: TokenTree
    frames: Tensor
    rows: Rows
    spatial_frames: Tensor | None = None


def collate_clips(clips: list[TrainingClip], pad_id: int) -> ClipBatch:
    """Join clips of any frame sizes."""
    located = [(clip.rows, frames) for clip in clips if (frames := clip.spatial_frames) is not None]
    return ClipBatch(
        # More frames than one are a video.
        kind="video" if any(len(clip.frames) > 1 for clip in clips) else "image",
        trees=collate_trees([clip.tree for clip in clips], pad_id),
        plain=all(clip.tree.is_sequence for clip in clips),
        frames=tuple(clip.frames for clip in clips),
        located=_joined_rows(located),
    )


def _joined_rows(clips: list[tuple[Rows, Tensor]]) -> LocatedRows | None:
    """The rows of all clips, which count frames and sentences over the whole batch."""
    if not clips:
        return None
    frame: list[int] = []
    sentence: list[int] = []
    frames_before = sentences_before = 0
    for rows, frames in clips:
        frame += [frames_before + index for index in rows.frame]
        sentence += [sentences_before + index for index in rows.sentence]
        frames_before += len(frames)
        sentences_before += rows.sentences
    return LocatedRows(
        frame=torch.tensor(frame),
        sentence=torch.tensor(sentence),
        targets=torch.from_numpy(np.stack([box for rows, _ in clips for box in rows.targets])).float(),
        has_target=torch.tensor([flag for rows, _ in clips for flag in rows.has_target]),
        frames=tuple(frames for _, frames in clips),
    )
