"""Draw a scene from a seed: objects, their timed actions, and the distractors that make guessing useless."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bridge_stg.shapes.world.motion import HALF_PERIOD, Array, boxes, extents, object_path
from bridge_stg.shapes.world.objects import (
    ACTIONS,
    COLOURS,
    DIRECTIONS,
    HELD_OUT,
    RATES,
    SHAPES,
    WORLD_ACTIONS,
    Action,
    Camera,
    Scene,
    SceneObject,
    SceneSettings,
    Split,
    can_show,
)

__all__ = [
    "ACTIONS",
    "COLOURS",
    "HELD_OUT",
    "SHAPES",
    "Action",
    "Scene",
    "SceneObject",
    "SceneSettings",
    "boxes",
    "make_scene",
]

REST = 0.3  # seconds of rest before, between and after the actions of one object
MIN_ACTION, MAX_ACTION = 1.5, 5.0
MIN_SPEED, MAX_SPEED = 0.12, 0.28
# Turns per second: so slow that frames half a second apart do not show a star or a square one symmetry further.
MIN_TURN, MAX_TURN = 0.30, 0.40
GROWTH = {"grows": 1.7, "shrinks": 0.6}
SMALLEST, LARGEST = 0.15, 0.58  # side an object may reach by shrinking or growing
OUTSIDE = (0.1, 0.15)  # gap between the frame and an object outside it; more than the camera can bridge
OVERHANG = 0.1  # share of its side that a resting object may stick out of the frame
SHOWN = 0.9  # seconds of an action of object 0 that are in view; questions need 0.8
CAMERA_SPEED = 0.02  # per axis, so at most 0.03 heights per second together

# The split is part of the seed: test scene 7 is never training scene 7 with other colours.
_SALT: dict[Split, int] = {"train": 11, "test": 23, "compositional": 37}


@dataclass(frozen=True)
class _ObjectPlan:
    """When an object does what; ``enters`` and ``leaves`` concern its first and its last action."""

    actions: tuple[Action, ...]
    enters: bool
    leaves: bool


def make_scene(seed: int, settings: SceneSettings | None = None) -> Scene:
    """The scene of ``seed``: the same seed and settings give the same scene, always.

    With two or more objects, one of them shares exactly the colour or exactly the shape of object 0, and every
    action of object 0 has a rival: object 0 does other things too, or another object does the same at another
    time. No two objects share both colour and shape.
    """
    settings = settings or SceneSettings()
    rng = np.random.default_rng([seed, _SALT[settings.split]])
    fps = RATES[rng.integers(len(RATES))]
    frame_count = round(rng.uniform(settings.min_duration, settings.max_duration) * float(fps))
    scene = Scene(
        seed=seed,
        split=settings.split,
        fps=fps,
        frame_count=frame_count,
        width=settings.width,
        height=settings.height,
        objects=(),
        camera=draw_camera(rng),
        background_seed=int(rng.integers(2**31)),
        world=settings.version,
    )
    count = int(rng.integers(settings.min_objects, settings.max_objects + 1))
    looks = draw_looks(rng, count, settings.split)
    while True:
        plans = _plans(rng, [shape for _, shape in looks], scene.duration, settings)
        objects = _place_all(rng, looks, plans, scene)
        # A plan may ask for more room than the frame has; a new plan is cheaper than a clever one.
        if objects is None:
            continue
        scene = replace(scene, objects=objects)
        if _shows_target(scene):
            return scene


def _shows_target(scene: Scene) -> bool:
    """Whether some action of object 0 can be seen for long enough to be asked about."""
    for action in scene.objects[0].actions:
        moments = np.arange(action.start, action.end, 0.05)
        if boxes(scene, moments)[1][0].sum() * 0.05 > SHOWN:
            return True
    return False


def draw_camera(rng: np.random.Generator) -> Camera:
    speed, period = rng.uniform(0.0, CAMERA_SPEED, 2), rng.uniform(12.0, 24.0, 2)
    amplitude, phase = speed * period / (2 * np.pi), rng.uniform(0, 2 * np.pi, 2)
    return Camera(
        (float(amplitude[0]), float(amplitude[1])),
        (float(period[0]), float(period[1])),
        (float(phase[0]), float(phase[1])),
    )


def draw_looks(rng: np.random.Generator, count: int, split: Split) -> list[tuple[str, str]]:
    """Distinct (colour, shape) pairs; the second shares exactly one of the two with the first."""
    allowed = [(colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in HELD_OUT]
    targets = sorted(HELD_OUT) if split == "compositional" else allowed
    looks = [targets[rng.integers(len(targets))]]
    while len(looks) < count:
        first = looks[0]
        near = [look for look in allowed if (look[0] == first[0]) != (look[1] == first[1])]
        pool = near if len(looks) == 1 or rng.random() < 0.4 else allowed
        look = pool[rng.integers(len(pool))]
        if look not in looks:
            looks.append(look)
    return looks


def _plans(
    rng: np.random.Generator, shapes: list[str], duration: float, settings: SceneSettings
) -> list[_ObjectPlan]:
    """A plan per object, drawn again until every action of object 0 has a rival."""
    drawn_from = WORLD_ACTIONS[settings.version]
    most = max(1, min(3, int((duration - REST) / (MIN_ACTION + REST))))
    while True:
        plans: list[_ObjectPlan] = []
        for index, shape in enumerate(shapes):
            kinds = [kind for kind in drawn_from if can_show(shape, kind)]
            chosen = [str(k) for k in rng.choice(kinds, int(rng.integers(1, most + 1)), replace=False)]
            if index == 1 and rng.random() < 0.7:
                rival = plans[0].actions[rng.integers(len(plans[0].actions))].kind
                if rival in kinds and rival not in chosen:
                    chosen[rng.integers(len(chosen))] = rival

            # No draw without repeats, so that scenes without them are what they were before there were any.
            if settings.repeats and rng.random() < settings.repeats:
                chosen = _with_repeat(rng, chosen, duration)
            plans.append(_plan(rng, chosen, duration))
        if len(plans) == 1 or _has_rivals(plans):
            return plans


def _with_repeat(rng: np.random.Generator, kinds: list[str], duration: float) -> list[str]:
    """The same actions with one of them a second time, not right after the first, if there is time for it."""
    if (len(kinds) + 1) * (MIN_ACTION + REST) + REST > duration:
        return kinds
    again = kinds[int(rng.integers(len(kinds)))]
    # Two halves of one action with a rest between them would be one event to most eyes; two moves are not.
    return [*kinds, again] if kinds[-1] != again else [again, *kinds] if len(kinds) > 1 else [again, again]


def _plan(rng: np.random.Generator, kinds: list[str], duration: float) -> _ObjectPlan:
    """Spread the actions over the clip with rests between them."""
    # How long each action lasts.
    count = len(kinds)
    budget = duration - REST * (count + 1)
    shortest = min(MIN_ACTION, budget / count)
    lengths = rng.uniform(MIN_ACTION, MAX_ACTION, count)
    if lengths.sum() > budget:
        spare = lengths - MIN_ACTION
        lengths = shortest + spare * (budget - shortest * count) / max(spare.sum(), 1e-9)
    for index, kind in enumerate(kinds):
        if kind == "blinks":
            lengths[index] = blink_length(lengths[index])

    # When each one starts.
    rests = REST + rng.dirichlet(np.ones(count + 1)) * (budget - lengths.sum())
    starts = np.cumsum(rests[:-1]) + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])

    # How fast it goes.
    actions = []
    for kind, start, length in zip(kinds, starts, lengths, strict=True):
        rate = 0.0
        if kind in DIRECTIONS:
            rate = rng.uniform(MIN_SPEED, MAX_SPEED)
        elif kind == "spins":
            rate = rng.uniform(MIN_TURN, MAX_TURN) * (1 if rng.random() < 0.5 else -1)
        elif kind != "blinks":
            rate = GROWTH[kind]
        actions.append(Action(kind, float(start), float(start + length), float(rate)))

    enters = kinds[0] in DIRECTIONS and rng.random() < 0.3
    leaves = not enters and kinds[-1] in DIRECTIONS and rng.random() < 0.3
    return _ObjectPlan(tuple(actions), bool(enters), bool(leaves))


def blink_length(seconds: float) -> float:
    """The longest blink within ``seconds`` that ends dim, so that its end is as visible as its start.

    >>> blink_length(2.7)
    2.5
    """
    return float(np.floor(seconds + HALF_PERIOD + 1e-9)) - HALF_PERIOD


def _has_rivals(plans: list[_ObjectPlan]) -> bool:
    target = plans[0].actions
    if len(target) > 1:
        return True
    return any(
        other.kind == target[0].kind and (other.end <= target[0].start or other.start >= target[0].end)
        for plan in plans[1:]
        for other in plan.actions
    )


def _place_all(
    rng: np.random.Generator, looks: list[tuple[str, str]], plans: list[_ObjectPlan], scene: Scene
) -> tuple[SceneObject, ...] | None:
    """Give every planned object a size and a start; None when one does not fit."""
    depths = rng.permutation(len(looks))
    largest = 0.42 if len(looks) <= 3 else 0.34 if len(looks) == 4 else 0.29
    grid = np.arange(0.0, scene.duration, 0.5)
    placed: list[SceneObject] = []
    taken: list[Array] = []
    for (colour, shape), plan, depth in zip(looks, plans, depths, strict=True):
        angle = 0.0 if shape == "circle" else float(rng.uniform(-0.15, 0.15))
        draft = SceneObject(colour, shape, 1.0, 0.0, 0.0, angle, int(depth), plan.actions)
        for _ in range(12):
            sized = replace(draft, size=float(rng.uniform(0.22, largest)))
            ranges = _start_ranges(rng, sized, plan, scene.aspect)
            if ranges is not None:
                break
        else:
            return None
        best, box = _least_crowded(rng, sized, ranges, grid, taken)
        placed.append(best)
        taken.append(box)
    return tuple(placed)


def _start_ranges(
    rng: np.random.Generator, item: SceneObject, plan: _ObjectPlan, aspect: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The x and the y range of starts that keep the object mostly inside whenever its plan says so."""
    knots = np.array([0.0, *(action.end for action in item.actions)])
    path = object_path(item, knots)
    if path.size.min() < SMALLEST or path.size.max() > LARGEST:
        return None
    # An entering object may be anywhere before its first action ends, a leaving one after its last begins.
    inside = slice(1 if plan.enters else 0, len(knots) - (1 if plan.leaves else 0))
    edge = path.size * (0.5 - OVERHANG)
    ranges = []
    for moved, room, axis in ((path.x, aspect, 0), (path.y, 1.0, 1)):
        low = float((edge - moved)[inside].max())
        high = float((room - edge - moved)[inside].min())
        for outside, action, knot in ((plan.enters, item.actions[0], 0), (plan.leaves, item.actions[-1], -1)):
            direction = DIRECTIONS.get(action.kind, (0.0, 0.0))[axis]
            if not outside or direction == 0.0:
                continue
            gap = rng.uniform(*OUTSIDE) + 0.5 * path.size[knot] * 1.1
            comes_from_left = (direction > 0) == (knot == 0)
            spot = float((-gap if comes_from_left else room + gap) - moved[knot])
            if not low <= spot <= high:
                return None
            low = high = spot
        if low > high:
            return None
        ranges.append((low, high))
    return ranges[0], ranges[1]


def _least_crowded(
    rng: np.random.Generator,
    item: SceneObject,
    ranges: tuple[tuple[float, float], tuple[float, float]],
    grid: Array,
    taken: list[Array],
) -> tuple[SceneObject, Array]:
    """Of 24 random starts the one that is least often in the way of the objects placed before."""
    tries = 24
    x = rng.uniform(*ranges[0], tries)
    y = rng.uniform(*ranges[1], tries)
    path = object_path(item, grid)
    reach = extents(item.shape, path) + np.stack([path.x, path.y, path.x, path.y], axis=1)
    own = reach[None] + np.stack([x, y, x, y], axis=1)[:, None]
    crowding = np.zeros(tries)
    for other in taken:
        low = np.maximum(own[..., :2], other[None, :, :2])
        high = np.minimum(own[..., 2:], other[None, :, 2:])
        overlap = np.clip(high - low, 0.0, None).prod(-1)
        smaller = np.minimum((own[..., 2:] - own[..., :2]).prod(-1), (other[:, 2:] - other[:, :2]).prod(-1))
        crowding += (overlap / smaller).mean(axis=1)
    best = int(crowding.argmin())
    return replace(item, x=float(x[best]), y=float(y[best])), own[best]
