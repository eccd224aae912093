"""Which queries are shown as pictures: the best ones and the worst ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from bridge_stg.evaluation.report.scored_queries import ScoredQueries

# Appendix F calls a case good from these on, and bad up to those.
GOOD_TIOU, GOOD_VIOU = 0.7, 0.5
BAD_TIOU, BAD_VIOU = 0.3, 0.2


def ranking(scored: ScoredQueries) -> list[int]:
    """Rows from worst to best: by vIoU (if the task has boxes), then tIoU, then id."""
    viou = scored.viou if scored.viou is not None else np.zeros(len(scored.records))
    keys = list(zip(viou.tolist(), scored.tiou.tolist(), [r.id for r in scored.records], strict=True))
    return sorted(range(len(keys)), key=keys.__getitem__)


def best_rows(scored: ScoredQueries, count: int) -> list[int]:
    """The ``count`` best rows, best first; one per video while there are videos left."""
    ranked = ranking(scored)[::-1]
    fresh = _one_per_video(scored, ranked)
    rest = [row for row in ranked if row not in set(fresh)]
    return (fresh + rest)[:count]


def worst_rows(scored: ScoredQueries, kinds: Sequence[Hashable], count: int) -> list[int]:
    """The ``count`` worst rows, worst first.

    A weak model scores 0 on hundreds of queries, most of them wrong in the same way. Rows that are equally bad
    are dealt in rounds: each round takes one row left of every kind, frequent kinds first, so that every kind
    of error is seen; one per video while there are videos left.

    Args:
        kinds: (N,) the kind of error of each row.
        count: how many.
    """
    by_score: dict[tuple[float, float], list[int]] = {}
    for row in ranking(scored):
        by_score.setdefault(_overlaps(scored, row), []).append(row)
    chosen: list[int] = []
    for rows in by_score.values():  # in the order of the ranking
        chosen += _dealt_by_kind(scored, rows, kinds)
        if len(chosen) >= count:
            break
    return chosen[:count]


def _overlaps(scored: ScoredQueries, row: int) -> tuple[float, float]:
    """vIoU (0 for a task without boxes) and tIoU of a row."""
    return 0.0 if scored.viou is None else float(scored.viou[row]), float(scored.tiou[row])


def _dealt_by_kind(scored: ScoredQueries, rows: Sequence[int], kinds: Sequence[Hashable]) -> list[int]:
    fresh = _one_per_video(scored, rows)
    seen = set(fresh)
    by_kind: dict[Hashable, list[int]] = {}
    for row in [*fresh, *(row for row in rows if row not in seen)]:
        by_kind.setdefault(kinds[row], []).append(row)
    groups = sorted(by_kind.values(), key=lambda group: -len(group))
    depth = max(map(len, groups))
    return [group[turn] for turn in range(depth) for group in groups if turn < len(group)]


def good_and_bad(scored: ScoredQueries) -> tuple[int, int]:
    """How many queries are good and bad cases as Appendix F draws the line (on windows alone without boxes)."""
    viou = scored.viou
    good = scored.tiou >= GOOD_TIOU
    bad = scored.tiou <= BAD_TIOU
    if viou is not None:
        good, bad = good & (viou >= GOOD_VIOU), bad & (viou <= BAD_VIOU)
    return int(good.sum()), int(bad.sum())


def _one_per_video(scored: ScoredQueries, rows: Sequence[int]) -> list[int]:
    """The first row of each video: sentences about one video show the same pictures again."""
    seen: dict[str, int] = {}
    for row in rows:
        seen.setdefault(scored.records[row].video, row)
    return list(seen.values())
