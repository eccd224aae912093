"""What the loader hands to the loop: typed batches that stay small until they are on the device.

A batch waits in memory, several of them per process, so it holds frames as bytes and no attention mask;
``inputs`` makes the model's arguments of it where the model is.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import CLIP, IGNORE, TreeBatch

# The arguments of a forward pass by name.
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class BatchSizes:
    """The sizes that the operations of a batch follow from; all are numbers over the whole batch.

    patches: of the vision tower; patch_pairs: pairs of patches that attend to each other.
    tokens: of the language model without padding; attended: (token, token) pairs of its attention;
        labelled: tokens that carry a label.
    frames, height, width: of the spatial decoder's input; rows: (frame, sentence) pairs that it locates.
    """

    patches: int = 0
    patch_pairs: int = 0
    tokens: int = 0
    attended: int = 0
    labelled: int = 0
    frames: int = 0
    height: int = 0
    width: int = 0
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Batch(ABC):
    """The samples that a process computes in one pass.

    kind: what the log files them under, such as "video" or "image".
    """

    kind: str

    @property
    @abstractmethod
    def samples(self) -> int:
        """How many clips, or frames where there are no clips."""

    @abstractmethod
    def inputs(self, processor: BridgeSTGProcessor) -> Inputs:
        """The arguments of the model's forward, on the device of the batch."""

    @abstractmethod
    def work(self, processor: BridgeSTGProcessor) -> BatchSizes:
        """What the batch asks of the model."""

    def to(self, device: torch.device) -> Self:
        """The batch with all of its tensors on ``device``."""
        moved: Self = _moved(self, device)
        return moved


@dataclass(frozen=True)
class LocatedRows:
    """What the spatial decoder learns from a batch; a row is one (frame, sentence) pair.

    Shapes, with R rows: ``frame`` (R,) and ``sentence`` (R,) count over the whole batch; ``targets`` (R, 4)
    cxcywh in [0, 1]; ``has_target`` (R,) False on negative frames. ``frames`` has a uint8 tensor (U, 3, h, w)
    per clip that is located, at the size the decoder reads; without a decoder none.
    """

    frame: Tensor
    sentence: Tensor
    targets: Tensor
    has_target: Tensor
    frames: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class ClipBatch(Batch):
    """Clips with the sentences about them.

    trees: the token tree of each clip, padded to one length.
    plain: whether every tree is one ordinary sequence, in which every token sees all before it.
    frames: (F, H, W, 3) uint8 for each clip, at the size the language model reads.
    located: None where no sentence asks for a box.
    """

    trees: TreeBatch
    plain: bool
    frames: tuple[Tensor, ...]
    located: LocatedRows | None = None

    @property
    def samples(self) -> int:
        return len(self.frames)

    @property
    def rows(self) -> int:
        return 0 if self.located is None else len(self.located.has_target)

    def inputs(self, processor: BridgeSTGProcessor) -> Inputs:
        trees = self.trees
        patches, grids = zip(*(processor.patches(frames) for frames in self.frames), strict=True)
        found: Inputs = {
            "input_ids": trees.input_ids,
            "position_ids": trees.position_ids,
            "labels": trees.labels,
            "pixel_values_videos": torch.cat(patches),
            "video_grid_thw": torch.tensor(grids, device=trees.input_ids.device),
        }
        if not self.plain:
            found["tree"] = trees.tree
        if self.located is None:
            return found

        found |= {
            "slot_mask": trees.slot_mask,
            "bridge_mask": trees.bridge_mask,
            "row_frame": self.located.frame,
            "row_sentence": self.located.sentence,
            "targets": self.located.targets,
            "has_target": self.located.has_target,
        }
        if not self.located.frames:
            return found

        pixels, mask = _padded(self.located.frames)
        found["spatial_pixel_values"] = processor.normalise(pixels)
        if mask is not None:
            # What was padded holds zeros, as the normalised frames of a detector do.
            found["spatial_pixel_values"] *= mask[:, None]
            found["spatial_pixel_mask"] = mask

        return found

    def work(self, processor: BridgeSTGProcessor) -> BatchSizes:
        trees = self.trees
        real = trees.branch >= CLIP
        located = self.located.frames if self.located is not None else ()
        return dataclasses.replace(
            vision_work(self.frames, processor),
            tokens=int(real.sum()),
            # Row 0 of the positions counts the tokens that stand before one and are seen by it.
            attended=int((trees.position_ids[0] + 1)[real].sum()),
            labelled=int((trees.labels != IGNORE).sum()),
            frames=sum(map(len, located)),
            height=max((frames.shape[-2] for frames in located), default=0),
            width=max((frames.shape[-1] for frames in located), default=0),
            rows=self.rows,
        )


def vision_work(frames: tuple[Tensor, ...], processor: BridgeSTGProcessor) -> BatchSizes:
    """What clips (F, H, W, 3) ask of the vision tower."""
    grids = [processor.patch_grid(clip) for clip in frames]
    return BatchSizes(
        patches=sum(pairs * rows * columns for pairs, rows, columns in grids),
        patch_pairs=sum(pairs * (rows * columns) ** 2 for pairs, rows, columns in grids),
    )


def _padded(frames: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
    """Frames of all clips (U, 3, H, W), and where (U, H, W) they are real; None if all have one size."""
    height, width = (max(clip.shape[axis] for clip in frames) for axis in (-2, -1))
    if all(clip.shape[-2:] == (height, width) for clip in frames):
        return torch.cat(frames), None
    padded, masks = [], []

    for clip in frames:
        rows, columns = clip.shape[-2:]
        mask = torch.zeros(len(clip), height, width, dtype=torch.bool, device=clip.device)
        mask[:, :rows, :columns] = True
        masks.append(mask)
        padded.append(torch.nn.functional.pad(clip, (0, width - columns, 0, height - rows)))

    return torch.cat(padded), torch.cat(masks)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return dataclasses.replace(value, **{name: _moved(getattr(value, name), device) for name in names})
    return value
