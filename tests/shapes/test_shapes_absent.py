"""What does not happen in a scene, and what happens in it more than once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.shapes.world import absent, long_scene
from bridge_stg.shapes.world import questions as questions_module
from bridge_stg.shapes.world import scene as scene_module
from bridge_stg.shapes.world.absent import absent_questions
from bridge_stg.shapes.world.long_scene import make_long_scene
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import (
    ACTIONS,
    BASE_FORM,
    COLOURS,
    HELD_OUT,
    ING_FORM,
    SHAPES,
    WORLD_ACTIONS,
    Action,
    SceneSettings,
    Split,
)
from bridge_stg.shapes.world.questions import questions, repeated_questions
from bridge_stg.shapes.world.scene import make_scene


def words_of(query: str) -> tuple[str | None, str | None, str]:
    """Colour, shape and action of a sentence without a relation, by its words."""
    words = query.rstrip("?").split()
    colour = next((word for word in words if word in COLOURS), None)
    shape = next((word for word in words if word in SHAPES), None)
    (kind,) = [kind for kind in ACTIONS if f" {kind}" in query or f" {ING_FORM[kind]}" in query]
    return colour, shape, kind


def test_nothing_fits_an_absent_question_and_most_are_near_misses() -> None:
    missed: Counter[str] = Counter()
    for seed in range(60):
        scene = make_scene(seed)
        found = absent_questions(scene, np.random.default_rng(seed), 4)
        assert len({question.query for question in found}) == len(found)
        for question in found:
            assert question.absent
            assert question.window is None
            colour, shape, kind = words_of(question.query)
            same_look = [
                item for item in scene.objects if colour in (None, item.colour) and shape in (None, item.shape)
            ]
            does_it = [item for item in scene.objects if any(a.kind == kind for a in item.actions)]
            assert not any(item in does_it for item in same_look), question.query
            missed["action" if same_look else "look" if does_it else "both"] += 1
    total = sum(missed.values())
    assert total > 200
    assert (missed["action"] + missed["look"]) / total > 0.6
    assert min(missed["action"], missed["look"]) / total > 0.15


def test_held_out_pairs_are_named_in_no_training_question() -> None:
    """Where only refusals name them, that they are new would be the reason to refuse (docs/log.md)."""
    named = dict.fromkeys(get_args(Split), 0)
    for split in named:
        for seed in range(60):
            scene = make_scene(seed, SceneSettings(split=split))
            rng = np.random.default_rng(seed)
            asked = [*questions(scene, rng), *absent_questions(scene, rng, 4)]
            texts = [f"{question.query} {' '.join(question.choices)}" for question in asked]
            named[split] += sum(f"{colour} {shape}" in text for text in texts for colour, shape in HELD_OUT)
    assert named["train"] == 0
    assert named["test"] > 0 < named["compositional"]


def test_a_version_keeps_its_questions() -> None:
    """Version 1 named held-out pairs in training; the other splits are drawn by it to this day."""
    assert [replace(SceneSettings(), split=split).version for split in get_args(Split)] == [
        2 if split == "train" else 1 for split in get_args(Split)
    ]
    old, new = (make_scene(11, SceneSettings(world=version)) for version in (1, 2))
    assert replace(old, world=2) == new
    assert questions(old, np.random.default_rng(1)) == questions(new, np.random.default_rng(1))
    named = [
        sum(
            f"{colour} {shape}" in question.query
            for seed in range(20)
            for question in absent_questions(scene, np.random.default_rng(seed), 4)
            for colour, shape in HELD_OUT
        )
        for scene in (old, new)
    ]
    assert named[0] > 0 == named[1]


def test_absent_questions_follow_from_their_seed() -> None:
    scene = make_scene(4)
    first, second = (absent_questions(scene, np.random.default_rng(9), 3) for _ in range(2))
    assert first == second


def test_repeats_give_questions_with_all_their_windows() -> None:
    """Checked against the actions themselves, and never asked as if there were one window."""
    settings = SceneSettings(min_duration=12.0, max_duration=24.0, repeats=0.8)
    several = 0
    for seed in range(40):
        scene = make_scene(seed, settings)
        for question in repeated_questions(scene, np.random.default_rng(seed)):
            colour, shape, kind = words_of(question.query)
            acting = [
                (index, action)
                for index, item in enumerate(scene.objects)
                if colour in (None, item.colour) and shape in (None, item.shape)
                for action in item.actions
                if action.kind == kind
            ]
            assert {index for index, _ in acting} == {question.object_index}
            assert len(question.windows) == len(acting) > 1
            assert question.window == question.windows[0]
            for window, (_, action) in zip(question.windows, acting, strict=True):
                assert action.start <= window.start < window.end <= action.end + 1 / 20
            several += 1
        repeated = {
            (index, kind)
            for index, item in enumerate(scene.objects)
            for kind, count in Counter(action.kind for action in item.actions).items()
            if count > 1
        }
        single = [q for q in questions(scene, np.random.default_rng(seed)) if q.task in ("stvg", "vtg")]
        plain = [
            q for q in single if not any(word in q.query for word in ("left of", "right of", "above", "below"))
        ]
        assert not any((q.object_index, q.kind) in repeated for q in plain)
    assert several > 60


def test_scenes_last_up_to_a_minute_with_events_anywhere() -> None:
    settings = SceneSettings(min_duration=50.0, max_duration=60.0)
    scenes = [make_scene(seed, settings) for seed in range(12)]
    assert all(50.0 <= scene.duration <= 60.1 for scene in scenes)
    starts = [action.start / scene.duration for scene in scenes for o in scene.objects for action in o.actions]
    assert min(starts) < 0.2
    assert max(starts) > 0.8
    with pytest.raises(InputError):
        SceneSettings(max_duration=61.0)


def test_a_new_action_leaves_what_a_version_shows_and_asks_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(seed: int) -> object:
        scene, long = make_scene(seed), make_long_scene(seed, 60.0)
        rng = np.random.default_rng(seed)
        return scene, questions(scene, rng), absent_questions(scene, rng, 4), long

    before = [told(seed) for seed in range(4)]
    monkeypatch.setitem(WORLD_ACTIONS, 3, (*ACTIONS, "hops"))
    # A file that goes by all actions there are, and not by those of the scene, would notice the new one.
    for module in (absent, long_scene, questions_module, scene_module):
        monkeypatch.setattr(module, "ACTIONS", (*ACTIONS, "hops"), raising=False)
    monkeypatch.setitem(BASE_FORM, "hops", "hop")
    assert [told(seed) for seed in range(4)] == before

    # A scene of the new version can be asked for it.
    newer = replace(make_scene(11), world=3)
    asked = [q.query for seed in range(20) for q in questions(newer, np.random.default_rng(seed))]
    assert any("hop?" in query for query in asked)
    with pytest.raises(InputError):
        SceneSettings(world=4)


def test_an_action_without_a_rule_is_an_error() -> None:
    scene = make_scene(1)
    hopper = replace(scene.objects[0], actions=(Action("hops", 1.0, 2.0),))
    with pytest.raises(ValueError, match="hops"):
        boxes(replace(scene, objects=(hopper,)), np.array([0.5]))
