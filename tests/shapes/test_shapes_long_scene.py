"""Long scenes: one event fits the question, everything stays in view, and the same seed draws the same."""

from __future__ import annotations

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.shapes.world.long_scene import make_long_scene
from bridge_stg.shapes.world.motion import boxes

SECONDS = 120.0


@pytest.mark.parametrize("rivals", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_it_happens_once_and_other_things_all_the_time(seed: int, rivals: bool) -> None:
    made = make_long_scene(seed, SECONDS, rivals=rivals)
    scene, question = made.scene, made.question
    assert scene.duration == pytest.approx(SECONDS)
    assert question.window is not None
    (event,) = [action for action in scene.objects[0].actions if action.kind == question.kind]
    assert (event.start, event.end) == pytest.approx((question.window.start, question.window.end))
    others = [action.kind for item in scene.objects[1:] for action in item.actions]
    assert rivals or question.kind not in others
    for item in scene.objects:
        times = [time for action in item.actions for time in (action.start, action.end)]
        assert times == sorted(times)
        assert len(item.actions) > SECONDS / 20
    _, visible = boxes(scene, np.arange(0.0, SECONDS, 0.5))
    assert visible.all()


def test_a_seed_says_everything() -> None:
    assert make_long_scene(3, SECONDS) == make_long_scene(3, SECONDS)
    assert make_long_scene(3, SECONDS) != make_long_scene(4, SECONDS)
    with pytest.raises(InputError):
        make_long_scene(3, 5.0)
