"""A tree of sentences over one clip computes for each sentence what that sentence alone would."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from support.tiny_models import make_video
from torch import Tensor
from transformers import DynamicCache

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import ClipLayout, text_positions
from bridge_stg.model.token_tree import CLIP, IGNORE, Branch, TokenTree, build_tree, collate_trees, tree_mask
from bridge_stg.model.tree_attention import TreePattern
from bridge_stg.types import SampledVideo

QUERIES = ["the red circle that moves left", "red", "where does the blue thing and then some go?"]


def prepare(
    processor: BridgeSTGProcessor, video: SampledVideo
) -> tuple[Tensor, tuple[int, int, int], ClipLayout]:
    patches, grid = processor.patches(video.frames)
    return patches, grid, processor.clip(grid, video.times)


def hidden_states(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    trees: Sequence[TokenTree],
    patches: Sequence[Tensor],
    grids: Sequence[tuple[int, int, int]],
) -> Tensor:
    batch = collate_trees(trees, processor.pad_id)
    with torch.no_grad():
        return model.read(
            batch.input_ids,
            batch.position_ids,
            model.encode_video(torch.cat(list(patches)), torch.tensor(list(grids))),
            batch.slot_mask,
            TreePattern(batch.tree),
        )


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, atol=2e-5, rtol=1e-4)


def test_each_branch_equals_the_branch_alone_in_a_mixed_batch(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor
) -> None:
    """Clips of different lengths and frame sizes, padded together; every branch also run alone and without a
    mask.
    """
    videos = [make_video(6), make_video(3, 16, 24, seed=1), make_video(1, 8, 8, seed=2)]
    sentences = [QUERIES, QUERIES[:1], QUERIES[1:]]
    clips = [prepare(processor, video) for video in videos]
    branches = [[processor.branch("stvg", q, "left", True) for q in queries] for queries in sentences]
    trees = [
        build_tree(clip.input_ids, clip.positions, clip.next_position, own)
        for (_, _, clip), own in zip(clips, branches, strict=True)
    ]
    assert len({len(tree) for tree in trees}) == 3
    together = hidden_states(model, processor, trees, [c[0] for c in clips], [c[1] for c in clips])
    assert together.isfinite().all()
    checked = 0
    for number, ((patches, grid, clip), own) in enumerate(zip(clips, branches, strict=True)):
        for index, branch in enumerate(own):
            alone = build_tree(clip.input_ids, clip.positions, clip.next_position, [branch])
            # One branch is an ordinary causal sequence: no mask at all.
            with torch.no_grad():
                expected = model.read(
                    alone.input_ids[None],
                    alone.position_ids[:, None],
                    model.encode_video(patches, torch.tensor([grid])),
                    alone.slot_mask[None],
                )[0]
            in_tree = trees[number].branch == index
            close(together[number, : len(clip.input_ids)], expected[: len(clip.input_ids)])
            close(together[number, : len(in_tree)][in_tree], expected[alone.branch == 0])
            checked += 1
    assert checked == 6


def test_a_caption_in_mid_clip_sees_nothing_later(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor
) -> None:
    """Attached after pair 1 of 3, it equals the sequence that was cut there."""
    video = make_video(6)
    patches, grid, clip = prepare(processor, video)
    caption = processor.caption_branch("red circle", clip, pair=1)
    assert caption.attach == clip.pair_ends[1] < len(clip.input_ids)
    tree = build_tree(
        clip.input_ids,
        clip.positions,
        clip.next_position,
        [caption, processor.branch("vtg", QUERIES[0], "left", False)],
    )
    states = hidden_states(model, processor, [tree], [patches], [grid])[0]

    end = clip.pair_ends[1]
    start = int(clip.positions[:, :end].max()) + 1
    ids = torch.cat([clip.input_ids[:end], torch.tensor(caption.ids)])
    rows = torch.cat([clip.positions[:, :end], text_positions(start, len(caption.ids))], dim=1)
    positions = torch.cat([torch.arange(len(ids))[None], rows])
    shorter, short_grid = processor.patches(video.frames[:4])
    with torch.no_grad():
        vision = model.encode_video(shorter, torch.tensor([short_grid]))
        expected = model.read(ids[None], positions[:, None], vision)[0]
    close(states[tree.branch == 0], expected[end:])
    # A test that can fail: after another pair the caption's states differ.
    other = build_tree(
        clip.input_ids,
        clip.positions,
        clip.next_position,
        [processor.caption_branch("red circle", clip, pair=2)],
    )
    moved = hidden_states(model, processor, [other], [patches], [grid])[0][other.branch == 0]
    assert float((moved - expected[end:]).abs().max()) > 1e-3


def test_the_mask_against_a_slow_reading() -> None:
    clip_ids = torch.arange(4)
    branches = [Branch((7, 8), (IGNORE, 8)), Branch((9, 9, 9), (IGNORE,) * 3, attach=2, position=5)]
    tree = build_tree(clip_ids, text_positions(0, 4), 4, branches)
    longer = build_tree(torch.arange(9), text_positions(0, 9), 9, branches[:1])
    batch = collate_trees([tree, longer], pad_id=0)
    mask = tree_mask(batch.tree)
    assert mask.shape == (2, 1, 11, 11)
    for number, (clip_length, owners) in enumerate([(4, [0, 0, 1, 1, 1]), (9, [0, 0])]):
        length = clip_length + len(owners)
        for query in range(length):
            for key in range(length):
                if key > query:
                    allowed = False
                elif query < clip_length:
                    allowed = True
                elif key < clip_length:
                    allowed = key < (branches[owners[query - clip_length]].attach or clip_length)
                else:
                    allowed = owners[query - clip_length] == owners[key - clip_length]
                assert bool(mask[number, 0, query, key]) == allowed, (number, query, key)
        # No real token sees padding, and no padding row is empty, which would be NaN.
        assert not mask[number, 0, :length, length:].any()
        assert mask[number, 0].any(-1).all()


def test_labels_slots_and_positions_of_a_tree() -> None:
    branch = Branch(
        ids=(5, 6, 7, 9, 9), labels=(IGNORE, 6, 7, IGNORE, IGNORE), bridge_slots=2, reads_bridge=True
    )
    no_queries = Branch(ids=(5, 9), labels=(IGNORE, 9), bridge_slots=0, reads_bridge=True)
    tree = build_tree(torch.tensor([1, 3, 2]), text_positions(0, 3), 40, [branch, no_queries])
    assert tree.branch.tolist() == [CLIP] * 3 + [0] * 5 + [1] * 2
    assert tree.labels.tolist() == [IGNORE] * 3 + [6, 7, IGNORE, IGNORE, IGNORE] + [9, IGNORE]
    assert tree.slot_mask.tolist() == [False] * 6 + [True] * 2 + [False] * 2
    # M = 0: the hidden state of <det>, the last token, is read.
    assert tree.bridge_mask.tolist() == [False] * 6 + [True] * 2 + [False, True]
    assert tree.position_ids[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 3, 4]
    assert tree.position_ids[1].tolist() == [0, 1, 2, 40, 41, 42, 43, 44, 40, 41]


@pytest.mark.parametrize("mode", ["virtual", "native"])
def test_the_chunk_of_queries_equals_feeding_them_one_by_one(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, mode: str
) -> None:
    """On a cache of the clip, the question and the answer; and equal to one pass without any cache."""
    patches, grid = processor.patches(make_video(4).frames)
    clip = processor.clip(grid, make_video(4).times)
    tree = build_tree(
        clip.input_ids, clip.positions, clip.next_position, [processor.branch("stvg", QUERIES[0], "left", True)]
    )
    count = model.config.num_bridge_queries
    ids, positions = tree.input_ids[None], tree.position_ids[:, None]
    before = len(tree) - count
    assert tree.slot_mask[before:].all()
    assert int(tree.slot_mask.sum()) == count

    with torch.no_grad():
        vision = model.encode_video(patches, torch.tensor([grid]))
        whole = model.read(ids, positions, vision, tree.slot_mask[None])[:, before:]

        cache = DynamicCache()
        model.read(ids[:, :before], positions[..., :before], vision, cache=cache)
        chunk = model.read(
            ids[:, before:], positions[..., before:], slot_mask=tree.slot_mask[None, before:], cache=cache
        )

        cache = DynamicCache()
        model.read(ids[:, :before], positions[..., :before], vision, cache=cache)
        steps = []
        for index in range(count):
            steps.append(
                model.mllm.model.language_model(
                    inputs_embeds=model.bridge.queries[None, index : index + 1],
                    position_ids=positions[..., before + index : before + index + 1],
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state
            )
    close(chunk, torch.cat(steps, dim=1))
    close(chunk, whole)
    # The queries differ from one another and from the placeholder's own embedding.
    with torch.no_grad():
        placeholder = model.read(ids, positions, vision)[:, before:]
    assert float((placeholder - whole).abs().max()) > 1e-3
    assert float((whole[0, 0] - whole[0, 1]).abs().max()) > 1e-3
