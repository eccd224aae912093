"""``predictions.jsonl.cost.json``: what the answers of a predictions file took (the columns of Table 9).

It lies beside the predictions, which must be the same bytes whoever made them. Every run of every process is an
entry of its own; a run that goes on adds to those before it.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from bridge_stg.errors import InputError
from bridge_stg.files.output_files import write_whole
from bridge_stg.inference.clip_cost import ClipCost

COST_SCHEMA = "bridge-stg/cost/1"
# Sums over clips, and sums over queries.
PER_CLIP = ("frames", "frame_width", "frame_height", "source_fps", "visual_tokens")
PER_QUERY = ("prompt_tokens", "answer_tokens", "located_frames")


@dataclass
class RunCost:
    """What one process took in one run: ``totals`` are sums over its clips or queries, ``ms`` over its clips.

    ``peak_memory_mib`` is the resident memory of the process at its highest, ``peak_gpu_memory_mib`` what torch
    held of its GPU; None on a CPU.
    """

    device: str
    versions: dict[str, str]
    parameters: int | None = None
    clips: int = 0
    queries: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    ms: dict[str, float] = field(default_factory=dict)
    peak_memory_mib: float = 0.0
    peak_gpu_memory_mib: float | None = None

    def add(self, cost: ClipCost) -> None:
        """Count one clip."""
        self.clips += 1
        self.queries += cost.queries
        for name in PER_CLIP:
            self.totals[name] = self.totals.get(name, 0.0) + getattr(cost, name)
        for name in PER_QUERY:
            self.totals[name] = self.totals.get(name, 0.0) + sum(getattr(cost, name))
        for stage, value in cost.milliseconds.items():
            self.ms[stage] = self.ms.get(stage, 0.0) + value
        self.peak_memory_mib = peak_memory_mib()
        if self.peak_gpu_memory_mib is not None:
            import torch

            self.peak_gpu_memory_mib = torch.cuda.max_memory_allocated() / 2**20


def new_run(model: Any) -> RunCost:
    """An empty entry for a torch model on the device where it is."""
    import torch

    kind = model.device.type
    name = torch.cuda.get_device_name(model.device) if kind == "cuda" else platform.machine()
    versions = {package: metadata.version(package) for package in ("bridge-stg", "torch", "transformers")}
    return RunCost(
        device=f"{kind}: {name}",
        versions={"python": platform.python_version(), **versions},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        peak_gpu_memory_mib=0.0 if kind == "cuda" else None,
    )


def peak_memory_mib() -> float:
    """The resident memory of this process at its highest; 0 where the system does not say (Windows)."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def cost_path(out: Path) -> Path:
    """Where the cost of a predictions file lies."""
    return out.with_name(out.name + ".cost.json")


def read_cost(path: Path) -> list[RunCost]:
    """The entries of a cost file; none if there is no file.

    Raises:
        InputError: it is something else.
    """
    if not path.exists():
        return []

    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        runs = [RunCost(**entry) for entry in value["runs"]]
        summarize_cost(runs)  # only numbers can be added up
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise InputError(f"{path}: is not a cost file ({problem}); move it away") from problem

    return runs


def read_costs(predictions: Path) -> list[RunCost]:
    """The entries that lie beside a predictions file, or beside each file of a folder.

    Raises:
        InputError: a cost file that is something else.
    """
    files = sorted(predictions.glob("*.jsonl")) if predictions.is_dir() else [predictions]
    return [entry for path in files for entry in read_cost(cost_path(path))]


def mean_answer_tokens(predictions: Path) -> float | None:
    """Tokens per answer by the cost files of predictions; None if there are none.

    Raises:
        InputError: a cost file that is something else.
    """
    runs = read_costs(predictions)
    queries = sum(run.queries for run in runs)
    return _mean(sum(run.totals.get("answer_tokens", 0.0) for run in runs), queries)


def summarize_cost(runs: Sequence[RunCost]) -> dict[str, Any]:
    """The object of a cost file: means over everything, then the entries they are of."""
    clips, queries = sum(run.clips for run in runs), sum(run.queries for run in runs)
    totals = _added([run.totals for run in runs])
    stages = _added([run.ms for run in runs])

    gpu = [run.peak_gpu_memory_mib for run in runs if run.peak_gpu_memory_mib is not None]
    return {
        "schema": COST_SCHEMA,
        "clips": clips,
        "queries": queries,
        "mean_per_clip": {
            **{name: _mean(totals.get(name, 0.0), clips) for name in PER_CLIP},
            "ms": {stage: _mean(value, clips) for stage, value in stages.items()},
        },
        "mean_per_query": {
            **{name: _mean(totals.get(name, 0.0), queries) for name in PER_QUERY},
            "ms": {stage: _mean(value, queries) for stage, value in stages.items()},
            "total_ms": _mean(sum(stages.values()), queries),
        },
        "peak_memory_mib": round(max((run.peak_memory_mib for run in runs), default=0.0), 1),
        "peak_gpu_memory_mib": round(max(gpu), 1) if gpu else None,
        "parameters": next((run.parameters for run in reversed(runs) if run.parameters), None),
        "devices": sorted({run.device for run in runs}),
        "runs": [asdict(run) for run in runs],
    }


def write_cost(path: Path, runs: Sequence[RunCost]) -> None:
    """Write a cost file; it appears whole or not at all. InputError when the place is not writable."""
    write_whole(path, json.dumps(summarize_cost(runs), indent=2) + "\n")


def _added(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    added: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            added[name] = added.get(name, 0.0) + value
    return added


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 4) if count else None
