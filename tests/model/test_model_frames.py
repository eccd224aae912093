"""Frame sizes and patches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bridge_stg.model.frames import fit_frame_size, normalise_frames, patchify, resize_frames

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("size", "max_tokens", "expected"),
    [
        # 20 x 15 squares are 300 > 192; shrunk by sqrt(300 / 192) = 1.25 they are 16 x 12 = 192.
        ((640, 480), 192, (512, 384)),
        ((640, 480), 180, (480, 352)),
        ((100, 70), 192, (96, 64)),
        ((1, 1), 192, (32, 32)),
        # Wider than the whole budget: one row, and no more columns than the budget.
        ((20_000, 10), 192, (192 * 32, 32)),
        ((10, 20_000), 192, (32, 192 * 32)),
        ((640, 480), 1, (32, 32)),
        # Rounded up it would be 2 x 15 tokens; rounding down is enough, nothing is enlarged to fill the budget.
        ((48, 456), 27, (32, 448)),
    ],
)
def test_sizes_worked_by_hand(size: tuple[int, int], max_tokens: int, expected: tuple[int, int]) -> None:
    assert fit_frame_size(*size, 32, max_tokens) == expected


@settings(max_examples=400, deadline=None)
@given(width=SIDES, height=SIDES, factor=st.sampled_from([8, 24, 28, 32]), max_tokens=st.integers(1, 400))
def test_size_properties(width: int, height: int, factor: int, max_tokens: int) -> None:
    fitted_width, fitted_height = fit_frame_size(width, height, factor, max_tokens)
    assert fitted_width % factor == 0
    assert fitted_height % factor == 0
    columns, rows = fitted_width // factor, fitted_height // factor
    assert columns >= 1
    assert rows >= 1
    assert columns * rows <= max_tokens
    # Never enlarged beyond the next multiple.
    assert columns <= math.ceil(width / factor)
    assert rows <= math.ceil(height / factor)
    # The aspect ratio is kept to within a token: some scale exists at which both sides are less than a token
    # off, unless a side is at its minimum of one token.
    if columns > 1 and rows > 1:
        low = max((columns - 1) / width, (rows - 1) / height)
        high = min((columns + 1) / width, (rows + 1) / height)
        assert low < high


@settings(max_examples=100, deadline=None)
@given(width=SIDES, height=SIDES)
def test_a_size_that_was_fitted_stays(width: int, height: int) -> None:
    fitted = fit_frame_size(width, height, 32, 192)
    assert fit_frame_size(*fitted, 32, 192) == fitted


def slow_patches(frames: NDArray[np.uint8], patch: int, merge: int) -> NDArray[np.float64]:
    """One pixel at a time: pairs, then blocks of merged patches in raster order, then within a block."""
    count, height, width, _ = frames.shape
    indices = list(range(count)) + ([count - 1] if count % 2 else [])
    side, rows = patch * merge, []
    for pair in range(len(indices) // 2):
        for top in range(0, height, side):
            for left in range(0, width, side):
                for row in range(merge):
                    for column in range(merge):
                        values = [
                            frames[
                                indices[2 * pair + time],
                                top + row * patch + y,
                                left + column * patch + x,
                                channel,
                            ]
                            for channel in range(3)
                            for time in range(2)
                            for y in range(patch)
                            for x in range(patch)
                        ]
                        rows.append([value / 255 * 2 - 1 for value in values])
    return np.array(rows)


@pytest.mark.parametrize(("count", "width", "height"), [(1, 8, 8), (4, 24, 16), (5, 16, 24), (3, 32, 8)])
def test_patches_equal_a_slow_loop(count: int, width: int, height: int) -> None:
    frames = np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    patches, grid = patchify(frames, patch_size=4, merge_size=2)
    assert grid == ((count + 1) // 2, height // 4, width // 4)
    np.testing.assert_allclose(patches.numpy(), slow_patches(frames, 4, 2), atol=1e-6)


def test_patches_equal_the_stock_video_processor() -> None:
    pytest.importorskip("torchvision", reason="the stock Qwen3-VL video processor needs torchvision")
    from transformers import Qwen3VLVideoProcessor

    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
    stock = Qwen3VLVideoProcessor(do_resize=False, do_sample_frames=False, patch_size=16, merge_size=2)
    expected = stock(videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], return_tensors="pt")
    patches, grid = patchify(frames, patch_size=16, merge_size=2)
    assert expected["video_grid_thw"].tolist() == [list(grid)]
    torch.testing.assert_close(patches, expected["pixel_values_videos"].float(), atol=1e-5, rtol=0)


def test_a_size_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match=r"20x16 .* 8"):
        patchify(np.zeros((2, 16, 20, 3), dtype=np.uint8), 4, 2)


def test_detector_frames_are_normalised_and_resized() -> None:
    frames = np.full((2, 20, 40, 3), 51, dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.2)
    images = normalise_frames(resize_frames(frames), mean, std)
    assert images.shape == (2, 3, 20, 40)
    # 51 / 255 = 0.2.
    torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([0.2, 0.0, -0.5]))
    small = normalise_frames(resize_frames(frames, short_side=10), mean, std)
    assert small.shape == (2, 3, 10, 20)
    torch.testing.assert_close(small[1, :, 5, 5], images[1, :, 5, 5])
