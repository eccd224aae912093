"""Which clips and questions make a step: a pure function of (seed, step), so that resuming needs the step only.

Questions about the same clip are put together, because the clip then is encoded once. Each source is an endless
stream: every epoch of it is another permutation of its clips. The streams are merged so that after any number
of clips every source has had its share. Runs of clips of this merged stream ("pools") are sorted by length and
cut into lots of alike clips; a step is a few lots drawn at random from its pool, so it mixes tasks although
little is padded.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError, InputError
from bridge_stg.model.frames import fit_frame_size
from bridge_stg.prompting.templates import FRAMING_TOKENS
from bridge_stg.records.part import asked_frames
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import LOCATED_TASKS, WINDOW_TASKS

LARGEST_POOL = 1024
# Words of a prompt and an answer, in tokens: the turns' frame, then what a window or "Here it is." takes.
TURN_TOKENS, WINDOW_TOKENS, SHORT_ANSWER_TOKENS = 14, 27, 4
STAMP_TOKENS = 7  # "<12.3 seconds>", digit by digit
LETTERS_PER_TOKEN = 4.5

_CLIP_FIELDS = ("split", "media", "video", "fps", "width", "height", "clip")
_TEXT_FIELDS = ("task", "query", "choices", "answer")


@dataclass(frozen=True)
class TokenBudget:
    """How a model reads clips: frames per second, pixels per side of a visual token, the most visual tokens of
    a frame pair, and M bridging queries. All that is needed to estimate a length without opening the video.
    """

    sample_fps: float
    token_side: int
    max_tokens_per_frame: int
    bridge_queries: int

    def clip(self, seconds: float, width: int, height: int) -> int:
        """Tokens of a clip with its timestamps; 0 seconds is an image, which has none."""
        wide, high = fit_frame_size(width, height, self.token_side, self.max_tokens_per_frame)
        pair = (wide // self.token_side) * (high // self.token_side)
        if seconds == 0:
            return pair + FRAMING_TOKENS
        pairs = math.ceil(math.ceil(seconds * self.sample_fps) / 2)
        return max(pairs, 1) * (pair + STAMP_TOKENS) + FRAMING_TOKENS

    def question(self, task: str, letters: int) -> int:
        """Tokens of a question and its answer, ``letters`` being the characters that the record brings."""
        located = self.bridge_queries + 1 if task in LOCATED_TASKS else 0
        answer = WINDOW_TOKENS if task in WINDOW_TASKS else SHORT_ANSWER_TOKENS
        return TURN_TOKENS + round(letters / LETTERS_PER_TOKEN) + answer + located


@dataclass(frozen=True)
class ClipGroups:
    """The questions of one source by clip.

    Group g holds the record numbers ``members[bounds[g] : bounds[g + 1]]``; ``tokens`` (G,) are estimated
    lengths. Arrays, because worker processes share them where a million small objects would be copied.
    """

    members: NDArray[np.int32]
    bounds: NDArray[np.int64]
    tokens: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.tokens)

    def records(self, group: int) -> list[int]:
        return [int(number) for number in self.members[self.bounds[group] : self.bounds[group + 1]]]


def group_by_clip(
    records: Sequence[TruthRecord], budget: TokenBudget, most: int, seed: int, split: str | None = None
) -> ClipGroups:
    """Put together the questions about the same part of the same video, at most ``most`` at a time.

    More questions than that make several groups of nearly equal size; which ones meet is drawn by ``seed``. An
    image question (rec) only meets others about the same frame.

    Raises:
        DataError: no record of ``split``, or a rec question that does not say which frame it is about.
    """
    by_clip: dict[Any, list[int]] = {}
    weights: list[int] = []
    for number, line in enumerate(_outlines(records)):
        of_split, media, video, fps, width, height, clip, task, query, choices, answer = line
        letters = len(query) + sum(map(len, choices or ())) + len(answer or "")
        weights.append(budget.question(task, letters))
        if split is not None and of_split != split:
            continue
        image = task == "rec"
        part = asked_frames(records[number]) if image and clip[1] - clip[0] > 1 else (clip[0], clip[1])
        by_clip.setdefault((video, part, fps, media, image, width, height), []).append(number)

    if not by_clip:
        held = "records" if split is None else f"records of split {split!r}"
        raise DataError(f"no {held} to train on; look at the path and the split of the source")
    rng = np.random.default_rng([seed, 5])
    members: list[int] = []
    bounds, tokens = [0], []

    for (_, part, fps, _, image, width, height), numbers in by_clip.items():
        length = budget.clip(0.0 if image else (part[1] - part[0]) / fps, width, height)
        drawn = rng.permutation(numbers) if len(numbers) > most else np.array(numbers)
        for some in np.array_split(drawn, math.ceil(len(drawn) / most)):
            members += np.sort(some).tolist()
            bounds.append(len(members))
            tokens.append(length + sum(weights[number] for number in some))

    return ClipGroups(np.array(members, np.int32), np.array(bounds), np.array(tokens, np.int32))


@dataclass(frozen=True)
class MixtureSample:
    """A clip of the mixture: group ``group`` of source ``source``, the ``position``-th clip asked of that
    source since the run began. ``attempt`` counts the clips before it that were found unusable.
    """

    source: int
    group: int
    position: int
    attempt: int = 0


@dataclass(frozen=True)
class StepPass:
    """One forward pass of a step: pass ``part`` of ``parts`` in process ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1
    part: int = 0
    parts: int = 1


WHOLE_STEP = StepPass()


