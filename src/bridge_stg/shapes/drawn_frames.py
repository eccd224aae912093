"""What is read of a generated scene: times as a video file of it would be sampled, frames, and their cells."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.world.motion import frame_times
from bridge_stg.shapes.world.objects import Scene
from bridge_stg.shapes.world.render import render
from bridge_stg.video.sampling import choose_frames, wanted_times

NOISE = 5.0  # grey levels; stands for what video compression does to a clean drawing


def sample_times(scene: Scene, fps: float) -> NDArray[np.float64]:
    """Times (F,) of the frames that sampling a video file of this scene would choose."""
    shown = frame_times(scene)
    chosen = choose_frames(shown, wanted_times(0.0, scene.duration, fps), 0.5 / float(scene.fps))
    return shown[chosen]


def covered_cells(boxes: Iterable[NDArray[np.float64]], rows: int, columns: int) -> NDArray[np.bool_]:
    """The cells (rows, columns) of a frame with their centre in a box, and those that hold the centre of a box.

    Args:
        boxes: xyxy in [0, 1].
    """
    x, y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    covered = np.zeros((rows, columns), dtype=bool)
    for left, top, right, bottom in boxes:
        covered |= ((y >= top) & (y <= bottom))[:, None] & ((x >= left) & (x <= right))[None]

        # A small object may cover no centre of a cell.
        row, column = int((top + bottom) / 2 * rows), int((left + right) / 2 * columns)
        covered[min(row, rows - 1), min(column, columns - 1)] = True
    return covered


def draw(
    scene: Scene, times: NDArray[np.float64], processor: BridgeSTGProcessor, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Frames (F, H, W, 3) at the size the model reads, with a little noise."""
    width, height = processor.frame_size(scene.width, scene.height)
    frames = render(scene, times, width, height).astype(np.float32)
    frames += rng.normal(0.0, rng.uniform(0.0, NOISE), frames.shape).astype(np.float32)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)
