"""What the objects of a generated clip do in one frame pair, as branches of its token tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.spans import frame_pairs, pair_times
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import ClipLayout
from bridge_stg.model.token_tree import IGNORE, Branch
from bridge_stg.prompting.timestamps import timestamp_text
from bridge_stg.shapes.world.objects import COLOURS, SHAPES, Scene
from bridge_stg.shapes.world.questions import captions

MOMENT = "What happens at this time? {time}"


def caption_branches(
    scene: Scene,
    times: NDArray[np.float64],
    layout: ClipLayout,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """What every object does in one frame pair, from left to right, attached right after the pair."""
    told = pair_captions(scene, times)
    # Objects rest most of the time; pairs in which something happens are drawn more often.
    busy = np.array(
        [1.0 + 3.0 * sum(not text.endswith("rests") for text in phrases) for phrases in told.values()]
    )
    drawn = rng.choice(list(told), size=min(count, len(told)), replace=False, p=busy / busy.sum())
    return [
        processor.caption_branch(caption_text(told[int(pair)]), layout, int(pair)) for pair in np.sort(drawn)
    ]


def moment_branches(
    scene: Scene,
    times: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """What every object does at a given time, from left to right, asked after the clip."""
    told = pair_captions(scene, times)
    return [
        _moment_branch(caption_text(told[int(pair)]), times, int(pair), processor)
        for pair in rng.permutation(list(told))[:count]
    ]


def lookup_branches(
    scene: Scene,
    times: NDArray[np.float64],
    layout: ClipLayout,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Moments and captions by turns, of the objects in any order; their names are given, the rest is learned.

    From left to right the next object is found by its place. Questions need it to be found by its name, which a
    model that has learned the one cannot yet do (docs/log.md).
    """
    told = pair_captions(scene, times)
    if not count or not told:
        return []
    found = []
    # Every pair once before one comes again.
    for number, pair in enumerate(np.resize(rng.permutation(list(told)), count).tolist()):
        phrases = [told[pair][place] for place in rng.permutation(len(told[pair]))]
        texts = caption_text(phrases), caption_text([_other_name(phrase) for phrase in phrases])
        branch, other = (
            processor.caption_branch(text, layout, pair)
            if number % 2
            else _moment_branch(text, times, pair, processor)
            for text in texts
        )
        # What differs with other names is a name.
        labels = tuple(
            label if ours == theirs else IGNORE
            for label, ours, theirs in zip(branch.labels, branch.ids, other.ids, strict=True)
        )
        found.append(replace(branch, labels=labels))
    return found


def pair_captions(scene: Scene, times: NDArray[np.float64]) -> dict[int, list[str]]:
    """The captions of the pairs of two frames; a repeated frame shows no motion.

    Args:
        times: (F,) seconds of the frames.
    """
    return {
        pair: captions(scene, float(times[first]), float(times[second]))
        for pair, (first, second) in enumerate(frame_pairs(len(times)).tolist())
        if first != second
    }


def caption_text(phrases: list[str]) -> str:
    """The phrases of a caption as one sentence."""
    return ", ".join(phrases) if phrases else "nothing"


def _moment_branch(text: str, times: NDArray[np.float64], pair: int, processor: BridgeSTGProcessor) -> Branch:
    question = MOMENT.format(time=timestamp_text(float(pair_times(times)[pair])))
    return processor.branch("vqa", question, text, locates=False)


def _other_name(phrase: str) -> str:
    """ "red circle moves left" with another colour and another shape."""
    colour, shape, action = phrase.split(" ", 2)
    colours = list(COLOURS)
    return f"{colours[colours.index(colour) - 1]} {SHAPES[SHAPES.index(shape) - 1]} {action}"
