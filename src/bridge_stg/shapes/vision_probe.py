"""A linear probe on every visual token: it names the colour, shape and action of the object that covers it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.configuration import ShapesData
from bridge_stg.shapes.drawn_clips import step_settings
from bridge_stg.shapes.drawn_frames import covered_cells, draw, sample_times
from bridge_stg.shapes.probe_stage import ProbeOutput
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import ACTIONS, COLOURS, SHAPES, Scene
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.training.data.batch import Batch, BatchSizes, Inputs, vision_work

UNKNOWN = -100
COLOUR_NAMES = (*COLOURS, "none")
ACTION_NAMES = (*ACTIONS, "rests")
SHAPE_NAMES = tuple(SHAPES)


@dataclass(frozen=True, kw_only=True)
class CellBatch(Batch):
    """Clips whose visual tokens are named.

    frames: (F, H, W, 3) uint8 for each clip. cells: (N, 3) colour, shape and action of each visual token of all
    clips in a row, UNKNOWN where not asked.
    """

    kind: str = "video"
    frames: tuple[Tensor, ...]
    cells: Tensor

    @property
    def samples(self) -> int:
        return len(self.frames)

    def inputs(self, processor: BridgeSTGProcessor) -> Inputs:
        patches, grids = zip(*(processor.patches(frames) for frames in self.frames), strict=True)
        return {
            "pixel_values_videos": torch.cat(patches),
            "video_grid_thw": torch.tensor(grids, device=self.cells.device),
            "cells": self.cells,
        }

    def work(self, processor: BridgeSTGProcessor) -> BatchSizes:
        return vision_work(self.frames, processor)


class CellProbe(nn.Module):
    """The vision tower of a model with a linear probe on each merged visual token."""

    def __init__(self, model: BridgeSTGForVideoGrounding) -> None:
        super().__init__()
        self.model = model
        width = model.config.mllm.vision_config.out_hidden_size

        # One probe on the tower's output and one on every DeepStack level, since the language model reads them
        # all.
        levels = 1 + len(model.config.mllm.vision_config.deepstack_visual_indexes)
        answers = len(COLOUR_NAMES) + len(SHAPE_NAMES) + len(ACTION_NAMES)
        self.probes = nn.ModuleList(nn.Linear(width, answers) for _ in range(levels))

    def forward(
        self,
        pixel_values_videos: Tensor,
        video_grid_thw: Tensor,
        cells: Tensor,
        weights: LossWeights | None = None,
        num_cells: Tensor | None = None,
    ) -> ProbeOutput:
        """Mean cross-entropy over cells; ``cells`` (N, 3) colour, shape and action, UNKNOWN where not asked.

        ``num_cells`` (3,) is what the sums are divided by, by default the counts of this batch. ``weights`` are
        of Eq. 7 to 9, none of which is here.
        """
        if num_cells is None:
            num_cells = (cells != UNKNOWN).sum(0)
        num_cells = num_cells.clamp(min=1)
        vision = self.model.encode_video(pixel_values_videos, video_grid_thw)
        levels = [vision.tokens, *vision.deepstack]
        sizes = [len(COLOUR_NAMES), len(SHAPE_NAMES), len(ACTION_NAMES)]
        loss = cells.new_zeros((), dtype=torch.float32)
        correct: dict[str, tuple[int, int]] = {}

        for number, (probe, features) in enumerate(zip(self.probes, levels, strict=True)):
            for name, logits, truth, asked_for in zip(
                ("colour", "shape", "action"),
                probe(features).split(sizes, dim=-1),
                cells.unbind(1),
                num_cells,
                strict=True,
            ):
                share = 1.0 if number == 0 else 0.3
                total = nn.functional.cross_entropy(logits, truth, ignore_index=UNKNOWN, reduction="sum")
                loss = loss + share * total / asked_for

                if number == 0:
                    asked = (truth != UNKNOWN) & (
                        truth != len(COLOUR_NAMES) - 1 if name == "colour" else truth >= 0
                    )
                    correct[name] = (int((logits.argmax(-1) == truth)[asked].sum()), int(asked.sum()))

        return ProbeOutput(loss, correct, (cells[:, 0] != UNKNOWN).sum() / num_cells[0])


def scene_seeds(data: ShapesData, step: int, steps: int = 0) -> NDArray[np.int64]:
    """The scenes of a step of the stages that teach to see."""
    return np.random.default_rng([data.seed, step, 5]).integers(2**40, size=data.clips_per_step)


def build_cells(
    data: ShapesData, step: int, steps: int, processor: BridgeSTGProcessor, share: slice = slice(None)
) -> CellBatch:
    """The clips of one step, or its share of them, with their labels; a pure function of (seed, step)."""
    _, settings = step_settings(data, step, steps)
    drawn, cells = [], []
    for seed in scene_seeds(data, step)[share]:
        rng = np.random.default_rng([int(seed), 6])
        scene = make_scene(int(seed), settings)
        times = sample_times(scene, processor.config.sample_fps)
        frames = draw(scene, times, processor, rng)
        drawn.append(torch.from_numpy(frames))
        _, rows, columns = processor.merged_grid(processor.patch_grid(frames))
        cells.append(torch.from_numpy(label_cells(scene, times, rows, columns)))

    return CellBatch(frames=tuple(drawn), cells=torch.cat(cells))


def label_cells(scene: Scene, times: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.int64]:
    """(P * rows * columns, 3) colour, shape and action of the object in each cell of each frame pair.

    A cell belongs to the nearest object (in depth) whose box covers its centre in either frame, and an object
    always owns the cell of its own centre. Background has the colour "none" and no shape or action.
    """
    pairs = frame_pairs(len(times))
    box, visible = boxes(scene, times)
    labels = np.full((len(pairs), rows, columns, 3), UNKNOWN, dtype=np.int64)
    labels[..., 0] = len(COLOUR_NAMES) - 1

    for index in sorted(range(len(scene.objects)), key=lambda item: scene.objects[item].depth):
        thing = scene.objects[index]
        names = [COLOUR_NAMES.index(thing.colour), SHAPE_NAMES.index(thing.shape)]
        for pair, frames in enumerate(pairs):
            seen = [box[index, frame] for frame in frames if visible[index, frame]]
            start, end = float(times[frames[0]]), float(times[frames[1]])
            action = UNKNOWN
            if end > start:
                action = ACTION_NAMES.index(thing.doing(start, end))
            labels[pair, covered_cells(seen, rows, columns)] = [*names, action]

    return labels.reshape(-1, 3)
