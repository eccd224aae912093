"""Film strips: boxes stand where they should, in the colour of their lane, and so do windows on the bar."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.report_rows import true

from bridge_stg.errors import VideoError
from bridge_stg.evaluation.report.strips import STRIP_WIDTH, Lane, draw_strip, read_frames
from bridge_stg.inference.lettering import Color
from bridge_stg.types import TimeSpan

GREEN, AMBER = (0, 190, 130), (230, 159, 0)


def near(strip: NDArray[np.uint8], color: Color) -> NDArray[np.bool_]:
    """Pixels of a colour, up to what JPEG does to it."""
    return (np.abs(strip.astype(int) - color) < 40).all(axis=-1)


def draw(lanes: list[Lane], frames: tuple[int, ...] = (10, 25, 60)) -> NDArray[np.uint8]:
    """A clip of 64 x 64 grey frames: tiles of 200 x 200, centred."""
    pictures = {frame: np.full((64, 64, 3), 120, np.uint8) for frame in frames}
    return np.asarray(Image.open(io.BytesIO(draw_strip(true("a"), pictures, lanes))))


def test_boxes_stand_where_they_are_in_the_frame() -> None:
    box = np.array([16.0, 32.0, 48.0, 56.0])
    strip = draw([Lane("truth", GREEN, TimeSpan(2.0, 4.0), {25: box}, 5)])
    rows, columns = np.nonzero(near(strip[:200], GREEN))
    # Three tiles of 200 and two gaps of 5 in 740 pixels: the second begins at 65 + 205. Scale 200 / 64.
    assert [columns.min(), columns.max()] == pytest.approx([270 + 50, 270 + 150], abs=2)
    assert [rows.min(), rows.max()] == pytest.approx([5 + 100, 5 + 175], abs=2)


def test_the_first_prediction_lies_on_top_and_the_truth_looks_out_under_it() -> None:
    box = {25: np.array([16.0, 16.0, 48.0, 48.0])}
    colors = (GREEN, AMBER, (86, 180, 233))
    lanes = [Lane(str(n), color, None, box, 5 if n == 0 else 3) for n, color in enumerate(colors)]
    seen = [int(near(draw(lanes)[:200], color).sum()) for color in colors]
    assert seen[0] > 200
    assert seen[1] > 400
    assert seen[2] == 0


def test_a_box_is_drawn_on_its_own_frame_only() -> None:
    strip = draw([Lane("truth", GREEN, None, {60: np.array([0.0, 0.0, 64.0, 64.0])}, 5)])
    columns = np.nonzero(near(strip[:200], GREEN))[1]
    assert columns.min() >= 65 + 2 * 205 - 2


def test_windows_on_the_time_bar_share_one_scale() -> None:
    """A clip of 10 s: 2-4 s and 6-10 s must start and end at these fractions of the same track."""
    strip = draw([Lane("truth", GREEN, TimeSpan(2.0, 4.0)), Lane("run", AMBER, TimeSpan(6.0, 10.0))])
    bars = strip[240:, 120:]  # right of the coloured squares of the legend
    first, second = (np.nonzero(near(bars, color).sum(axis=0) > 12)[0] for color in (GREEN, AMBER))
    assert first.max() - first.min() == pytest.approx((second.max() - second.min()) / 2, abs=4)
    scale = (second.max() - second.min()) / 4
    assert second.min() - first.min() == pytest.approx(4 * scale, abs=6)


def test_dots_say_whose_window_holds_the_frame() -> None:
    strip = draw([Lane("truth", GREEN, TimeSpan(2.0, 4.0)), Lane("run", AMBER, TimeSpan(5.5, 7.0))])
    labels = strip[206:232]  # under the tiles: frame 25 is in the truth, frame 60 in the prediction
    green, amber = (np.nonzero(near(labels, color))[1] for color in (GREEN, AMBER))
    assert green.min() >= 270
    assert green.max() < 470
    assert amber.min() >= 475
    assert amber.max() < 675


def test_long_names_and_windows_outside_do_not_break_the_picture() -> None:
    lanes = [Lane("truth", GREEN, TimeSpan(0.0, 10.0)), Lane("n" * 200, AMBER, TimeSpan(900.0, 1000.0))]
    assert draw(lanes, (0,)).shape[1] == STRIP_WIDTH


def test_the_same_input_gives_the_same_bytes() -> None:
    lanes = [Lane("truth", GREEN, TimeSpan(2.0, 4.0), {25: np.array([0.0, 0.0, 9.0, 9.0])})]
    pictures = {25: np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)}
    assert draw_strip(true("a"), pictures, lanes) == draw_strip(true("a"), pictures, lanes)


def test_frames_of_a_video(clip: Path) -> None:
    found = read_frames(clip, [0, 7, 100_000], true("a"))
    assert sorted(found) == [0, 7]
    assert found[7].shape == (72, 96, 3)
    with pytest.raises(VideoError, match="frames"):
        read_frames(clip, [100_000], true("a"))


def test_frames_of_a_folder_of_pictures(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (64, 64), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
    record = true("a", 0, 2, frame_count=4, clip=(0, 4), media="frames")
    found = read_frames(tmp_path, [1, 3], record)
    assert [int(found[frame][0, 0, 0]) for frame in (1, 3)] == [60, 180]
