"""Where every object is at any time: poses and boxes, exact and vectorised over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.shapes.world.objects import DIRECTIONS, Camera, Scene, SceneObject

Array = NDArray[np.float64]

DIM_OPACITY = 0.15
HALF_PERIOD = 0.5  # seconds dim, then as long bright
MIN_VISIBLE_AREA = 0.3  # share of the box inside the frame below which an object counts as not visible

CROSS_ARM = 0.17
DIAMOND_HALF_WIDTH = 0.36
STAR_RADIUS = 0.55
PENTAGRAM = 0.381966  # inner over outer radius of the regular pentagram


def _star() -> Array:
    turns = -np.pi / 2 + np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2 == 0, STAR_RADIUS, STAR_RADIUS * PENTAGRAM)
    return np.stack([radius * np.cos(turns), radius * np.sin(turns)], axis=1)


# Convex hull vertices at angle 0 and side 1, (V, 2). A diamond is a slim rhombus, never a turned square.
VERTICES: dict[str, Array] = {
    "square": np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
    "triangle": np.array([[0.0, -0.55], [0.52, 0.4], [-0.52, 0.4]]),
    "star": _star()[::2],
    "diamond": np.array([[0.0, -0.5], [DIAMOND_HALF_WIDTH, 0.0], [0.0, 0.5], [-DIAMOND_HALF_WIDTH, 0.0]]),
    "cross": np.array(
        [[x, y] for a in (-CROSS_ARM, CROSS_ARM) for b in (-0.5, 0.5) for x, y in ((a, b), (b, a))]
    ),
}


@dataclass(frozen=True)
class Poses:
    """One object over time, each of shape (T,): centre and side in heights, angle in radians, opacity."""

    x: Array
    y: Array
    size: Array
    angle: Array
    opacity: Array


def frame_times(scene: Scene) -> Array:
    """When each frame of a scene is shown, (T,) seconds."""
    return np.arange(scene.frame_count) / float(scene.fps)


def camera_offset(camera: Camera, times: Array) -> tuple[Array, Array]:
    """How far the camera's sway shifts the whole world at ``times`` (T,), in heights: x and y, each (T,)."""
    shift = [
        amplitude * np.sin(2 * np.pi * times / period + phase)
        for amplitude, period, phase in zip(camera.amplitude, camera.period, camera.phase, strict=True)
    ]
    return shift[0], shift[1]


def object_path(item: SceneObject, times: Array) -> Poses:
    """One object at ``times`` (T,) in world coordinates, without the camera's sway."""
    x = np.full(times.shape, item.x)
    y = np.full(times.shape, item.y)
    size = np.full(times.shape, item.size)
    angle = np.full(times.shape, item.angle)
    opacity = np.ones(times.shape)
    for action in item.actions:
        elapsed = np.clip(times - action.start, 0.0, action.end - action.start)
        if action.kind in DIRECTIONS:
            across, down = DIRECTIONS[action.kind]
            x = x + across * action.rate * elapsed
            y = y + down * action.rate * elapsed
        elif action.kind in ("grows", "shrinks"):
            size = size * (1.0 + (action.rate - 1.0) * elapsed / (action.end - action.start))
        elif action.kind == "spins":
            angle = angle + 2 * np.pi * action.rate * elapsed
        elif action.kind == "blinks":
            # Dim first: the start of a blink is then seen at once.
            inside = (times >= action.start) & (times < action.end)
            dim = np.floor((times - action.start) / HALF_PERIOD) % 2 == 0
            opacity = np.where(inside & dim, DIM_OPACITY, opacity)
        else:
            raise ValueError(f"no rule moves an object that {action.kind}; add one for every action")
    return Poses(x, y, size, angle, opacity)


def poses(scene: Scene, index: int, times: Array) -> Poses:
    """Object ``index`` as seen on screen at ``times`` (T,)."""
    path = object_path(scene.objects[index], times)
    across, down = camera_offset(scene.camera, times)
    return Poses(path.x + across, path.y + down, path.size, path.angle, path.opacity)


def extents(shape: str, pose: Poses) -> Array:
    """(T, 4): how far the turned shape reaches left, up, right and down of its centre, signed, in heights."""
    if shape == "circle":
        half = pose.size / 2
        return np.stack([-half, -half, half, half], axis=1)
    cosine, sine = np.cos(pose.angle)[:, None], np.sin(pose.angle)[:, None]
    u, v = VERTICES[shape].T
    x = (cosine * u - sine * v) * pose.size[:, None]
    y = (sine * u + cosine * v) * pose.size[:, None]
    return np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1)


def boxes(scene: Scene, times: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The tight box of every object at every time, whether or not another object hides it.

    Args:
        times: (T,) seconds.

    Returns:
        (O, T, 4) xyxy as fractions of the frame's width and height, clipped to [0, 1]; (O, T) bool, false where
        less than 30% of the box's area is inside the frame.
    """
    times = np.asarray(times, dtype=np.float64)
    scale = np.array([scene.aspect, 1.0, scene.aspect, 1.0])
    full = np.empty((len(scene.objects), len(times), 4))
    for index, item in enumerate(scene.objects):
        pose = poses(scene, index, times)
        centre = np.stack([pose.x, pose.y, pose.x, pose.y], axis=1)
        full[index] = (centre + extents(item.shape, pose)) / scale
    clipped = np.clip(full, 0.0, 1.0)
    inside = (clipped[..., 2:] - clipped[..., :2]).prod(-1)
    area = (full[..., 2:] - full[..., :2]).prod(-1)
    return clipped, inside >= MIN_VISIBLE_AREA * area
