"""Resizing on uint8, against Pillow's bicubic, which was written independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from bridge_stg.video.resize import resize_frame


@pytest.mark.parametrize(("width", "height"), [(96, 64), (33, 7), (300, 200), (200, 64), (1, 1)])
def test_equals_pillow_bicubic_within_one_level(width, height):
    frame = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    ours = resize_frame(frame, width, height)
    pillow = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))
    assert ours.shape == (height, width, 3)
    assert ours.dtype == np.uint8
    assert ours.flags.c_contiguous
    assert np.abs(ours.astype(int) - pillow).max() <= 1


def test_it_is_the_uint8_path_of_torch_bit_for_bit():
    frame = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    planes = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None]
    expected = torch.nn.functional.interpolate(planes, (41, 67), mode="bicubic", antialias=True)
    np.testing.assert_array_equal(resize_frame(frame, 67, 41), expected[0].numpy().transpose(1, 2, 0))


def test_same_size_is_the_same_frame():
    frame = np.zeros((4, 6, 3), np.uint8)
    assert resize_frame(frame, 6, 4) is frame
