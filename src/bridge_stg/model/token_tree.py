"""A clip and the sentences about it as one token tree.

The clip is encoded once; every sentence is a branch that sees the clip and itself, never another sentence. A
branch may also be attached in the middle of the clip, after a given frame pair. A tree with one branch is an
ordinary causal sequence, and a tree with many computes for each branch exactly what that branch alone would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bridge_stg.model.temporal_alignment import text_positions

IGNORE = -100
CLIP = -1
PADDING = -2


@dataclass(frozen=True)
class Branch:
    """Text after the clip: ``ids`` and, of the same length, ``labels`` (IGNORE where nothing is learned).

    ``bridge_slots`` says how many of the last ids are places for bridging queries; ``reads_bridge`` whether the
    branch triggers the spatial decoder. ``attach`` is the number of clip tokens the branch sees, ``position``
    the position id at which it starts; both None for the end of the clip.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    bridge_slots: int = 0
    reads_bridge: bool = False
    attach: int | None = None
    position: int | None = None

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.labels):
            raise ValueError(f"{len(self.ids)} ids need as many labels, got {len(self.labels)}")


@dataclass(frozen=True)
class TokenTree:
    """One clip with its branches.

    Shapes: ``input_ids`` (L,), ``position_ids`` (4, L) with row 0 the text index and rows 1-3 t, h, w,
    ``labels`` (L,) already shifted: ``labels[i]`` is what token i predicts, ``branch`` (L,) the branch of each
    token (CLIP for the clip), ``attach`` (L,) the number of clip tokens each token sees, ``bridge_mask`` (L,)
    the tokens whose last hidden state is a bridging query, ``slot_mask`` (L,) those whose embedding is a
    learned query.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    branch: Tensor
    attach: Tensor
    bridge_mask: Tensor
    slot_mask: Tensor

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def is_sequence(self) -> bool:
        """Whether it is a clip with one sentence after it: then every token sees all tokens before it."""
        return torch.equal(self.position_ids[0], torch.arange(len(self)))


def build_tree(
    clip_ids: Tensor, clip_positions: Tensor, next_position: int, branches: Sequence[Branch]
) -> TokenTree:
    """Join a clip (ids (L,), positions (3, L)) and its branches."""
    # The clip.
    clip_length = len(clip_ids)
    ids, positions, labels = [clip_ids], [clip_positions], [torch.full((clip_length,), IGNORE)]
    branch_of = [torch.full((clip_length,), CLIP)]
    attach = [torch.arange(clip_length)]
    text_index = [torch.arange(clip_length)]
    bridge_mask = [torch.zeros(clip_length, dtype=torch.bool)]
    slot_mask = [torch.zeros(clip_length, dtype=torch.bool)]

    for index, branch in enumerate(branches):
        length = len(branch.ids)
        seen = clip_length if branch.attach is None else branch.attach
        start = next_position if branch.position is None else branch.position

        # Its learned queries, if any, are its last tokens.
        slots = torch.zeros(length, dtype=torch.bool)
        slots[length - branch.bridge_slots :] = branch.bridge_slots > 0
        reads = torch.zeros(length, dtype=torch.bool)
        if branch.reads_bridge:
            # M = 0: the hidden state of <det> itself, the branch's last token, stands for the bridging queries.
            reads[length - max(branch.bridge_slots, 1) :] = True

        ids.append(torch.tensor(branch.ids))
        positions.append(text_positions(start, length))
        # Token i predicts the id at i + 1, so the labels move one place to the left.
        labels.append(torch.tensor([*branch.labels[1:], IGNORE]))
        branch_of.append(torch.full((length,), index))
        attach.append(torch.full((length,), seen))
        text_index.append(torch.arange(length) + seen)
        bridge_mask.append(reads)
        slot_mask.append(slots)

    rows = torch.cat(positions, dim=1)
    return TokenTree(
        input_ids=torch.cat(ids),
        position_ids=torch.cat([torch.cat(text_index)[None], rows]),
        labels=torch.cat(labels),
        branch=torch.cat(branch_of),
        attach=torch.cat(attach),
        bridge_mask=torch.cat(bridge_mask),
        slot_mask=torch.cat(slot_mask),
    )


@dataclass(frozen=True)
class TreeBatch:
    """Trees of one batch, padded on the right. Shapes as in TokenTree, with B; position_ids (4, B, L)."""

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    branch: Tensor
    attach: Tensor
    bridge_mask: Tensor
    slot_mask: Tensor

    @property
    def tree(self) -> Tensor:
        """(2, B, L): the branch of each token, and how many tokens of the clip it sees."""
        return torch.stack([self.branch, self.attach])


def tree_mask(tree: Tensor) -> Tensor:
    """Boolean (B, 1, L, L) of ``TreeBatch.tree``: True where a token (row) sees another (column)."""
    branch_BL, attach_BL = tree
    index_L = torch.arange(tree.shape[-1], device=tree.device)
    causal_LL = index_L[:, None] >= index_L[None, :]
    same_branch_BLL = branch_BL[:, :, None] == branch_BL[:, None, :]
    clip_key_BLL = (branch_BL == CLIP)[:, None, :] & (index_L[None, None, :] < attach_BL[:, :, None])
    return (causal_LL & (same_branch_BLL | clip_key_BLL))[:, None]


def collate_trees(trees: Sequence[TokenTree], pad_id: int) -> TreeBatch:
    """Pad trees on the right to one length. Padding attends to padding only and carries no label."""
    length = max(len(tree) for tree in trees)

    def pad(values: Tensor, fill: int | bool) -> Tensor:
        missing = length - values.shape[-1]
        return torch.nn.functional.pad(values, (0, missing), value=fill)

    return TreeBatch(
        input_ids=torch.stack([pad(tree.input_ids, pad_id) for tree in trees]),
        position_ids=torch.stack([pad(tree.position_ids, 0) for tree in trees], dim=1),
        labels=torch.stack([pad(tree.labels, IGNORE) for tree in trees]),
        branch=torch.stack([pad(tree.branch, PADDING) for tree in trees]),
        attach=torch.stack([pad(tree.attach, 0) for tree in trees]),
        bridge_mask=torch.stack([pad(tree.bridge_mask, False) for tree in trees]),
        slot_mask=torch.stack([pad(tree.slot_mask, False) for tree in trees]),
    )
