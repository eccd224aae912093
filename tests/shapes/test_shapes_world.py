"""The laws of the Shapes world: splits, timing, distractors, and that a seed means one scene."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_stg.errors import InputError
from bridge_stg.shapes.world.motion import boxes, object_path
from bridge_stg.shapes.world.objects import DIRECTIONS, HELD_OUT, RATES, Scene, SceneSettings, Split
from bridge_stg.shapes.world.scene import make_scene


@cache
def scene_of(seed: int, split: Split = "train") -> Scene:
    """Most of the tests look at the same scenes."""
    return make_scene(seed, SceneSettings(split=split))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**40), split=st.sampled_from(["train", "test", "compositional"]))
def test_a_seed_is_one_scene_that_keeps_the_laws(seed: int, split: Split) -> None:
    options = SceneSettings(split=split)
    scene = make_scene(seed, options)
    assert scene == make_scene(seed, options)
    assert scene.fps in RATES
    assert 3.95 <= scene.duration <= 16.05
    assert 2 <= len(scene.objects) <= 6
    assert len({item.name for item in scene.objects}) == len(scene.objects)
    assert sorted(item.depth for item in scene.objects) == list(range(len(scene.objects)))
    for item in scene.objects:
        assert 0.22 <= item.size <= 0.42
        assert 1 <= len(item.actions) <= 3
        kinds = [action.kind for action in item.actions]
        assert len(set(kinds)) == len(kinds)
        assert not (item.shape == "circle" and "spins" in kinds)
        end = 0.0
        for action in item.actions:
            assert action.start >= end + 0.29
            assert 1.4 <= action.end - action.start <= 5.0
            end = action.end
            if action.kind in DIRECTIONS:
                assert 0.12 <= action.rate <= 0.28
            if action.kind == "blinks":
                assert (action.end - action.start) % 1.0 == pytest.approx(0.5)
        assert end <= scene.duration - 0.29


def test_splits_hold_out_their_combinations_and_never_share_a_scene() -> None:
    for seed in range(120):
        made = {split: scene_of(seed, split) for split in get_args(Split)}
        for split in ("train", "test"):
            assert not any((item.colour, item.shape) in HELD_OUT for item in made[split].objects)
        held = [(item.colour, item.shape) in HELD_OUT for item in made["compositional"].objects]
        assert held[0]
        assert not any(held[1:])
        assert made["train"].objects != made["test"].objects


def test_every_colour_and_shape_of_a_held_out_pair_is_seen_in_training() -> None:
    seen = {(i.colour, i.shape) for s in range(150) for i in scene_of(s).objects}
    assert len(seen) == 8 * 6 - len(HELD_OUT) == 42


def test_distractors_leave_nothing_to_guess() -> None:
    """Over 200 seeds: a neighbour in looks, and for each action of the target a rival in time."""
    for seed in range(200):
        target, *others = scene_of(seed).objects
        assert any((o.colour == target.colour) != (o.shape == target.shape) for o in others)
        for action in target.actions:
            elsewhere = [
                a
                for o in others
                for a in o.actions
                if a.kind == action.kind and (a.end <= action.start or a.start >= action.end)
            ]
            assert len(target.actions) > 1 or elsewhere


def test_objects_enter_and_leave_and_otherwise_stay_in_view() -> None:
    entering = leaving = 0
    for seed in range(150):
        scene = scene_of(seed)
        for index, item in enumerate(scene.objects):
            first, last = item.actions[0], item.actions[-1]
            before, after, scene_end = 0.0, first.end, scene.duration - 1e-6
            _, visible = boxes(scene, np.array([before, after, last.start, scene_end]))
            seen = visible[index]
            if not seen[0]:
                entering += 1
                assert first.kind in DIRECTIONS
            if not seen[3]:
                leaving += 1
                assert last.kind in DIRECTIONS
            assert seen[0] or seen[3]
            assert seen[1] or not seen[3]
            assert seen[2] or not seen[0]
    assert entering > 15
    assert leaving > 15


def test_occlusion_is_occasional() -> None:
    """Some object is more than half behind another one in some scenes, but in few moments of them."""
    hidden = moments = 0
    for seed in range(80):
        scene = make_scene(seed, SceneSettings(min_objects=3))
        times = np.arange(0.0, scene.duration, 0.5)
        position, _ = boxes(scene, times)
        for index, item in enumerate(scene.objects):
            for other, cover in enumerate(scene.objects):
                if cover.depth <= item.depth:
                    continue
                for back, front in zip(position[index], position[other], strict=True):
                    wide = min(back[2], front[2]) - max(back[0], front[0])
                    tall = min(back[3], front[3]) - max(back[1], front[1])
                    area = (back[2] - back[0]) * (back[3] - back[1])
                    hidden += area > 0 and wide > 0 and tall > 0 and wide * tall > 0.5 * area
                    moments += 1
    assert 0 < hidden < 0.03 * moments


def test_settings_bound_the_scene() -> None:
    for seed in range(20):
        scene = make_scene(seed, SceneSettings(1, 1, 5.0, 6.0, width=426, height=240))
        assert len(scene.objects) == 1
        assert 4.95 <= scene.duration <= 6.05
        assert scene.aspect == 426 / 240


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_objects": 3, "max_objects": 2},
        {"min_objects": 0},
        {"max_objects": 9},
        {"min_duration": 3.9},
        {"min_duration": 9.0, "max_duration": 8.0},
        {"split": "dev"},
        {"width": 100, "height": 1000},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"got"):
        SceneSettings(**wrong)  # type: ignore[arg-type]


def test_sizes_stay_within_what_can_be_seen() -> None:
    for seed in range(60):
        scene = scene_of(seed)
        for item in scene.objects:
            size = object_path(item, np.linspace(0, scene.duration, 60)).size
            assert size.min() >= 0.15
            assert size.max() <= 0.58
