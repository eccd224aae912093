"""A training clip, and how clips are joined to a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import TokenTree, collate_trees
from bridge_stg.training.data.batch import ClipBatch, LocatedRows


@dataclass
class ClipRows:
    """What boxes are learned from in one clip: each row joins a frame and a sentence of the clip.

    ``places`` is how many frames (or frame queries) the rows count over, once ``used_frames`` or
    ``use_frame_queries`` said so.
    """

    frame: list[int] = field(default_factory=list)
    sentence: list[int] = field(default_factory=list)
    targets: list[NDArray[np.float64]] = field(default_factory=list)
    has_target: list[bool] = field(default_factory=list)
    sentences: int = 0
    places: int = 0

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
        self.places = len(used)
        return used

    def use_frame_queries(self, frames: int) -> None:
        """From here on rows count over the frame queries of all sentences, each of which has one per frame."""
        self.frame = [
            sentence * frames + frame for sentence, frame in zip(self.sentence, self.frame, strict=True)
        ]
        self.places = self.sentences * frames


@dataclass
class TrainingClip:
    """One clip: ``frames`` (F, H, W, 3) uint8 as the language model reads them, and ``spatial_frames``
    (U, 3, h, w) uint8 as QGSL does, only if it locates a sentence.
    """

    tree: TokenTree
    frames: Tensor
    rows: ClipRows
    spatial_frames: Tensor | None = None


def collate_clips(clips: list[TrainingClip], pad_id: int) -> ClipBatch:
    """Join clips of any frame sizes."""
    return ClipBatch(
        # More frames than one are a video.
        kind="video" if any(len(clip.frames) > 1 for clip in clips) else "image",
        trees=collate_trees([clip.tree for clip in clips], pad_id),
        plain=all(clip.tree.is_sequence for clip in clips),
        frames=tuple(clip.frames for clip in clips),
        located=_joined_rows([clip for clip in clips if clip.rows.sentences]),
    )


def locate(rows: ClipRows, frames: NDArray[np.uint8], processor: BridgeSTGProcessor) -> Tensor | None:
    """Finish the rows of a clip with these frames (F, H, W, 3); the frames for QGSL where it locates some."""
    if not rows.sentences:
        return None
    if processor.config.objective == "parallel":
        rows.use_frame_queries(len(frames))
        return None
    return processor.resize(frames[rows.used_frames()])


def _joined_rows(clips: list[TrainingClip]) -> LocatedRows | None:
    """The rows of all clips, which count frames and sentences over the whole batch."""
    if not clips:
        return None
    frame: list[int] = []
    sentence: list[int] = []
    frames_before = sentences_before = 0

    for clip in clips:
        frame += [frames_before + index for index in clip.rows.frame]
        sentence += [sentences_before + index for index in clip.rows.sentence]
        frames_before += clip.rows.places
        sentences_before += clip.rows.sentences

    targets = np.array([box for clip in clips for box in clip.rows.targets], dtype=np.float32).reshape(-1, 4)
    return LocatedRows(
        frame=torch.tensor(frame, dtype=torch.long),
        sentence=torch.tensor(sentence, dtype=torch.long),
        targets=torch.from_numpy(targets),
        has_target=torch.tensor([flag for clip in clips for flag in clip.rows.has_target], dtype=torch.bool),
        frames=tuple(clip.spatial_frames for clip in clips if clip.spatial_frames is not None),
    )
