"""Where in a clip the evidence of an answer is: which tokens a word of the answer should look at to be known.

A short answer names its first second in one pass over the clip: from the words of the question to the tokens of
the one object that does it, and from these to their time. Trained on answers alone a small model does not find
that path (docs/log.md). So the attention of a few heads is taught too, on what the generator knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import ClipLayout
from bridge_stg.model.token_tree import Branch
from bridge_stg.prompting.timestamps import named_second, pair_timestamps
from bridge_stg.shapes.branches import seen_in_pairs
from bridge_stg.shapes.drawn_frames import covered_cells
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import ACTIONS, COLOURS, SHAPES, Scene

# What a head is to look at. "place": the object at a given box. "letter": the letter of a choice, read by its
# words; "choice": the words of the right choice, which then know their letter. "found": the object in any pair
# of the event, or NOWHERE where there is none. "where": the same object, for the bridging queries.
# "edge": the object in the pair in which the event begins or ends. "beside": the same, but after an end in the
# pair that follows. "event": the object in any pair of the event. "edge_time", "beside_time": the timestamps of
# these pairs.
Lead = Literal[
    "place", "letter", "choice", "found", "where", "edge", "beside", "event", "edge_time", "beside_time"
]
LEADS: tuple[Lead, ...] = get_args(Lead)

# Since when an object does what it does.
Phase = Literal["idle", "begun", "going_on", "just_over"]
PHASES: tuple[Phase, ...] = get_args(Phase)
REST = len(ACTIONS)

# The first token of a clip, which shows nothing: what does not happen is found there.
NOWHERE = 0


@dataclass(frozen=True)
class Evidence:
    """The token at ``place`` of a branch should look at any of ``keys``.

    ``keys`` count from the first token of the clip, or, where ``own``, of the branch.
    """

    place: int
    keys: tuple[int, ...]
    lead: Lead
    own: bool = False


@dataclass(frozen=True)
class LedBranch(Branch):
    """A branch of which is known what its words should look at."""

    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class ClipMap:
    """Which token of a clip shows what.

    ``stamps`` has the whole second of each pair's timestamp; ``cells[o][p]`` the visual tokens that object o
    covers in pair p, none where it is not in view.
    """

    stamps: tuple[int, ...]
    cells: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(
        cls,
        scene: Scene,
        times: NDArray[np.float64],
        layout: ClipLayout,
        grid: tuple[int, int, int],
        processor: BridgeSTGProcessor,
    ) -> ClipMap:
        """Of a scene sampled at ``times`` (F,) in a layout of ``grid`` (P, H, W) patches."""
        _, rows, columns = processor.merged_grid(grid)
        lengths = [len(processor.plain_ids(text)) for text in pair_timestamps(times)]
        # A timestamp is "<", the second, its tenth, and the rest.
        stamps = tuple(end - length + 1 for end, length in zip(layout.pair_ends, lengths, strict=True))
        starts = [end - length - rows * columns for end, length in zip(layout.pair_ends, lengths, strict=True)]
        box, visible = boxes(scene, times)
        pairs = frame_pairs(len(times)).tolist()
        cells = tuple(
            tuple(
                _tokens(start, [box[index, f] for f in sorted(set(frames)) if visible[index, f]], rows, columns)
                for start, frames in zip(starts, pairs, strict=True)
            )
            for index in range(len(scene.objects))
        )
        return cls(stamps, cells)

    def spot(self, index: int, moment: float, times: NDArray[np.float64]) -> tuple[int, ...]:
        """The tokens of an object in the pair of the frame nearest to a second."""
        nearest = int(np.argmin(np.abs(times - moment)))
        pair = next(p for p, frames in enumerate(frame_pairs(len(times)).tolist()) if nearest in frames)
        return self.cells[index][pair]


def _tokens(start: int, sides: list[NDArray[np.float64]], rows: int, columns: int) -> tuple[int, ...]:
    """The tokens of the cells that boxes cover; ``start`` is the first token of the frame pair."""
    covered = covered_cells(sides, rows, columns)
    return tuple(start + int(place) for place in np.flatnonzero(covered.ravel()))


def event_cells(seen: Sequence[str], index: int, clip: ClipMap) -> tuple[int, ...]:
    """The tokens of an object in all pairs in which something is seen of its event (``seen_in_pairs``)."""
    return tuple(key for pair, here in enumerate(seen) if here for key in clip.cells[index][pair])


def bridge_evidence(branch: Branch, keys: tuple[int, ...]) -> list[Evidence]:
    """<det> and the bridging queries of a branch look at the tokens ``keys`` of the object they ask for."""
    if not keys:
        return []
    first = len(branch.ids) - branch.bridge_slots - 1
    return [Evidence(place, keys, "where") for place in range(first, len(branch.ids))]


def window_evidence(digits: Sequence[int], seen: Sequence[str], index: int, clip: ClipMap) -> list[Evidence]:
    """What the four numbers of a window should look at: two of its start, two of its end.

    Args:
        digits: places in the branch of the whole second and the tenth of the start, and of the end.
        seen: what is seen of the event in each pair (``seen_in_pairs``).
        index: of the object.
    """
    shown = [pair for pair, here in enumerate(seen) if here]
    if not shown:
        return []
    cells = clip.cells[index]
    event = event_cells(seen, index, clip)
    # A timestamp stands before what comes after it: only the next pair knows that something is over.
    after = min(shown[-1] + 1, len(seen) - 1)
    found = []
    pairs = [(shown[0], shown[0])] * 2 + [(shown[-1], after)] * 2
    for place, (edge, beside) in zip(digits, pairs, strict=True):
        # What is said next is known at the token before it.
        leads: list[tuple[Lead, tuple[int, ...]]] = [
            ("edge", cells[edge]),
            ("beside", cells[beside]),
            ("event", event),
            ("edge_time", (clip.stamps[edge],)),
            ("beside_time", (clip.stamps[beside],)),
        ]
        found += [Evidence(place - 1, keys, lead) for lead, keys in leads if keys]
    return found


def evidence_rows(branches: Sequence[Branch], clip_length: int) -> Tensor:
    """(E, 3): query token, key token and index of the lead, all tokens counted in the tree of the branches."""
    found = []
    start = clip_length
    for branch in branches:
        if isinstance(branch, LedBranch):
            for one in branch.evidence:
                offset = start if one.own else 0
                found += [(start + one.place, offset + key, LEADS.index(one.lead)) for key in one.keys]
        start += len(branch.ids)
    return torch.tensor(found, dtype=torch.long).reshape(-1, 3)


def shown_rows(
    scene: Scene, pair_spans: NDArray[np.float64], clip: ClipMap, rng: np.random.Generator, each: int = 2
) -> Tensor:
    """(T, 6): visual tokens, and of the object on each its second, phase, action, colour and shape.

    Args:
        pair_spans: (P, 2) first and last second of the pairs.
        each: tokens drawn of an object in a pair.
    """
    found = []
    for index, item in enumerate(scene.objects):
        phase, doing = phases(scene, index, pair_spans)
        name = list(COLOURS).index(item.colour), SHAPES.index(item.shape)
        for pair, keys in enumerate(clip.cells[index]):
            for key in rng.choice(keys, size=each).tolist() if keys else ():
                found.append(
                    (key, named_second(pair_spans[pair, 0]), int(phase[pair]), int(doing[pair]), *name)
                )
    return torch.tensor(found, dtype=torch.long).reshape(-1, 6)


def phases(
    scene: Scene, index: int, pair_spans: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) the phase of an object in each pair as a place in PHASES, and (P,) its action, REST for none."""
    phase, doing = np.zeros(len(pair_spans), np.int64), np.full(len(pair_spans), REST)
    for action in scene.objects[index].actions:
        shown = np.flatnonzero([bool(here) for here in seen_in_pairs(scene, index, action.kind, pair_spans)])
        if not len(shown):
            continue
        doing[shown] = ACTIONS.index(action.kind)
        phase[shown] = PHASES.index("going_on")
        phase[shown[0]] = PHASES.index("begun")
        after = shown[-1] + 1
        if after < len(pair_spans) and phase[after] == 0:
            phase[after] = PHASES.index("just_over")
    return phase, doing
