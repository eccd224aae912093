"""The labels of visual tokens against the boxes of the scene, and the probe that learns them."""

from __future__ import annotations

import numpy as np
import torch

from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.shapes.drawn_frames import sample_times
from bridge_stg.shapes.vision_probe import ACTION_NAMES, COLOUR_NAMES, SHAPE_NAMES, UNKNOWN, label_cells
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import SceneSettings
from bridge_stg.shapes.world.scene import make_scene

ROWS, COLUMNS = 4, 5


def test_labels_of_a_lone_object_follow_its_box_and_its_actions() -> None:
    for seed in range(12):
        scene = make_scene(seed, SceneSettings(min_objects=1, max_objects=1, max_duration=8.0))
        times = sample_times(scene, 2.0)
        labels = label_cells(scene, times, ROWS, COLUMNS).reshape(-1, ROWS, COLUMNS, 3)
        (thing,), (box, visible) = scene.objects, boxes(scene, times)
        for pair, frames in enumerate(frame_pairs(len(times))):
            covered = set()
            for frame in frames:
                if visible[0, frame]:
                    x1, y1, x2, y2 = box[0, frame]
                    for row in range(ROWS):
                        for column in range(COLUMNS):
                            x, y = (column + 0.5) / COLUMNS, (row + 0.5) / ROWS
                            if x1 <= x <= x2 and y1 <= y <= y2:
                                covered.add((row, column))
                    covered.add((int((y1 + y2) / 2 * ROWS), int((x1 + x2) / 2 * COLUMNS)))
            named = labels[pair, ..., 0] != COLOUR_NAMES.index("none")
            assert {(int(r), int(c)) for r, c in np.argwhere(named)} == covered
            assert (labels[pair][named][:, 0] == COLOUR_NAMES.index(thing.colour)).all()
            assert (labels[pair][named][:, 1] == SHAPE_NAMES.index(thing.shape)).all()
            assert (labels[pair][~named][:, 1:] == UNKNOWN).all()
            middle = times[frames].mean()
            if covered and times[frames[1]] > times[frames[0]]:
                # At the middle of the pair the majority rule and "is acting" can differ only near an end.
                near_an_end = any(abs(middle - t) < 0.3 for a in thing.actions for t in (a.start, a.end))
                acting = [a.kind for a in thing.actions if a.start <= middle < a.end]
                if not near_an_end:
                    expected = ACTION_NAMES.index(acting[0] if acting else "rests")
                    assert (labels[pair][named][:, 2] == expected).all()


def test_a_repeated_frame_has_no_action() -> None:
    scene = make_scene(3, SceneSettings(min_objects=2, max_objects=3))
    labels = label_cells(scene, np.array([1.0]), ROWS, COLUMNS)
    assert labels.shape == (ROWS * COLUMNS, 3)
    assert (labels[:, 2] == UNKNOWN).all()
    assert torch.from_numpy(labels).dtype == torch.int64
