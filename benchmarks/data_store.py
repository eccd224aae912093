"""What a store of records costs: disk, seconds to open, and memory of worker processes that read it.

    python benchmarks/data_store.py [--records 400000] [--boxes 100] [--workers 4] [--reads 20000] [--json]

Records with random tubes are generated and written; then the store is opened a first time (which unpacks it
into a cache), a second time, and by ``--workers`` processes at once, each of which reads ``--reads`` random
records. Memory is taken while all of them have the store open: ``own`` is what only this process can use,
``cost`` adds its share of the mapped pages, which all processes read from the same memory, and ``resident``
counts those in full. Mapped pages are a cache of the file: the system takes them back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import GROUP_ROWS, RecordStore, write_store

# Where the processes of one measurement wait for each other; filled when a process starts.
_meet: list[Any] = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--boxes", type=int, default=100, help="mean boxes per record")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--reads", type=int, default=20_000, help="random records that each process reads")
    parser.add_argument("--folder", help="where to work; default: the folder for temporary files")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        store, cache = Path(place) / "store", Path(place) / "cache"
        store.mkdir()
        report: dict[str, Any] = {"records": arguments.records, "boxes": arguments.boxes}
        report["write_s"] = timed(write_store, store, generated(arguments.records, arguments.boxes))
        report["parquet_mb"] = megabytes(store)
        report["first_open_s"] = timed(RecordStore, store, cache)
        report["unpacked_mb"] = megabytes(cache)
        report["open_s"] = timed(RecordStore, store, cache)
        # Fresh processes, as a data loader on every platform starts them.
        jobs = [(str(store), str(cache), arguments.reads, seed) for seed in range(arguments.workers)]
        context = multiprocessing.get_context("spawn")
        together = context.Barrier(arguments.workers)
        with ProcessPoolExecutor(
            arguments.workers, mp_context=context, initializer=meet_at, initargs=(together,)
        ) as pool:
            report["workers"] = list(pool.map(read_some, *zip(*jobs, strict=True)))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print(
        f"{report['records']:,} records with {report['boxes']} boxes: written in {report['write_s']:.1f} s, "
        f"{report['parquet_mb']:.0f} MB of Parquet, {report['unpacked_mb']:.0f} MB unpacked"
    )
    print(f"first open {report['first_open_s']:.2f} s, every further one {report['open_s']:.2f} s")
    for number, worker in enumerate(report["workers"]):
        print(
            f"worker {number}: open {worker['open_s']:.2f} s, {worker['reads_per_s']:,.0f} records/s, own "
            f"{worker['own_mb']:.0f} MB (imports alone {worker['imports_mb']:.0f}), "
            f"cost {worker['cost_mb']:.0f} MB, resident {worker['resident_mb']:.0f} MB"
        )


def generated(records: int, boxes: int) -> Iterator[TruthRecord]:
    """Records as of a large data set: sentences of 60 letters, tubes of half to one and a half ``boxes``."""
    rng = np.random.default_rng(0)
    # Drawn once and used in turn: more of them than the store compresses together, so that it cannot profit.
    tubes = []
    for length in rng.integers(boxes // 2, boxes + boxes // 2 + 1, 2 * GROUP_ROWS).tolist():
        low = rng.integers(0, 200, (length, 2)) + rng.random((length, 2))
        corners = np.concatenate([low, low + rng.integers(5, 200, (length, 2))], axis=1).round(2).tolist()
        tubes.append([tuple(box) for box in corners])
    for number in range(records):
        tube, start = tubes[number % len(tubes)], int(rng.integers(0, 600))
        yield TruthRecord(
            id=f"generated/train/{number}/caption0",
            task="stvg",
            video=f"videos/{number // 60:04d}/{number // 6:010d}.mp4",
            fps=29.97,
            frame_count=900,
            clip=(0, 900),
            width=640,
            height=480,
            query=f"the adult in the coat number {number} walks towards the child beside the table.",
            window=(start, start + len(tube)),
            boxes=dict(enumerate(tube, start)),
            split="train",
            source="generated",
            category="adult",
            provenance=f"train.json#{number}",
        )


def meet_at(barrier: Any) -> None:
    _meet.append(barrier)


def read_some(store: str, cache: str, reads: int, seed: int) -> dict[str, float]:
    """Open the store and read random records of it; what that took and what this process then holds."""
    import datasets  # noqa: F401 - its own memory is measured apart

    process = psutil.Process()
    before = process.memory_info()
    imports = before.rss - before.shared
    started = time.perf_counter()
    records = RecordStore(store, cache)
    opened = time.perf_counter() - started
    order = np.random.default_rng(seed).integers(0, len(records), reads)
    started = time.perf_counter()
    for index in order.tolist():
        assert records[index].boxes
    seconds = time.perf_counter() - started
    _meet[0].wait()
    held = process.memory_full_info()
    _meet[0].wait()
    return {
        "open_s": opened,
        "reads_per_s": reads / seconds,
        "imports_mb": imports / 1e6,
        "own_mb": (held.rss - held.shared) / 1e6,
        "cost_mb": held.pss / 1e6,
        "resident_mb": held.rss / 1e6,
    }


def timed(function: Any, *arguments: Any) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
