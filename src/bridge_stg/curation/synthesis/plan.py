"""Which foreign clips go before and after a video, and what its record says afterwards (App. A.1, A.2).

Everything here is arithmetic on records; ``video.py`` makes the videos.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from bridge_stg.curation.export import exact_rate
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.records.record import TruthRecord

# App. A.2.
MAX_VIDEO_SECONDS, MIN_SPAN_SECONDS = 180.0, 1.0
# The paper does not say how long the inserted clips are: long enough to be events of their own.
MIN_INSERT_SECONDS, MAX_INSERT_SECONDS = 2.0, 15.0


@dataclass(frozen=True)
class Insert:
    """A clip of another video from ``start`` seconds: ``frames`` pictures at the rate of where it goes."""

    donor: TruthRecord
    start: float
    frames: int


@dataclass(frozen=True)
class VideoPlan:
    """One sample to make: the ``clip`` of ``record`` between two inserts, of which one may be missing."""

    record: TruthRecord
    before: Insert | None
    after: Insert | None

    @property
    def fps(self) -> Fraction:
        return exact_rate(self.record.fps)

    @property
    def offset(self) -> int:
        """The frame of the new video at which the record's clip begins."""
        return self.before.frames if self.before else 0

    @property
    def frame_count(self) -> int:
        start, end = self.record.clip
        return self.offset + end - start + (self.after.frames if self.after else 0)


class Donors:
    """One record per video, to take foreign clips from."""

    def __init__(self, records: Iterable[TruthRecord]) -> None:
        self._videos: dict[str, TruthRecord] = {}
        self._about: dict[str, set[str]] = defaultdict(set)
        self._splits: dict[str, set[str | None]] = defaultdict(set)
        for record in records:
            self._videos.setdefault(record.video, record)
            self._about[record.video] |= _subjects(record)
            self._splits[record.video].add(record.split)
        self._names = sorted(self._videos)

    def choose(self, record: TruthRecord, draw: random.Random) -> TruthRecord:
        """A video of the same split of which nothing says that it shows the same.

        Raises:
            Unusable: there is none.
        """
        wanted = _subjects(record)
        fitting = [
            name
            for name in self._names
            if name != record.video
            # A piece of a test video in a training sample would be a leak that no name tells.
            and self._splits[name] == {record.split}
            and not wanted & self._about[name]
            and self._videos[name].clock.duration >= MIN_SPAN_SECONDS
        ]
        if not fitting:
            raise Unusable("no other video to insert a clip of", record.video)
        return self._videos[draw.choice(fitting)]


def _subjects(record: TruthRecord) -> set[str]:
    return {text.casefold().strip() for text in (record.query, record.category) if text}


def make_plan(record: TruthRecord, donors: Donors, seed: int) -> VideoPlan:
    """Draw where foreign clips go (before, after, or both) and which; the same for a seed and a record's id.

    Raises:
        Unusable: the record has no tube, or a filter of App. A.2 drops it.
    """
    if record.task not in ("stvg", "vot") or record.media == "image":
        raise Unusable("not about a tube in a video", record.task, by_design=True)

    seen = _tube_frames(record)
    if not seen:
        raise Unusable("no boxes in the clip", record.task)
    span = record.clock.span(seen[0], seen[-1] + 1).length
    if span < MIN_SPAN_SECONDS:
        raise Unusable("an annotated span shorter than 1 s", f"{span:.2f} s", by_design=True)

    # A generator per record: what is drawn for one does not depend on which others there are.
    draw = random.Random(f"{seed}/{record.id}")
    sides = draw.choice(("before", "after", "both"))
    plan = VideoPlan(record, None, None)
    if sides != "after":
        plan = replace(plan, before=_insert(record, donors, draw))
    if sides != "before":
        plan = replace(plan, after=_insert(record, donors, draw))

    length = float(plan.frame_count / plan.fps)
    if length > MAX_VIDEO_SECONDS:
        raise Unusable("a video longer than 180 s", f"{length:.1f} s", by_design=True)
    return plan


def _insert(record: TruthRecord, donors: Donors, draw: random.Random) -> Insert:
    donor = donors.choose(record, draw)
    rate, there = float(exact_rate(record.fps)), donor.clock.duration
    seconds = min(draw.uniform(MIN_INSERT_SECONDS, MAX_INSERT_SECONDS), there)
    frames = max(int(seconds * rate), 1)
    return Insert(donor, draw.uniform(0.0, max(there - frames / rate, 0.0)), frames)


def _tube_frames(record: TruthRecord) -> Sequence[int]:
    return sorted(frame for frame in record.boxes if record.clip[0] <= frame < record.clip[1])


def synthetic_record(plan: VideoPlan, video: str, size: tuple[int, int]) -> TruthRecord:
    """The record of a new video of ``size`` (width, height): same query and boxes, later by the first insert.

    The window is where the object was annotated, from the first box to the last one: where it enters late, the
    event does.
    """
    old, seen = plan.record, _tube_frames(plan.record)
    shift = plan.offset - old.clip[0]

    return TruthRecord(
        id=f"synthetic/{old.id}",
        task="stvg",
        video=video,
        fps=float(plan.fps),
        frame_count=plan.frame_count,
        clip=(0, plan.frame_count),
        width=size[0],
        height=size[1],
        query=old.query,
        qtype=old.qtype,
        window=(seen[0] + shift, seen[-1] + 1 + shift),
        boxes={frame + shift: old.boxes[frame] for frame in seen},
        split=old.split,
        source="synthetic",
        kind=old.kind,
        category=old.category,
        provenance=old.provenance or old.id,
    )
