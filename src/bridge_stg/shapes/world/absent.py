"""Questions about what does not happen in a scene: the answer is a refusal, never a window."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from bridge_stg.records.record import QueryType
from bridge_stg.shapes.world.describing import Appearance, Description, looks_of
from bridge_stg.shapes.world.objects import COLOURS, HELD_OUT, NO_HELD_OUT_NAMES, SHAPES, Scene, can_show
from bridge_stg.shapes.world.questions import WorldQuestion, sentence

# "action": an object of the scene does something else. "look": something of another colour or shape does it.
# "stranger": neither the object nor, as a rule, what it does is there.
Miss = Literal["action", "look", "stranger"]
TRIES = 60


def absent_questions(scene: Scene, rng: np.random.Generator, count: int) -> list[WorldQuestion]:
    """Up to ``count`` different sentences that nothing in the scene fits; two in three are near misses.

    An action that is too short or too far out of view to be asked about still counts as happening.
    """
    found: dict[str, WorldQuestion] = {}
    kinds = get_args(Miss)
    for number in range(TRIES * count):
        if len(found) == count:
            break
        description = _miss(scene, kinds[number % len(kinds)], rng)
        if description is None or happens(scene, description):
            continue
        asks = bool(rng.random() < 0.5)
        query = sentence(scene, description, asks, rng)
        qtype: QueryType = "interrogative" if asks else "declarative"
        found[query] = WorldQuestion("stvg", query, qtype, kind=description.kind, absent=True)
    return list(found.values())


def happens(scene: Scene, description: Description) -> bool:
    """Whether any object that looks like this does it, wherever it stands and however short it is seen."""
    return any(
        action.kind == description.kind and description.look.fits(item)
        for item in scene.objects
        for action in item.actions
    )


def _miss(scene: Scene, miss: Miss, rng: np.random.Generator) -> Description | None:
    """A description that misses the scene in one way, or happens to fit it; None where there is none."""
    item = scene.objects[int(rng.integers(len(scene.objects)))]
    kind = scene.actions[int(rng.integers(len(scene.actions)))]
    looks = looks_of(item)
    look = looks[int(rng.integers(len(looks)))]

    if miss == "look":
        # What it does is right, and one word of who does it is not.
        kind = item.actions[int(rng.integers(len(item.actions)))].kind
        if rng.random() < 0.5:
            look = Appearance(str(rng.choice(list(COLOURS))), look.shape)
        else:
            look = Appearance(look.colour, str(rng.choice(SHAPES)))
    elif miss == "stranger":
        look = Appearance(str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES)))

    # Named in training only where they are absent, held-out pairs would be refused wherever they are.
    barred = scene.split == "train" and scene.world >= NO_HELD_OUT_NAMES
    if barred and (look.colour, look.shape) in HELD_OUT:
        return None

    # Nobody can see whether a circle does this, so nothing can be said about it.
    if not can_show("circle", kind) and look.shape in (None, "circle") and _has_circle(scene, look.colour):
        return None
    return Description(look, kind)


def _has_circle(scene: Scene, colour: str | None) -> bool:
    return any(item.shape == "circle" and colour in (None, item.colour) for item in scene.objects)
