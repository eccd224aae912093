"""QGSL with probes: on every token that it may choose, and with a vector per word as bridging queries.

A linear probe names the colour and shape of the object that a token lies on, and the head of the first boxes
finds that object's box; with a learned vector per word in the place of the bridging queries the whole of QGSL
finds each object of a frame by its name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, paired_giou, xyxy_to_cxcywh
from bridge_stg.losses.detection import box_losses
from bridge_stg.losses.objective import spatial_loss
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.spatial.encoder import SpatialFeatures
from bridge_stg.model.spatial.tokens import TokenGrid
from bridge_stg.shapes.configuration import ShapesData
from bridge_stg.shapes.drawn_clips import step_settings
from bridge_stg.shapes.drawn_frames import draw
from bridge_stg.shapes.probe_stage import ProbeOutput
from bridge_stg.shapes.vision_probe import COLOUR_NAMES, SHAPE_NAMES, UNKNOWN, scene_seeds
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import Scene
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.training.data.batch import Batch, BatchSizes, Inputs

FRAMES_PER_SCENE = 2
NOTHING = COLOUR_NAMES.index("none")
# A frame is mostly background, which is soon known.
BACKGROUND_SHARE = 0.2
# An object counts as found when its best box overlaps it by more than this.
HIT = 0.5


@dataclass(frozen=True, kw_only=True)
class FrameBatch(Batch):
    """Frames whose objects are named.

    frames: (U, 3, H, W) uint8 at the size QGSL reads. object_boxes: (U, O, 4) xyxy in [0, 1], farther objects
    first. object_names: (U, O, 2) colour and shape, UNKNOWN for both where a frame has fewer objects.
    """

    kind: str = "image"
    frames: Tensor
    object_boxes: Tensor
    object_names: Tensor

    @property
    def samples(self) -> int:
        return len(self.frames)

    def inputs(self, processor: BridgeSTGProcessor) -> Inputs:
        return {
            "spatial_pixel_values": processor.normalise(self.frames),
            "object_boxes": self.object_boxes,
            "object_names": self.object_names,
        }

    def work(self, processor: BridgeSTGProcessor) -> BatchSizes:
        frames, _, height, width = self.frames.shape
        rows = int((self.object_names[..., 0] != UNKNOWN).sum())
        return BatchSizes(frames=frames, height=height, width=width, rows=rows)


class FrameProbe(nn.Module):
    """QGSL with a linear probe on the tokens of each layer it chooses from, and vectors for words."""

    def __init__(self, model: BridgeSTGForVideoGrounding) -> None:
        super().__init__()
        self.model = model
        width, answers = model.localizer.config.d_model, len(COLOUR_NAMES) + len(SHAPE_NAMES)
        self.probes = nn.ModuleList(nn.Linear(width, answers) for _ in model.localizer.selector.projections)
        language_width = model.config.mllm.text_config.hidden_size
        self.words = nn.ModuleList(
            nn.Embedding(len(names), language_width) for names in (COLOUR_NAMES, SHAPE_NAMES)
        )

    def forward(
        self,
        spatial_pixel_values: Tensor,
        object_boxes: Tensor,
        object_names: Tensor,
        weights: LossWeights | None = None,
        num_objects: Tensor | None = None,
        num_frames: Tensor | int | None = None,
    ) -> ProbeOutput:
        """L_spatial of Eq. 8 with every object as a row, and what the probes say.

        Args:
            spatial_pixel_values: (U, 3, H, W) frames as QGSL reads them.
            object_boxes: (U, O, 4) xyxy in [0, 1], farther objects first; ``object_names`` (U, O, 2) colour and
                shape, UNKNOWN for both where a frame has fewer objects.
            weights: of Eq. 8 and 9; ``box`` and ``giou`` weigh the first boxes of all tokens too.
            num_objects, num_frames: what the sums are divided by, by default the counts of this batch.
        """
        weights = weights or LossWeights()
        there = object_names[..., 0] != UNKNOWN
        objects = (there.sum() if num_objects is None else num_objects).clamp(min=1)
        frames = len(spatial_pixel_values) if num_frames is None else num_frames
        features = self.model.localizer.encode(spatial_pixel_values)
        loss, correct = self.seen(features, object_boxes, object_names, there, weights, objects, frames)

        frame = there.nonzero()[:, 0]
        names = zip(self.words, object_names[there].unbind(-1), strict=True)
        words = torch.stack([embedding(name) for embedding, name in names], dim=1)  # (R, 2, D)
        targets = xyxy_to_cxcywh(object_boxes[there])
        named = self.model.localizer.locate(features, frame, words, targets)
        present = torch.ones_like(frame, dtype=torch.bool)
        losses = spatial_loss(named, targets, present, weights, objects, objects)
        best = named.logits[-1].argmax(-1)
        overlap, _ = paired_giou(
            cxcywh_to_xyxy(named.boxes[-1][torch.arange(len(best)), best]), object_boxes[there]
        )
        correct["object"] = (int((overlap > HIT).sum()), len(overlap))

        return ProbeOutput(loss + losses.total, correct, there.sum() / objects)

    def seen(
        self,
        features: SpatialFeatures,
        object_boxes: Tensor,
        object_names: Tensor,
        there: Tensor,
        weights: LossWeights,
        objects: Tensor,
        frames: Tensor | int,
    ) -> tuple[Tensor, dict[str, tuple[int, int]]]:
        """What tokens say of the objects they lie on.

        The loss is a mean over objects of the mean over their tokens, and over layers; and the answers of the
        last layer that are right out of how many.
        """
        localizer = self.model.localizer
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

        correct = {
            "colour": (int((colours[owned].argmax(-1) == colour).sum()), len(colour)),
            "shape": (int((shapes[owned].argmax(-1) == shape).sum()), len(shape)),
            "nothing": (int((empty.argmax(-1) == NOTHING).sum()), len(empty)),
        }
        return loss / len(self.probes), correct


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
    data: ShapesData, step: int, steps: int, processor: BridgeSTGProcessor, share: slice = slice(None)
) -> FrameBatch:
    """Frames and their objects of one step, or of its share; a pure function of (seed, step)."""
    _, settings = step_settings(data, step, steps)
    frames, places, names = [], [], []
    for seed in scene_seeds(data, step)[share]:
        rng = np.random.default_rng([int(seed), 8])
        scene = make_scene(int(seed), settings)
        times = np.sort(rng.uniform(0, scene.duration, FRAMES_PER_SCENE))
        frames.append(draw(scene, times, processor, rng))
        place, name = label_objects(scene, times, settings.max_objects)
        places.append(place)
        names.append(name)

    return FrameBatch(
        frames=processor.resize(np.concatenate(frames)),
        object_boxes=torch.from_numpy(np.concatenate(places)),
        object_names=torch.from_numpy(np.concatenate(names)),
    )


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
