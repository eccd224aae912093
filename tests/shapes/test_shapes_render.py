"""Boxes, poses and pixels agree."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge_stg.shapes.world.motion import boxes, object_path, poses
from bridge_stg.shapes.world.objects import COLOURS, SHAPES, Action, Camera, Scene, SceneObject, SceneSettings
from bridge_stg.shapes.world.render import render
from bridge_stg.shapes.world.scene import make_scene

STILL = Camera((0.0, 0.0), (12.0, 12.0), (0.0, 0.0))


def one(item: SceneObject, camera: Camera = STILL) -> Scene:
    return Scene(0, "train", Fraction(25), 200, 320, 240, (item,), camera, 7)


def test_poses_by_hand() -> None:
    actions = (
        Action("moves left", 1.0, 3.0, 0.2),
        Action("grows", 4.0, 5.0, 1.7),
        Action("spins", 5.0, 6.0, -0.25),
        Action("shrinks", 6.0, 7.0, 0.6),
    )
    path = object_path(
        SceneObject("red", "square", 0.3, 0.7, 0.5, 0.0, 0, actions), np.array([0, 2, 3.5, 4.5, 5, 6, 6.5, 7.5])
    )
    np.testing.assert_allclose(path.x, [0.7, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    np.testing.assert_allclose(path.y, 0.5)
    np.testing.assert_allclose(path.size, [0.3, 0.3, 0.3, 0.405, 0.51, 0.51, 0.408, 0.306])
    np.testing.assert_allclose(path.angle, [0, 0, 0, 0, 0, -np.pi / 2, -np.pi / 2, -np.pi / 2], atol=1e-12)


def test_a_blink_is_dim_first_and_bright_every_other_half_second() -> None:
    item = SceneObject("red", "circle", 0.3, 0.7, 0.5, 0.0, 0, (Action("blinks", 1.0, 2.5),))
    path = object_path(item, np.array([0.9, 1.0, 1.4, 1.6, 1.9, 2.1, 2.4, 2.5, 3.0]))
    np.testing.assert_allclose(path.opacity, [1, 0.15, 0.15, 1, 1, 0.15, 0.15, 1, 1])


def test_boxes_by_hand() -> None:
    """A 240 high frame: side 0.3 is 72 px; a square turned by 45 degrees is the square root of 2 wider."""
    square = SceneObject("red", "square", 0.3, 2 / 3, 0.5, 0.0, 0, ())
    box, visible = boxes(one(square), np.zeros(1))
    np.testing.assert_allclose(box[0, 0] * [320, 240, 320, 240], [124, 84, 196, 156])
    assert visible.all()
    turned, _ = boxes(one(replace(square, angle=np.pi / 4)), np.zeros(1))
    half = 36 * np.sqrt(2)
    np.testing.assert_allclose(
        turned[0, 0] * [320, 240, 320, 240], [160 - half, 120 - half, 160 + half, 120 + half]
    )


@pytest.mark.parametrize(("x", "seen"), [(-0.0601, False), (-0.0599, True), (0.1, True)])
def test_visible_is_thirty_percent_of_the_box(x: float, seen: bool) -> None:
    """Side 0.3 at x: 0.15 + x of 0.3 is inside, which is 30% at x = -0.06."""
    item = SceneObject("red", "circle", 0.3, x, 0.5, 0.0, 0, ())
    box, visible = boxes(one(item), np.zeros(1))
    assert visible[0, 0] == seen
    assert box[0, 0, 0] == 0.0


SWAYING = Camera((0.05, 0.04), (13.0, 17.0), (0.3, 1.0))
THROUGH_ALL = np.linspace(0, 7.5, 31)


@cache
def backdrop(width: int, height: int) -> NDArray[np.int16]:
    """What is behind the object of the test below, the same for every shape and colour."""
    nobody = replace(one(SceneObject("red", "circle", 0.24, 0.85, 0.45, 0.1, 0, ()), SWAYING), objects=())
    return render(nobody, THROUGH_ALL, width, height).astype(np.int16)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(320, 240), (128, 96)])
def test_changed_pixels_fill_the_box(shape: str, size: tuple[int, int]) -> None:
    """Drawing minus the same drawing without the object: its bounding box is the box, within 1.5 pixels."""
    width, height = size
    actions = (
        Action("moves left", 0.3, 1.8, 0.28),
        Action("grows", 2.1, 3.6, 1.7),
        Action("spins", 3.9, 5.4, 0.35),
        Action("blinks", 5.7, 7.2),
    )
    for colour in list(COLOURS)[::3]:
        item = SceneObject(colour, shape, 0.24, 0.85, 0.45, 0.1, 0, actions)
        scene = one(item, SWAYING)
        drawn = render(scene, THROUGH_ALL, width, height).astype(np.int16)
        box, visible = boxes(scene, THROUGH_ALL)
        assert visible.all()
        change = np.abs(drawn - backdrop(width, height)).max(-1)
        for frame in range(len(THROUGH_ALL)):
            # The rim changes less than the mark in the middle: this is about a quarter of a rim pixel.
            ys, xs = np.nonzero(change[frame] > 0.15 * change[frame].max())
            found = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            wanted = box[0, frame] * [width, height, width, height]
            assert np.abs(found - wanted).max() <= 1.5, (colour, frame, found, wanted)


def test_shapes_are_drawn_with_the_area_they_have() -> None:
    """Pixels covered, against each shape's area for side 1 worked by hand."""
    # Star: ten triangles between outer radius 0.55 and inner radius 0.55 * 0.382, 36 degrees apart.
    area = {
        "circle": np.pi / 4,
        "square": 1.0,
        "triangle": 0.5 * 1.04 * 0.95,
        "star": 10 * 0.5 * 0.55 * 0.55 * 0.381966 * np.sin(np.pi / 5),
        "diamond": 0.5 * 1.0 * 0.72,
        "cross": 2 * 1.0 * 0.34 - 0.34**2,
    }
    for shape in SHAPES:
        scene = one(SceneObject("blue", shape, 0.5, 2 / 3, 0.5, 0.4, 0, ()))
        drawn = render(scene, np.zeros(1), 640, 480).astype(int)[0]
        empty = render(replace(scene, objects=()), np.zeros(1), 640, 480).astype(int)[0]
        covered = (np.abs(drawn - empty).max(-1) > 20).sum() / 480**2 / 0.25
        assert covered == pytest.approx(area[shape], rel=0.03), shape


