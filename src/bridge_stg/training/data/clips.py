"""A training clip as tensors, and a batch of them as the arguments of the model's forward."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.model.token_tree import TokenTree, collate_trees


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
    """One clip as tensors; ``spatial_frames`` (U, 3, H, W) only if a sentence is located."""

    tree: TokenTree
    patches: Tensor
    grid: tuple[int, int, int]
    rows: Rows
    spatial_frames: Tensor | None = None


def collate_clips(clips: list[TrainingClip], pad_id: int) -> dict[str, Tensor]:
    """Join clips of one frame size into the arguments of the model's forward."""
    trees = collate_trees([clip.tree for clip in clips], pad_id)
    batch: dict[str, Tensor] = {
        "input_ids": trees.input_ids,
        "position_ids": trees.position_ids,
        "attention_mask": trees.attention_mask(),
        "labels": trees.labels,
        "pixel_values_videos": torch.cat([clip.patches for clip in clips]),
        "video_grid_thw": torch.tensor([clip.grid for clip in clips]),
    }
    spatial = [(clip.rows, clip.spatial_frames) for clip in clips if clip.spatial_frames is not None]
    if spatial:
        row_frame, row_sentence = [], []
        frames_before = sentences_before = 0
        for rows, frames in spatial:
            row_frame += [frames_before + index for index in rows.frame]
            row_sentence += [sentences_before + index for index in rows.sentence]
            frames_before += len(frames)
            sentences_before += rows.sentences
        batch |= {
            "slot_mask": trees.slot_mask,
            "bridge_mask": trees.bridge_mask,
            "spatial_pixel_values": torch.cat([frames for _, frames in spatial]),
            "row_frame": torch.tensor(row_frame),
            "row_sentence": torch.tensor(row_sentence),
            "targets": torch.from_numpy(np.stack([box for rows, _ in spatial for box in rows.targets])).float(),
            "has_target": torch.tensor([flag for rows, _ in spatial for flag in rows.has_target]),
        }
    return batch
