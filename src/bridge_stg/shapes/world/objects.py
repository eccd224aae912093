"""What a Shapes scene is made of: the vocabulary and the frozen values of one scene.

World coordinates: the frame is 1 high and ``aspect`` wide, x to the right, y down, so every length is a
fraction of the frame's height. Times are seconds from the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast, get_args

from bridge_stg.errors import InputError

Split = Literal["train", "test", "compositional"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 34, 40),
    "green": (28, 158, 52),
    "blue": (36, 72, 222),
    "yellow": (244, 222, 36),
    "purple": (140, 40, 178),
    "orange": (250, 132, 16),
    "cyan": (36, 208, 226),
    "white": (246, 246, 246),
}

SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "diamond", "cross")

# The verb phrase that follows "that" is the name of an action everywhere in this package.
ACTIONS: tuple[str, ...] = (
    "moves left",
    "moves right",
    "moves up",
    "moves down",
    "grows",
    "shrinks",
    "blinks",
    "spins",
)

# Which actions each version of the world draws from. A new action makes a new version, because a draw among
# nine is another draw than one among eight: a seed of an old version keeps its scenes and its questions.
WORLD_ACTIONS: dict[int, tuple[str, ...]] = {1: ACTIONS, 2: ACTIONS}
# Since version 2 no training question names a held-out pair, those about what does not happen included. Nothing
# else is new, so the other splits are drawn by version 1 and stay the same files.
NO_HELD_OUT_NAMES = 2
NEWEST_WORLD: dict[Split, int] = {"train": 2, "test": 1, "compositional": 1}

BASE_FORM: dict[str, str] = {
    "moves left": "move left",
    "moves right": "move right",
    "moves up": "move up",
    "moves down": "move down",
    "grows": "grow",
    "shrinks": "shrink",
    "blinks": "blink",
    "spins": "spin",
}

ING_FORM: dict[str, str] = {
    "moves left": "moving left",
    "moves right": "moving right",
    "moves up": "moving up",
    "moves down": "moving down",
    "grows": "growing",
    "shrinks": "shrinking",
    "blinks": "blinking",
    "spins": "spinning",
}

# Unit directions of the moves; y points down.
DIRECTIONS: dict[str, tuple[float, float]] = {
    "moves left": (-1.0, 0.0),
    "moves right": (1.0, 0.0),
    "moves up": (0.0, -1.0),
    "moves down": (0.0, 1.0),
}

# The one action of a shape that nobody can see: a circle that spins looks like one that rests.
UNSEEN = ("circle", "spins")

# Never seen in training: each of these colours and each of these shapes is, but not together. The six shapes
# occur once each, and cyan and white keep all shapes, so that no colour or shape becomes rare in training.
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "star"),
        ("green", "diamond"),
        ("blue", "cross"),
        ("yellow", "square"),
        ("purple", "triangle"),
        ("orange", "circle"),
    }
)

# Seconds of a scene. In less than four there is often no room for an action that has a rival.
SHORTEST_SCENE = 4.0
LONGEST_SCENE = 60.0

RATES: tuple[Fraction, ...] = (Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001))


def parse_split(name: str) -> Split:
    """The split of that name.

    Raises:
        InputError: there is none.
    """
    if name not in get_args(Split):
        raise InputError(f"split must be one of {', '.join(get_args(Split))}, got {name!r}")
    return cast(Split, name)


def can_show(shape: str, kind: str) -> bool:
    """Whether an object of this shape can be seen to do this.

    >>> can_show("circle", "spins"), can_show("star", "spins")
    (False, True)
    """
    return (shape, kind) != UNSEEN


@dataclass(frozen=True)
class Action:
    """One timed action, seconds ``[start, end)``.

    ``rate`` is heights per second for a move, the factor of the side reached at the end for grows and shrinks,
    turns per second (negative: anticlockwise) for spins, and unused for blinks.
    """

    kind: str
    start: float
    end: float
    rate: float = 0.0


@dataclass(frozen=True)
class SceneObject:
    """One object as it is before its first action: centre (x, y) and side in heights, angle in radians.

    A larger ``depth`` is nearer to the viewer. Actions are in order of time and never overlap.
    """

    colour: str
    shape: str
    size: float
    x: float
    y: float
    angle: float
    depth: int
    actions: tuple[Action, ...]

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    def doing(self, start: float, end: float) -> str:
        """The action that covers more than half of ``[start, end)`` seconds, ``"rests"`` if none does."""
        for action in self.actions:
            if min(end, action.end) - max(start, action.start) > (end - start) / 2:
                return action.kind
        return "rests"


@dataclass(frozen=True)
class Camera:
    """A slow sway: on each axis the whole world is shifted by ``amplitude * sin(2 pi t / period + phase)``."""

    amplitude: tuple[float, float]
    period: tuple[float, float]
    phase: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A clip that can be drawn at any size; object 0 is the one the distractors are built around.

    ``world`` is the version of the generator that made it: what can happen in it, and so what can be asked.
    """

    seed: int
    split: Split
    fps: Fraction
    frame_count: int
    width: int
    height: int
    objects: tuple[SceneObject, ...]
    camera: Camera
    background_seed: int
    world: int = NO_HELD_OUT_NAMES

    @property
    def actions(self) -> tuple[str, ...]:
        """What objects of this version of the world do."""
        return WORLD_ACTIONS[self.world]

    @property
    def duration(self) -> float:
        return float(self.frame_count / self.fps)

    @property
    def aspect(self) -> float:
        return self.width / self.height


@dataclass(frozen=True)
class SceneSettings:
    """What ``make_scene`` may draw; durations in seconds, the frame's size in pixels gives the aspect ratio.

    ``repeats`` is the chance that an object does one of its actions twice. ``world`` is the version of the
    generator, None for the newest of the split: the same seed, settings and version give the same
    scene and the same questions.

    Raises:
        InputError: limits that no scene can meet.
    """

    min_objects: int = 2
    max_objects: int = 6
    min_duration: float = 4.0
    max_duration: float = 16.0
    split: Split = "train"
    width: int = 320
    height: int = 240
    repeats: float = 0.0
    world: int | None = None

    def __post_init__(self) -> None:
        parse_split(self.split)
        if not 1 <= self.min_objects <= self.max_objects <= 8:
            raise InputError(
                f"objects must be within 1..8 and ordered, got {self.min_objects}..{self.max_objects}"
            )
        if not SHORTEST_SCENE <= self.min_duration <= self.max_duration:
            raise InputError(
                f"durations must be at least {SHORTEST_SCENE:g} seconds and ordered, "
                f"got {self.min_duration}..{self.max_duration}"
            )
        if self.max_duration > LONGEST_SCENE:
            raise InputError(f"scenes last up to {LONGEST_SCENE:g} seconds, got {self.max_duration:g}")
        if not 0.0 <= self.repeats <= 1.0:
            raise InputError(f"repeats is a chance within 0..1, got {self.repeats:g}")
        if self.version not in WORLD_ACTIONS:
            raise InputError(f"the world has versions {', '.join(map(str, WORLD_ACTIONS))}, got {self.world}")
        if self.height < 16 or not 0.75 <= self.width / self.height <= 2.5:
            raise InputError(
                "the frame must be at least 16 pixels high and 0.75 to 2.5 times as wide, "
                f"got {self.width}x{self.height}"
            )

    @property
    def version(self) -> int:
        """Of the world: the one that was asked for, or else the newest of the split."""
        return NEWEST_WORLD[self.split] if self.world is None else self.world
