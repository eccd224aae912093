"""Which queries are shown as pictures: the best ones, and the worst one of every kind of error in turn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from bridge_stg.evaluation.report.judged import Judged

# Appendix F calls a case good from these on, and bad up to those.
GOOD_TIOU, GOOD_VIOU = 0.7, 0.5
BAD_TIOU, BAD_VIOU = 0.3, 0.2


def ranking(judged: Judged) -> list[int]:
    """Rows from worst to best: by vIoU (if the task has boxes), then tIoU, then id."""
    viou = judged.viou if judged.viou is not None else np.zeros(len(judged.records))
    keys = list(zip(viou.tolist(), judged.tiou.tolist(), [r.id for r in judged.records], strict=True))
    return sorted(range(len(keys)), key=keys.__getitem__)


def best_rows(judged: Judged, count: int) -> list[int]:
    """The ``count`` best rows, best first; one per video while there are videos left."""
    ranked = ranking(judged)[::-1]
    fresh = _one_per_video(judged, ranked)
    rest = [row for row in ranked if row not in set(fresh)]
    return (fresh + rest)[:count]


def worst_rows(judged: Judged, kinds: Sequence[Hashable], count: int) -> list[int]:
    """``count`` of the worst rows, so that every kind of error is seen.

    A weak model scores 0 on hundreds of queries, most of them wrong in the same way. The rows are dealt in
    rounds: each round takes the worst row left of every kind, frequent kinds first.

    Args:
        kinds: (N,) the kind of error of each row.
        count: how many.
    """
    ranked = ranking(judged)
    fresh = _one_per_video(judged, ranked)
    ranked = fresh + [row for row in ranked if row not in set(fresh)]
    by_kind: dict[Hashable, list[int]] = {}
    for row in ranked:
        by_kind.setdefault(kinds[row], []).append(row)
    groups = sorted(by_kind.values(), key=lambda rows: -len(rows))
    depth = max((len(rows) for rows in groups), default=0)
    dealt = [rows[turn] for turn in range(depth) for rows in groups if turn < len(rows)]
    return dealt[:count]


def good_and_bad(judged: Judged) -> tuple[int, int]:
    """How many queries are good and bad cases as Appendix F draws the line (on windows alone without boxes)."""
    viou = judged.viou
    good = judged.tiou >= GOOD_TIOU
    bad = judged.tiou <= BAD_TIOU
    if viou is not None:
        good, bad = good & (viou >= GOOD_VIOU), bad & (viou <= BAD_VIOU)
    return int(good.sum()), int(bad.sum())


def _one_per_video(judged: Judged, rows: Sequence[int]) -> list[int]:
    """The first row of each video: sentences about one video show the same pictures again."""
    seen: dict[str, int] = {}
    for row in rows:
        seen.setdefault(judged.records[row].video, row)
    return list(seen.values())
