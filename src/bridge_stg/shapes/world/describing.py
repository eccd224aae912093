"""Which (object, action) pairs of a scene a description fits: the basis of every question.

A description is true of its target only when it is clearly true for the whole window, and it fits a rival as
soon as it is true of it at any moment. A question is asked only if it fits its target and no rival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bridge_stg.shapes.world.motion import Array, boxes, frame_times
from bridge_stg.shapes.world.objects import DIRECTIONS, Action, Scene, SceneObject
from bridge_stg.types import TimeSpan

RELATIONS: tuple[str, ...] = ("left", "right", "above", "below")
MARGIN = 0.15  # heights between the two centres for a relation to be clear
MIN_VISIBLE = 0.8  # seconds


@dataclass(frozen=True)
class Relation:
    """``side`` of RELATIONS, and the object it refers to by colour and shape."""

    side: str
    reference: int


@dataclass(frozen=True)
class Appearance:
    """What a description says of an object's looks; None says nothing."""

    colour: str | None = None
    shape: str | None = None

    def fits(self, item: SceneObject) -> bool:
        return self.colour in (None, item.colour) and self.shape in (None, item.shape)


def looks_of(item: SceneObject) -> tuple[Appearance, ...]:
    """Every way to describe the looks of one object, fullest first."""
    return tuple(Appearance(c, s) for c, s in product((item.colour, None), (item.shape, None)))


@dataclass(frozen=True)
class Description:
    look: Appearance
    kind: str
    relation: Relation | None = None


@dataclass(frozen=True)
class Candidate:
    """One action of one object; ``window`` is the part that shows the object, None if that is too short."""

    index: int
    action: Action
    window: TimeSpan | None


class Timeline:
    """A scene measured at each of its frames: ``times`` (T,), ``boxes`` (O, T, 4), ``visible`` (O, T).

    ``centres`` (O, T, 2) are the centres of the clipped boxes in heights.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.times = frame_times(scene)
        self.boxes, self.visible = boxes(scene, self.times)
        self.centres: Array = (self.boxes[..., :2] + self.boxes[..., 2:]) / 2 * np.array([scene.aspect, 1.0])
        self.candidates = tuple(
            Candidate(index, action, self._visible_window(index, action))
            for index, item in enumerate(scene.objects)
            for action in item.actions
        )

    def frames(self, start: float, end: float) -> NDArray[np.int64]:
        """The frames that appear during seconds ``[start, end)``."""
        return np.flatnonzero((self.times >= start) & (self.times < end))

    def _visible_window(self, index: int, action: Action) -> TimeSpan | None:
        inside = self.frames(action.start, action.end)
        seen = inside[self.visible[index, inside]]
        rate = float(self.scene.fps)
        if len(seen) < MIN_VISIBLE * rate:
            return None
        # The exact second of the action where the object is in view then, otherwise the frame it comes or goes.
        start = action.start if seen[0] == inside[0] else float(self.times[seen[0]])
        end = action.end if seen[-1] == inside[-1] else float((seen[-1] + 1) / rate)
        return TimeSpan(start, end)

    def relations(self, index: int, frames: NDArray[np.int64], clearly: bool) -> list[Relation]:
        """The relations of one object to the others during ``frames``.

        ``clearly``: holds by a margin in all of them, to an object that is visible in all of them. Otherwise:
        holds in any of them.
        """
        # (O, F, 2): how far right of and below each other object this one is.
        offset = self.centres[index, frames] - self.centres[:, frames]
        low, high = offset.min(1), offset.max(1)
        if clearly:
            holds = np.stack([-high[:, 0], low[:, 0], -high[:, 1], low[:, 1]], axis=1) >= MARGIN
            holds &= np.all(self.visible[:, frames], axis=1, keepdims=True)
        else:
            holds = np.stack([-low[:, 0], high[:, 0], -low[:, 1], high[:, 1]], axis=1) > 0
        return [
            Relation(side, other)
            for other, row in enumerate(holds.tolist())
            for side, true in zip(RELATIONS, row, strict=True)
            if true and other != index
        ]

    def unique_descriptions(self) -> Iterator[tuple[Candidate, Description]]:
        """Every description that fits exactly one (object, action) of the scene, with what it fits."""
        fitting: Counter[Description] = Counter()
        true: list[tuple[Candidate, Description]] = []
        for candidate in self.candidates:
            kind = candidate.action.kind
            frames = self.frames(candidate.action.start, candidate.action.end)
            loose: list[Relation | None] = [None]
            clear: list[Relation | None] = [None]
            # "The star that moves left to the right of the square" is a riddle: moves get no relation.
            if kind not in DIRECTIONS and len(frames):
                loose += self.relations(candidate.index, frames, clearly=False)
                if candidate.window is not None:
                    window = self.frames(candidate.window.start, candidate.window.end)
                    clear += self.relations(candidate.index, window, clearly=True)
            for look in looks_of(self.scene.objects[candidate.index]):
                fitting.update(Description(look, kind, relation) for relation in loose)
                if candidate.window is not None:
                    true += [(candidate, Description(look, kind, relation)) for relation in clear]
        for candidate, description in true:
            if fitting[description] == 1:
                yield candidate, description
