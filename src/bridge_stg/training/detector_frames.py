"""Stage 2: QGSL learns to see before a sentence asks it for one object.

The paper's QGSL starts from a detector that has seen millions of boxes; here too. On every token that QGSL may
choose a linear probe names the colour and shape of the object there, and the head of the first boxes finds that
object's box. Sentences alone give one box per frame, too little to learn what a colour is (docs/log.md).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridge_stg.data.shapes.motion import boxes
from bridge_stg.data.shapes.objects import Scene
from bridge_stg.data.shapes.world import make_scene
from bridge_stg.geometry.boxes import xyxy_to_cxcywh
from bridge_stg.losses.detection import box_losses
from bridge_stg.losses.objective import LossWeights
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.spatial.tokens import TokenGrid
from bridge_stg.training.configuration import DataConfig
from bridge_stg.training.shapes_clips import step_settings
from bridge_stg.training.shapes_frames import draw
from bridge_stg.training.vision_cells import COLOUR_NAMES, SHAPE_NAMES, UNKNOWN, ProbeOutput, scene_seeds

FRAMES_PER_SCENE = 2
NOTHING = COLOUR_NAMES.index("none")
# A frame is mostly background, which is soon known.
BACKGROUND_SHARE = 0.2


class FrameProbe(nn.Module):
    """The part of QGSL that sees frames, with a linear probe on the tokens of each layer it chooses from."""

    def __init__(self, model: BridgeSTGForVideoGrounding) -> None:
        super().__init__()
        self.model = model
        width, answers = model.localizer.config.d_model, len(COLOUR_NAMES) + len(SHAPE_NAMES)
        self.probes = nn.ModuleList(nn.Linear(width, answers) for _ in model.localizer.selector.projections)

    def forward(
        self,
        spatial_pixel_values: Tensor,
        object_boxes: Tensor,
        object_names: Tensor,
        weights: LossWeights | None = None,
        num_objects: Tensor | None = None,
        num_frames: Tensor | int | None = None,
    ) -> ProbeOutput:
        """Mean over objects of the mean over their tokens, and over layers.

        Args:
            spatial_pixel_values: (U, 3, H, W) frames as QGSL reads them.
            object_boxes: (U, O, 4) xyxy in [0, 1], farther objects first; ``object_names`` (U, O, 2) colour and
                shape, UNKNOWN for both where a frame has fewer objects.
            weights: ``box`` and ``giou`` weigh the first boxes.
            num_objects, num_frames: what the sums are divided by, by default the counts of this batch.
        """
        weights = weights or LossWeights()
        there = object_names[..., 0] != UNKNOWN
        objects = (there.sum() if num_objects is None else num_objects).clamp(min=1)
        frames = len(spatial_pixel_values) if num_frames is None else num_frames
        localizer = self.model.localizer
        features = localizer.encode(spatial_pixel_values)
        owner = owners(features.grid, object_boxes, there)  # (U, N)
        owned = owner >= 0
        # Every object counts the same, however many tokens it has.
        sizes = nn.functional.one_hot(owner + 1, there.shape[1] + 1).sum(1)[:, 1:]
        share = 1.0 / sizes.gather(1, owner.clamp(min=0))[owned]
        index = owner.clamp(min=0)[..., None]
        colour, shape = object_names.gather(1, index.expand(-1, -1, 2))[owned].unbind(-1)
        target = xyxy_to_cxcywh(object_boxes.gather(1, index.expand(-1, -1, 4))[owned])
        anchors = features.grid.anchors.expand(len(owner), -1, -1)[owned]

        loss = target.new_zeros(())
        correct: dict[str, tuple[int, int]] = {}
        for probe, tokens in zip(self.probes, localizer.selector.candidates(features), strict=True):
            colours, shapes = probe(tokens).split([len(COLOUR_NAMES), len(SHAPE_NAMES)], dim=-1)
            named = nn.functional.cross_entropy(colours[owned], colour, reduction="none")
            named = named + nn.functional.cross_entropy(shapes[owned], shape, reduction="none")
            found = localizer.first_boxes(tokens[owned], anchors).sigmoid()
            distance, giou = box_losses(found, target)
            cells = named + weights.box * distance + weights.giou * giou
            empty = colours[~owned]
            nothing = nn.functional.cross_entropy(
                empty, torch.full_like(owner[~owned], NOTHING), reduction="sum"
            )
            loss = loss + (cells * share).sum() / objects
            loss = loss + BACKGROUND_SHARE * nothing / (owner.shape[1] * frames)
            # Of the last layer: how its tokens are named.
            correct = {
                "colour": (int((colours[owned].argmax(-1) == colour).sum()), len(colour)),
                "shape": (int((shapes[owned].argmax(-1) == shape).sum()), len(shape)),
                "nothing": (int((empty.argmax(-1) == NOTHING).sum()), len(empty)),
            }
        return ProbeOutput(loss / len(self.probes), correct, there.sum() / objects)


def owners(grid: TokenGrid, object_boxes: Tensor, there: Tensor) -> Tensor:
    """(U, N) the object that each token lies on, -1 for background.

    A token lies on the nearest object (the last in order) whose box (U, O, 4) xyxy holds its centre, and on
    every level an object has the token next to its own centre, unless a nearer object has it. ``there`` (U, O).
    """
    centres = grid.centres[0]
    owner = torch.full((len(object_boxes), len(centres)), -1, device=centres.device)
    frames = torch.arange(len(object_boxes), device=centres.device)
    levels = [rows * columns for rows, columns in grid.shapes]
    for number, (box, present) in enumerate(zip(object_boxes.unbind(1), there.unbind(1), strict=True)):
        low, high = box[:, None, :2], box[:, None, 2:]
        holds = ((centres >= low) & (centres <= high)).all(-1)
        distance = (centres - (low + high) / 2).square().sum(-1)  # (U, N)
        start = 0
        for count in levels:
            holds[frames, start + distance[:, start : start + count].argmin(1)] = True
            start += count
        owner = torch.where(holds & present[:, None], number, owner)
    return owner


def build_frames(
    config: DataConfig, step: int, steps: int, processor: BridgeSTGProcessor, share: slice = slice(None)
) -> dict[str, Tensor]:
    """Frames and their objects of one step, or of its scenes ``share``; a pure function of (seed, step)."""
    _, settings = step_settings(config, step, steps)
    frames, places, names = [], [], []
    for seed in scene_seeds(config, step)[share]:
        rng = np.random.default_rng([int(seed), 8])
        scene = make_scene(int(seed), settings)
        times = np.sort(rng.uniform(0, scene.duration, FRAMES_PER_SCENE))
        frames.append(draw(scene, times, processor, rng))
        place, name = label_objects(scene, times, settings.max_objects)
        places.append(place)
        names.append(name)
    return {
        "spatial_pixel_values": processor.spatial_frames(np.concatenate(frames)),
        "object_boxes": torch.from_numpy(np.concatenate(places)),
        "object_names": torch.from_numpy(np.concatenate(names)),
    }


def label_objects(
    scene: Scene, times: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes (T, most, 4) xyxy in [0, 1] and names (T, most, 2) colour and shape, farther objects first.

    Objects that are not to be seen, and places beyond the number of objects, are named UNKNOWN.
    """
    box, visible = boxes(scene, times)
    places = np.zeros((len(times), most, 4), dtype=np.float32)
    names = np.full((len(times), most, 2), UNKNOWN, dtype=np.int64)
    order = sorted(range(len(scene.objects)), key=lambda index: scene.objects[index].depth)
    for place, index in enumerate(order):
        thing = scene.objects[index]
        seen = visible[index]
        places[seen, place] = box[index][seen]
        names[seen, place] = [COLOUR_NAMES.index(thing.colour), SHAPE_NAMES.index(thing.shape)]
    return places, names