def test_nearer_objects_hide_farther_ones() -> None:
    red = SceneObject("red", "square", 0.4, 2 / 3, 0.5, 0.0, 0, ())
    blue = replace(red, colour="blue", depth=1)
    for front, back in ((blue, red), (replace(red, depth=2), blue)):
        scene = replace(one(red), objects=(front, back))
        pixel = render(scene, np.zeros(1), 320, 240)[0, 140, 130]
        np.testing.assert_allclose(pixel, COLOURS[front.colour], atol=1)


def test_the_same_scene_at_two_sizes_looks_the_same() -> None:
    scene = make_scene(12, SceneSettings())
    times = np.linspace(0, scene.duration, 6, endpoint=False)
    small = render(scene, times, 80, 60).astype(float)
    large = render(scene, times, 320, 240).astype(float)
    averaged = large.reshape(6, 60, 4, 80, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - averaged).mean() < 3.0
    assert np.quantile(np.abs(small - averaged), 0.9) < 6.0


def test_frames_do_not_depend_on_the_frames_drawn_with_them() -> None:
    scene = make_scene(5, SceneSettings())
    times = np.linspace(0, scene.duration, 40, endpoint=False)
    together = render(scene, times, 64, 48)
    alone = np.concatenate([render(scene, times[i : i + 1], 64, 48) for i in range(40)])
    # In company a patch may be larger, which moves no edge; float32 sums may differ in the last bit.
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_the_background_moves_and_stays_dull() -> None:
    scene = replace(make_scene(3, SceneSettings()), objects=())
    frames = render(scene, np.array([0.0, 3.0]), 160, 120).astype(float)
    assert np.abs(frames[0] - frames[1]).mean() > 1.0
    spread = frames[0].max(-1) - frames[0].min(-1)
    assert spread.mean() < 60
    assert 3.0 < frames[0].mean(-1).std() < 30


def test_camera_sway_is_slow_and_shared() -> None:
    scene = make_scene(8, SceneSettings(min_objects=3))
    times = np.arange(0, scene.duration, 0.1)
    seen = [poses(scene, i, times) for i in range(len(scene.objects))]
    paths = [object_path(item, times) for item in scene.objects]
    shifts = np.array([[s.x - p.x, s.y - p.y] for s, p in zip(seen, paths, strict=True)])
    np.testing.assert_allclose(shifts - shifts[:1], 0, atol=1e-12)
    speed = np.hypot(*np.diff(shifts[0], axis=1)) / 0.1
    assert 0 < speed.max() <= 0.03