class Mixture:
    """The order in which clips are trained on."""

    def __init__(
        self,
        groups: Sequence[ClipGroups],
        weights: Sequence[float],
        seed: int,
        clips_per_step: int,
        clips_alike: int,
    ) -> None:
        """``weights`` are relative numbers of questions; a source whose clips have more questions gets fewer
        clips for it. ``clips_alike`` divides ``clips_per_step``.
        """
        if clips_per_step % clips_alike:
            raise InputError(f"clips_alike {clips_alike} must divide clips_per_step {clips_per_step}")
        self.groups, self.weights, self.seed = tuple(groups), tuple(weights), seed
        self.clips_per_step, self.clips_alike = clips_per_step, clips_alike
        clips = [weight * len(g) / len(g.members) for weight, g in zip(weights, groups, strict=True)]
        self.shares = tuple(value / sum(clips) for value in clips)

        # A pool that held the clips of a small source several times would put a clip beside itself.
        fresh = min(len(g) / share for g, share in zip(self.groups, self.shares, strict=True))
        self.pool_steps = max(int(min(LARGEST_POOL, fresh)) // clips_per_step, 1)
        self._pool = lru_cache(maxsize=2)(self._make_pool)
        self._permutation: Callable[[int, int], NDArray[np.int64]] = lru_cache(maxsize=2 * len(self.groups))(
            self._make_permutation
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Caches stay behind when a mixture is sent to another process.
        return Mixture, (self.groups, self.weights, self.seed, self.clips_per_step, self.clips_alike)

    def counts_until(self, total: int) -> list[int]:
        """How many of the first ``total`` clips come from each source: its share, to within one or two.

        Clip j of a source has its turn at time (j + 1/2) / share; the merged stream is in the order of turns.
        """
        # So many have surely had their turn; the few after them are taken one by one.
        counts = [max(int(total * share) - len(self.shares), 0) for share in self.shares]
        turns = [((counts[s] + 0.5) / share, s) for s, share in enumerate(self.shares)]
        heapq.heapify(turns)

        for _ in range(total - sum(counts)):
            source = turns[0][1]
            counts[source] += 1
            heapq.heapreplace(turns, ((counts[source] + 0.5) / self.shares[source], source))

        return counts

    def step(self, step: int) -> tuple[MixtureSample, ...]:
        """The clips of a step, lot after lot of alike ones."""
        pool, place = divmod(step, self.pool_steps)
        return self._pool(pool)[place * self.clips_per_step : (place + 1) * self.clips_per_step]

    def batch(self, step: int, step_pass: StepPass = WHOLE_STEP) -> tuple[MixtureSample, ...]:
        """The clips of one pass.

        All passes together do ``step(step)``, whatever ``world`` and ``parts``. The clips of one pass stand
        side by side in it, so that processes that wait for each other have alike clips.

        Raises:
            InputError: the clips of a step cannot be dealt out evenly.
        """
        passes = step_pass.world * step_pass.parts
        if self.clips_per_step % passes:
            raise InputError(
                f"clips_per_step {self.clips_per_step} must be a multiple of the {step_pass.world} processes "
                f"times the {step_pass.parts} passes of a step"
            )

        clips = self.step(step)
        each = len(clips) // passes
        begin = (step_pass.part * step_pass.world + step_pass.rank) * each
        return clips[begin : begin + each]

    def replacement(self, sample: MixtureSample) -> MixtureSample:
        """What is trained on instead of an unusable clip: the next longer one of its source, after the longest
        the shortest. It has about the same length, and comes up at its own turn as well.
        """
        order, place = self._by_length(sample.source)
        after = order[(place[sample.group] + 1) % len(order)]
        return MixtureSample(sample.source, int(after), sample.position, sample.attempt + 1)

    def length(self, sample: MixtureSample) -> int:
        """Estimated tokens."""
        return int(self.groups[sample.source].tokens[sample.group])

    def _make_pool(self, pool: int) -> tuple[MixtureSample, ...]:
        size = self.pool_steps * self.clips_per_step
        begin, end = self.counts_until(pool * size), self.counts_until((pool + 1) * size)
        found = [
            MixtureSample(source, self._group_at(source, position), position)
            for source in range(len(self.groups))
            for position in range(begin[source], end[source])
        ]
        rng = np.random.default_rng([self.seed, 7, pool])

        # In random order before the stable sort, so that equally long clips of different sources mix.
        mixed = [found[index] for index in rng.permutation(len(found))]
        mixed.sort(key=self.length)
        lots = range(0, len(mixed), self.clips_alike)
        drawn = rng.permutation(len(lots))
        return tuple(
            sample for lot in drawn for sample in mixed[lots[lot] : lots[lot] + self.clips_alike]
        )  # fmt: skip

    def _group_at(self, source: int, position: int) -> int:
        epoch, place = divmod(position, len(self.groups[source]))
        return int(self._permutation(source, epoch)[place])

    def _make_permutation(self, source: int, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, 8, source, epoch])
        return rng.permutation(len(self.groups[source]))

    def _by_length(self, source: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.groups[source].tokens, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return order, place


def padding(lengths: Sequence[Sequence[int]]) -> float:
    """The share of padding when each of ``lengths`` (one per batch) is padded to its longest.

    >>> padding([[10, 10], [5, 10]])
    0.125
    """
    filled = sum(max(batch) * len(batch) for batch in lengths)
    return 1.0 - sum(map(sum, lengths)) / filled


def _outlines(records: Sequence[TruthRecord]) -> Iterator[tuple[Any, ...]]:
    """The clip and the texts of every record; of a store, whose boxes are many, without reading the boxes."""
    names = _CLIP_FIELDS + _TEXT_FIELDS
    column = getattr(records, "column", None)
    if column is not None:
        return zip(*(column(name) for name in names), strict=True)
    return (tuple(getattr(record, name) for name in names) for record in records)
