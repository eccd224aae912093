"""Scenes of many minutes in which an object does one thing once, and other things again and again.

What was moved comes back and what grew shrinks again, so that everything stays in view however long the scene
lasts. Clips of a few seconds are what ``make_scene`` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bridge_stg.errors import InputError
from bridge_stg.shapes.world.describing import Timeline
from bridge_stg.shapes.world.objects import (
    DIRECTIONS,
    WORLD_ACTIONS,
    Action,
    Scene,
    SceneObject,
    Split,
    can_show,
)
from bridge_stg.shapes.world.questions import WorldQuestion, sentence
from bridge_stg.shapes.world.scene import (
    GROWTH,
    MAX_ACTION,
    MAX_SPEED,
    MAX_TURN,
    MIN_ACTION,
    MIN_SPEED,
    MIN_TURN,
    blink_length,
    draw_camera,
    draw_looks,
)

SALT = 53  # beside those of make_scene's splits
VERSION = 1  # of the world, whose actions are all known below
DRAWN_FROM = WORLD_ACTIONS[VERSION]
SHORTEST = 20.0  # seconds of a scene
MIN_REST, MAX_REST = 1.0, 8.0  # seconds between two actions of one object
MIN_SIZE, MAX_SIZE = 0.25, 0.33
UNDONE_BY = {
    "moves left": "moves right",
    "moves right": "moves left",
    "moves up": "moves down",
    "moves down": "moves up",
    "grows": "shrinks",
    "shrinks": "grows",
}


@dataclass(frozen=True)
class LongScene:
    """A scene and a sentence about what happens in it once."""

    scene: Scene
    question: WorldQuestion


def make_long_scene(
    seed: int,
    seconds: float,
    fps: Fraction = Fraction(6),
    split: Split = "test",
    width: int = 320,
    height: int = 240,
    rivals: bool = False,
) -> LongScene:
    """The long scene of ``seed``: 2 to 6 objects, each of which does something every few seconds.

    What the question asks for can begin at any second, and its object does other things too. With ``rivals``
    the other objects do the same again and again; without, nobody else does.

    Raises:
        InputError: the scene is too short.
    """
    if seconds < SHORTEST:
        raise InputError(f"a long scene lasts at least {SHORTEST:g} seconds, got {seconds:g}")
    rng = np.random.default_rng([seed, SALT])
    while True:
        looks = draw_looks(rng, int(rng.integers(2, 7)), split)
        kinds = [kind for kind in DRAWN_FROM if can_show(looks[0][1], kind)]
        once = str(rng.choice(kinds))

        # Each object at its place, with what it does.
        objects: list[SceneObject] = []
        for index, (colour, shape) in enumerate(looks):
            home = _free_place(rng, objects, width / height)
            draft = SceneObject(colour, shape, float(rng.uniform(MIN_SIZE, MAX_SIZE)), *home, 0.0, index, ())
            barred = once if index == 0 or not rivals else None
            actions = _acts(rng, draft, seconds, width / height, barred, does=index == 0)
            objects.append(SceneObject(colour, shape, draft.size, *home, 0.0, index, actions))

        scene = Scene(
            seed=seed,
            split=split,
            fps=fps,
            frame_count=round(seconds * float(fps)),
            width=width,
            height=height,
            objects=tuple(objects),
            camera=draw_camera(rng),
            background_seed=int(rng.integers(2**31)),
            world=VERSION,
        )

        # There may be no room for it, or several objects that the words fit: then another scene.
        question = _about(scene, once, rng)
        if question is not None:
            return LongScene(scene, question)


def _free_place(rng: np.random.Generator, placed: list[SceneObject], aspect: float) -> tuple[float, float]:
    """Of 24 random places the one that is farthest from all objects."""
    half = MAX_SIZE / 2
    places = rng.uniform((half, half), (aspect - half, 1 - half), (24, 2))
    if not placed:
        return float(places[0, 0]), float(places[0, 1])
    others = np.array([(item.x, item.y) for item in placed])
    nearest = np.linalg.norm(places[:, None] - others, axis=-1).min(1)
    x, y = places[int(nearest.argmax())]
    return float(x), float(y)


def _acts(
    rng: np.random.Generator,
    item: SceneObject,
    seconds: float,
    aspect: float,
    once: str | None,
    does: bool,
) -> tuple[Action, ...]:
    """All that an object does. If it ``does`` the kind ``once``, then a single time after a random second."""
    moment = float(rng.uniform(0.0, seconds - SHORTEST / 2))
    actions: list[Action] = []
    undone = True
    time = float(rng.uniform(0.3, MAX_REST))
    while True:
        last = actions[-1] if actions else None
        done = any(action.kind == once for action in actions)

        # What was changed is changed back before anything else is.
        if not undone:
            assert last is not None
            action = _undo(last, time)
        else:
            kinds = [kind for kind in DRAWN_FROM if once is None or once not in (kind, UNDONE_BY.get(kind))]
            if once is not None and does and not done and time >= moment:
                kinds = [once]
            drawn = _draw(rng, item, str(rng.choice(kinds)), time, aspect)
            if drawn is None:
                # No room, or it cannot be seen: something else then.
                if kinds == [once]:
                    return tuple(actions)
                continue
            action = drawn

        if action.end > seconds - 0.3:
            return tuple(actions)
        actions.append(action)
        undone = not undone or action.kind not in UNDONE_BY
        time = action.end + float(rng.uniform(MIN_REST, MAX_REST))


def _draw(rng: np.random.Generator, item: SceneObject, kind: str, time: float, aspect: float) -> Action | None:
    """An action of an object at its first place and size; None if it has no room or cannot be seen."""
    length = float(rng.uniform(MIN_ACTION, MAX_ACTION))
    if not can_show(item.shape, kind):
        return None
    if kind == "spins":
        return Action(kind, time, time + length, float(rng.uniform(MIN_TURN, MAX_TURN) * rng.choice([-1, 1])))
    if kind == "blinks":
        return Action(kind, time, time + blink_length(length))
    if kind in GROWTH:
        return Action(kind, time, time + length, GROWTH[kind])

    across, down = DIRECTIONS[kind]
    half, speed = item.size / 2, float(rng.uniform(MIN_SPEED, MAX_SPEED))
    room = {-1.0: item.x - half, 1.0: aspect - half - item.x} if across else {}
    room = room or {-1.0: item.y - half, 1.0: 1.0 - half - item.y}
    length = min(length, room[across or down] / speed)
    return Action(kind, time, time + length, speed) if length >= MIN_ACTION else None


def _undo(action: Action, time: float) -> Action:
    """The action that brings an object back to what it was."""
    rate = 1 / action.rate if action.kind in GROWTH else action.rate
    return Action(UNDONE_BY[action.kind], time, time + action.end - action.start, rate)


def _about(scene: Scene, kind: str, rng: np.random.Generator) -> WorldQuestion | None:
    """A sentence that fits what object 0 does once and nothing else in the scene."""
    fitting = [
        (candidate, description)
        for candidate, description in Timeline(scene).unique_descriptions()
        if candidate.index == 0 and candidate.action.kind == kind and description.relation is None
    ]
    if not fitting:
        return None
    candidate, description = fitting[int(rng.integers(len(fitting)))]
    query = sentence(scene, description, False, rng)
    return WorldQuestion("stvg", query, "declarative", 0, candidate.window, kind=kind)
