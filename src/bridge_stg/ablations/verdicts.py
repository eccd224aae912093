"""What the runs of ablation tables say: numbers beside the paper's, intervals, and a verdict per claim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bridge_stg.ablations.jobs import AblationPlan, run_name
from bridge_stg.ablations.tables import AblationRow, AblationTable
from bridge_stg.evaluation.compare import ScoresFile, read_scores
from bridge_stg.metrics.bootstrap import clustered_interval
from bridge_stg.metrics.stvg import METRICS
from bridge_stg.records.record import TruthRecord, read_truth

Verdict = Literal["holds here", "does not hold here", "cannot tell"]
COST_COLUMNS = ("frames", "visual_tokens", "prompt_tokens", "answer_tokens", "located_frames")


@dataclass(frozen=True)
class Entry:
    """One row with one seed; ``metrics`` in percent, costs in their own units."""

    table: str
    row: str
    seed: int
    settings: tuple[str, ...]
    metrics: dict[str, float]
    paper: dict[str, float]


@dataclass(frozen=True)
class Claim:
    """What the paper says of the default against a row, and what the runs say.

    difference: of the claimed metric, default minus row, in points, the mean over seeds.
    ci95: its interval by a paired bootstrap over videos.
    verdict: something can be told where the interval and every seed are on one side of zero. What is drawn are
        videos, and they say nothing of how much one training differs from the next.
    """

    table: str
    row: str
    metric: str
    paper: float | None
    difference: float
    ci95: tuple[float, float]
    seeds: int
    verdict: Verdict


def collect(tables: Sequence[AblationTable], plan: AblationPlan) -> list[Entry]:
    """Every row that was run, one entry per seed."""
    truth = {record.id: record for record in read_truth(plan.out / "data" / "truth.jsonl")}
    found = []
    for table in tables:
        for row in table.rows:
            for seed in range(plan.seeds):
                folder = plan.out / "runs" / run_name(row, seed)
                if (folder / "scores.json").is_file():
                    metrics = _metrics(row, folder, truth)
                    found.append(Entry(table.key, row.name, seed, row.settings, metrics, row.paper))

    return found


def judge(tables: Sequence[AblationTable], plan: AblationPlan) -> list[Claim]:
    """A verdict for every claim whose row and default were run with the same seeds."""
    found = []
    for table in tables:
        default, *others = table.rows
        for row in others:
            pairs = [
                (read_scores(mine), read_scores(theirs))
                for seed in range(plan.seeds)
                if (mine := plan.out / "runs" / run_name(default, seed) / "scores.json").is_file()
                and (theirs := plan.out / "runs" / run_name(row, seed) / "scores.json").is_file()
            ]
            if row.claim is not None and pairs:
                found.append(_judged(table, default, row, pairs))

    return found


def write_json(path: Path, entries: Sequence[Entry]) -> None:
    """``ablations.json``: a list of entries."""
    path.write_text(json.dumps([asdict(entry) for entry in entries], indent=2) + "\n", encoding="utf-8")


def _judged(
    table: AblationTable, default: AblationRow, row: AblationRow, pairs: list[tuple[ScoresFile, ScoresFile]]
) -> Claim:
    assert row.claim is not None
    queries = pairs[0][0].queries
    each = np.array([_column(mine, row.claim) - _column(theirs, row.claim) for mine, theirs in pairs])
    by_seed = each @ queries.weights / queries.weights.sum()

    # Per query the mean over seeds, so that queries are what is drawn.
    ((low, high),) = clustered_interval(each.mean(0)[:, None], queries.videos, weights=queries.weights)
    better, worse = low > 0 and (by_seed > 0).all(), high < 0 and (by_seed < 0).all()
    verdict: Verdict = "holds here" if better else "does not hold here" if worse else "cannot tell"
    mean = float(by_seed.mean())
    known = row.claim in default.paper and row.claim in row.paper
    paper = round(default.paper[row.claim] - row.paper[row.claim], 2) if known else None
    interval = (round(float(low), 2), round(float(high), 2))

    return Claim(table.key, row.name, row.claim, paper, round(mean, 2), interval, len(pairs), verdict)


def _column(scores: ScoresFile, metric: str) -> NDArray[np.float64]:
    """What each query scored, in the order of ids."""
    order = np.argsort(scores.queries.ids, kind="stable")
    values: NDArray[np.float64] = scores.queries.values[order, list(scores.metrics).index(metric)]
    return values


def _metrics(row: AblationRow, folder: Path, truth: dict[str, TruthRecord]) -> dict[str, float]:
    scores = read_scores(folder / "scores.json")
    source, *limits = row.source.split(":")
    if source == "oracle":
        return {"m_vIoU": round(scores.metrics["gt_vIoU"], 2)}
    if source in ("run", "cost"):
        found = {name: round(scores.metrics[name], 2) for name in METRICS}
        return found | (_cost(folder) if source == "cost" else {})
    low, high = map(float, limits)
    chosen = _chosen(source, low, high, scores, truth)

    return _means(scores, chosen)


def _chosen(
    source: str, low: float, high: float, scores: ScoresFile, truth: dict[str, TruthRecord]
) -> NDArray[np.bool_]:
    """Which queries a row is about."""
    ids = scores.queries.ids
    if source == "tiou":
        values = scores.queries.values[:, list(scores.metrics).index("m_tIoU")]
        return np.asarray((values >= low) & (values < high))
    records = [truth[identity] for identity in ids]
    if source == "event":
        lasts = np.array([(r.window[1] - r.window[0]) / r.fps if r.window else np.inf for r in records])
        return np.asarray((lasts >= low) & (lasts < high))
    lengths = np.array([r.frame_count / r.fps for r in records])
    first, last = np.quantile(lengths, [low, high])

    return np.asarray((lengths >= first) & (lengths <= last))


def _means(scores: ScoresFile, chosen: NDArray[np.bool_]) -> dict[str, float]:
    if not chosen.any():
        return {"n": 0.0}
    means = scores.queries.values[chosen].mean(0)
    by_name = dict(zip(scores.metrics, means.tolist(), strict=True))
    return {"n": float(chosen.sum())} | {name: round(by_name[name], 2) for name in METRICS}


def _cost(folder: Path) -> dict[str, float]:
    """Averages per query or clip of what the answers took, milliseconds by stage, and memory."""
    content: dict[str, Any] = json.loads((folder / "predictions.jsonl.cost.json").read_text(encoding="utf-8"))
    runs = content["runs"]
    clips, queries = (sum(run[name] for run in runs) for name in ("clips", "queries"))
    totals = {name: sum(run["totals"][name] for run in runs) for name in COST_COLUMNS}
    shared = ("frames", "visual_tokens")
    found = {name: total / (clips if name in shared else queries) for name, total in totals.items()}
    stages = dict.fromkeys(stage for run in runs for stage in run["ms"])
    found |= {f"ms_{stage}": sum(run["ms"].get(stage, 0.0) for run in runs) / queries for stage in stages}
    found["peak_memory_mib"] = max(run["peak_memory_mib"] for run in runs)

    return {name: round(float(value), 2) for name, value in found.items()}
