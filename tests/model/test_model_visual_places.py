"""Clips that were encoded in another order than their places stand in are refused, whatever the totals."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from support.tiny_models import make_video

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, EncodedVideo
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import TreeBatch, build_tree, collate_trees
from bridge_stg.types import SampledVideo


def batch_of(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, videos: list[SampledVideo]
) -> tuple[TreeBatch, list[EncodedVideo]]:
    trees, encoded = [], []
    for video in videos:
        patches, grid = processor.patches(video.frames)
        clip = processor.clip(grid, video.times)
        trees.append(build_tree(clip.input_ids, clip.positions, clip.next_position, []))
        with torch.no_grad():
            encoded.append(model.encode_video(patches, torch.tensor([grid])))
    return collate_trees(trees, processor.pad_id), encoded


def joined(clips: list[EncodedVideo]) -> EncodedVideo:
    return EncodedVideo(
        torch.cat([clip.tokens for clip in clips]),
        tuple(torch.cat(level) for level in zip(*(clip.deepstack for clip in clips), strict=True)),
        tuple(grid for clip in clips for grid in clip.grids),
    )


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        # Equal totals: 2 pairs of 2x3 against 1 pair of 3x4; 2x3 against 3x2.
        (make_video(4), make_video(2, 32, 24), "row 0 .* another size"),
        (make_video(2, 24, 16), make_video(2, 16, 24), "row 0 .* another size"),
        # One row has twice the places of the other.
        (make_video(2), make_video(4), "row 0 .* whole clips"),
    ],
)
def test_two_clips_of_a_batch_that_changed_places(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    first: SampledVideo,
    second: SampledVideo,
    words: str,
) -> None:
    batch, clips = batch_of(model, processor, [first, second])
    with torch.no_grad():
        model.read(batch.input_ids, batch.position_ids, joined(clips))
        with pytest.raises(ValueError, match=re.compile(words)):
            model.read(batch.input_ids, batch.position_ids, joined(clips[::-1]))


def test_a_clip_too_few(model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor) -> None:
    batch, clips = batch_of(model, processor, [make_video(2), make_video(2)])
    with pytest.raises(ValueError, match=r"12 .* 6 "):
        model.read(batch.input_ids, batch.position_ids, clips[0])
    # Tokens without a grid count as none.
    with pytest.raises(ValueError, match=r"12 .* 0 "):
        model.read(batch.input_ids, batch.position_ids, replace(joined(clips), grids=()))
