"""Draw a scene at any size: anti-aliased shapes by signed distance over a drifting texture.

Training draws its clips with this function, so it works on all frames at once and only inside each object's
patch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge_stg.shapes.world.motion import (
    CROSS_ARM,
    DIAMOND_HALF_WIDTH,
    STAR_RADIUS,
    VERTICES,
    Array,
    camera_offset,
    extents,
    poses,
)
from bridge_stg.shapes.world.objects import COLOURS, Scene

Floats = NDArray[np.float32]

CHUNK = 32  # frames drawn together: larger chunks fall out of the cache
OUTLINE = 0.012  # heights
MARK_LENGTH, MARK_WIDTH = 0.27, 0.075  # a bar from the centre upwards, in sides: shows that a circle turns too
WAVES = 7
PENTAGON_EDGE = STAR_RADIUS * np.cos(np.deg2rad(72.0))  # distance of a pentagram's lines from its centre


def render(scene: Scene, times: Array, width: int, height: int) -> NDArray[np.uint8]:
    """The frames at ``times`` (T,) seconds, (T, height, width, 3) uint8 RGB.

    The whole world fills the frame whatever the size, as a resize of the nominal frame would show it.
    """
    times = np.asarray(times, dtype=np.float64)
    frames = np.empty((len(times), height, width, 3), dtype=np.uint8)
    for first in range(0, len(times), CHUNK):
        part = times[first : first + CHUNK]
        canvas = _background(scene, part, width, height)
        for index in sorted(range(len(scene.objects)), key=lambda i: scene.objects[i].depth):
            _draw(canvas, scene, index, part)
        canvas += 0.5
        frames[first : first + CHUNK] = canvas.astype(np.uint8)
    return frames


def _background(scene: Scene, times: Array, width: int, height: int) -> Floats:
    """Low waves in muted colours that follow the camera and slowly change, (T, H, W, 3) float32 in 0..255.

    Each wave sin(a x + b y + c) is split by the addition theorem into products of a row and a column, so that
    the whole texture is one small matrix product per frame, exact at every sub-pixel shift and size.
    """
    rng = np.random.default_rng(scene.background_seed)
    base = np.array([rng.uniform(88, 122), rng.uniform(92, 120), rng.uniform(74, 100)])
    frequency = rng.uniform(0.6, 5.0, WAVES) * 2 * np.pi
    heading = rng.uniform(0, 2 * np.pi, WAVES)
    phase = rng.uniform(0, 2 * np.pi, WAVES)
    speed = rng.uniform(-0.5, 0.5, WAVES)
    # Mostly brightness, a little hue, fading with frequency: a texture, not an object.
    tint = rng.uniform(0.7, 1.3, (WAVES, 3)) * (rng.uniform(3.0, 8.0, WAVES) / (frequency / 6) ** 0.3)[:, None]

    across, down = camera_offset(scene.camera, times)
    x = (np.arange(width) + 0.5) / width * scene.aspect - across[:, None]
    y = (np.arange(height) + 0.5) / height - down[:, None]
    row = (frequency * np.cos(heading))[:, None] * x[:, None] + phase[:, None]
    row += (speed * times[:, None])[:, :, None]
    column = (frequency * np.sin(heading)) * y[..., None]
    left = np.concatenate([np.sin(column), np.cos(column), np.ones((*column.shape[:2], 1))], axis=2)
    right = np.concatenate([np.cos(row), np.sin(row)], axis=1)[..., None] * np.tile(tint, (2, 1))[:, None, :]
    flat = np.broadcast_to(base, (len(times), 1, width, 3))
    right = np.concatenate([right, flat], axis=1).reshape(len(times), 2 * WAVES + 1, width * 3)
    picture: Floats = np.matmul(left.astype(np.float32), right.astype(np.float32))
    return picture.reshape(len(times), height, width, 3)


def _distance(shape: str, u: Floats, v: Floats) -> Floats:
    """Signed distance to the outline of a shape with side 1; negative inside, exact along straight edges."""
    if shape == "circle":
        radius: Floats = np.sqrt(u * u + v * v)
        return radius - np.float32(0.5)

    if shape == "square":
        furthest: Floats = np.maximum(np.abs(u), np.abs(v))
        return furthest - np.float32(0.5)

    if shape == "diamond":
        # Its edge is the line u / width + v / height = 1 of the first quadrant, scaled to unit length.
        slope = float(np.hypot(0.5, DIAMOND_HALF_WIDTH))
        across, down = np.float32(0.5 / slope), np.float32(DIAMOND_HALF_WIDTH / slope)
        reach: Floats = np.add(np.abs(u) * across, np.abs(v) * down, dtype=np.float32)
        return reach - np.float32(0.5 * DIAMOND_HALF_WIDTH / slope)

    if shape == "cross":
        wide, tall = np.abs(u), np.abs(v)
        ends = np.maximum(wide, tall) - np.float32(0.5)
        return np.maximum(ends, np.minimum(wide, tall) - np.float32(CROSS_ARM))

    if shape == "triangle":
        distance: Floats = np.full(u.shape, -np.inf, dtype=np.float32)
        corners = VERTICES[shape]
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            edge = (end - start) / np.hypot(*(end - start))
            normal = np.array([edge[1], -edge[0]])
            offset = np.float32(normal @ start)
            np.maximum(distance, u * np.float32(normal[0]) + v * np.float32(normal[1]) - offset, out=distance)
        return distance

    # A point is in the five-pointed star when it is outside at most one of the pentagram's five lines: the
    # second largest of the five distances decides.
    largest = np.full(u.shape, -np.inf, dtype=np.float32)
    second = largest.copy()
    for turn in -np.pi / 2 + np.arange(5) * 2 * np.pi / 5:
        line = u * np.float32(np.cos(turn)) + v * np.float32(np.sin(turn)) - np.float32(PENTAGON_EDGE)
        np.maximum(second, np.minimum(largest, line), out=second)
        np.maximum(largest, line, out=largest)

    # Beyond a sharp tip that value grows too slowly, which would smear the tip past its box.
    return np.maximum(second, np.sqrt(u * u + v * v) - np.float32(STAR_RADIUS))


def _draw(canvas: Floats, scene: Scene, index: int, times: Array) -> None:
    """Blend one object into all frames of ``canvas`` (T, H, W, 3), in place."""
    height, width = canvas.shape[1:3]
    item = scene.objects[index]
    pose = poses(scene, index, times)
    reach = extents(item.shape, pose) + np.stack([pose.x, pose.y, pose.x, pose.y], axis=1)
    wide, tall = width / scene.aspect, float(height)
    # One patch size for all frames, large enough for the largest box and one pixel of soft edge on each side.
    left = np.floor(reach[:, 0] * wide - 1).astype(np.int64)
    top = np.floor(reach[:, 1] * tall - 1).astype(np.int64)
    columns = int((np.ceil(reach[:, 2] * wide + 1).astype(np.int64) - left).max())
    rows = int((np.ceil(reach[:, 3] * tall + 1).astype(np.int64) - top).max())
    on_screen = np.flatnonzero((left < width) & (left + columns > 0) & (top < height) & (top + rows > 0))
    if not len(on_screen):
        return
    left, top = left[on_screen], top[on_screen]
    size = pose.size[on_screen]
    x = ((left[:, None] + np.arange(columns) + 0.5) / wide - pose.x[on_screen, None]) / size[:, None]
    y = ((top[:, None] + np.arange(rows) + 0.5) / tall - pose.y[on_screen, None]) / size[:, None]
    cosine, sine = np.cos(pose.angle[on_screen, None]), np.sin(pose.angle[on_screen, None])
    u = (cosine * x).astype(np.float32)[:, None, :] + (sine * y).astype(np.float32)[:, :, None]
    v = (-sine * x).astype(np.float32)[:, None, :] + (cosine * y).astype(np.float32)[:, :, None]

    # Distances in pixels: sides -> heights -> pixels (the geometric mean where the two axes differ).
    pixels = (size * np.sqrt(wide * tall)).astype(np.float32)[:, None, None]
    distance = _distance(item.shape, u, v) * pixels
    cover = np.clip(np.float32(0.5) - distance, 0.0, 1.0)
    cover *= pose.opacity[on_screen].astype(np.float32)[:, None, None]
    outline = np.clip(distance + np.float32(max(OUTLINE * height, 0.7) + 0.5), 0.0, 1.0)
    above = v - np.clip(v, np.float32(-MARK_LENGTH), np.float32(0.0))
    bar = np.sqrt(u * u + above * above)
    mark = np.clip(np.float32(0.5) - (bar - np.float32(MARK_WIDTH)) * pixels, 0.0, 1.0)

    fill = np.array(COLOURS[item.colour], dtype=np.float32)
    # Pale colours cannot carry a paler mark.
    pale = float(fill @ np.array([0.3, 0.59, 0.11])) > 160
    marked = fill * np.float32(0.55) if pale else fill * np.float32(0.35) + np.float32(0.65 * 255)
    darker = fill * np.float32(0.62)
    for place, frame in enumerate(on_screen):
        x0, y0 = int(left[place]), int(top[place])
        xs = slice(max(0, -x0), min(columns, width - x0))
        ys = slice(max(0, -y0), min(rows, height - y0))
        view = canvas[frame, y0 + ys.start : y0 + ys.stop, x0 + xs.start : x0 + xs.stop]
        paint = outline[place, ys, xs, None] * (darker - fill) + fill
        paint += mark[place, ys, xs, None] * (marked - paint)
        paint -= view
        paint *= cover[place, ys, xs, None]
        view += paint
