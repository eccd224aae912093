"""What a run writes down: one JSON line every few steps, averaged since the last one."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from bridge_stg.files.output_files import write_whole

# (sum, count) by name, and plain amounts by name.
Totals = tuple[dict[str, tuple[float, float]], dict[str, float]]


class RunLog:
    """Averages values and appends them to ``log.jsonl``.

    A run that goes on from step ``start`` was logged further than that before it was stopped; those lines are
    dropped, because the steps are about to be done again.

    Args:
        path: of the file; None in processes that do not write.
        peak_flops: floating point operations per second of all devices together, for "mfu".
    """

    def __init__(self, path: Path | None, start: int = 0, peak_flops: float | None = None) -> None:
        self.path, self.peak_flops = path, peak_flops
        if path is not None and path.is_file():
            _keep_until(path, start)
        self.sums: dict[str, float | Tensor] = defaultdict(float)
        self.counts: dict[str, float | Tensor] = defaultdict(float)
        self.amounts: dict[str, float] = defaultdict(float)
        self.started = time.perf_counter()

    def add(self, name: str, value: float | Tensor, count: float | Tensor = 1) -> None:
        """Add ``value``, a sum over ``count`` items; tensors are read when the line is written."""
        self.sums[name] = self.sums[name] + value
        self.counts[name] = self.counts[name] + count

    def tally(self, name: str, amount: float) -> None:
        """Add to what is reported per second: samples, tokens, flops."""
        self.amounts[name] += amount

    def leave_out(self, seconds: float) -> None:
        """Time that was not spent on training."""
        self.started += seconds

    def write(
        self, step: int, together: Callable[[list[Totals]], list[Totals]] = list, **facts: float
    ) -> dict[str, float]:
        """Append one line with the averages since the last one and start anew.

        Args:
            together: makes a list of the totals of this process one of those of all processes.
        """
        # The totals of all processes.
        seconds = time.perf_counter() - self.started
        own = {name: (float(self.sums[name]), float(self.counts[name])) for name in self.sums}
        every = together([(own, dict(self.amounts))])
        amounts = {name: sum(one[name] for _, one in every if name in one) for name in dict(self.amounts)}

        # Rates, then averages.
        line: dict[str, float] = {"step": step, **facts, "seconds": round(seconds, 2)}
        rate = 1.0 / max(seconds, 1e-9)
        for name in ("samples", "tokens"):
            line[f"{name}_per_second"] = round(amounts.get(name, 0.0) * rate, 2)
        if self.peak_flops:
            line["mfu"] = round(amounts.get("flops", 0.0) * rate / self.peak_flops, 5)

        for name in dict.fromkeys(name for found, _ in every for name in found):
            parts = [found[name] for found, _ in every if name in found]
            if total := sum(part[1] for part in parts):
                line[name] = round(sum(part[0] for part in parts) / total, 5)

        self.append(line)

        self.sums.clear()
        self.counts.clear()
        self.amounts.clear()
        self.started = time.perf_counter()
        return line

    def append(self, line: Mapping[str, object]) -> None:
        """Write a line as it is; its "step" says until when it counts."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")


def _keep_until(path: Path, step: int) -> None:
    """Keep the lines up to ``step``; a last line that was cut off in writing goes too."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n") and json.loads(line)["step"] <= step:
            kept.append(line)
    write_whole(path, "".join(kept))
