"""The paper's self-collected data (App. A): tubes that fill a video, and foreign clips that give them an end.

``plan.py`` draws what goes where, ``video.py`` makes one video, ``workspace.py`` keeps what is finished; this
file makes all of them, in several processes, and writes the lists.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.synthesis.plan import Donors, Insert, VideoPlan, make_plan, synthetic_record
from bridge_stg.curation.synthesis.video import UNREADABLE, compose
from bridge_stg.curation.synthesis.workspace import Workspace, begin, on_disk, video_name
from bridge_stg.errors import DataError
from bridge_stg.files.worker_pool import Died, run_each
from bridge_stg.records.record import TruthRecord, write_truth
from bridge_stg.records.store import StoreWriter

SYNTHESIS_SCHEMA = "bridge-stg/synthesis/1"


@dataclass
class SynthesisReport:
    """What was made of ``read`` records.

    ``not_reached`` were left because ``limit`` came before them; ``resumed`` videos were made by an earlier run
    that was stopped.
    """

    out: Path
    read: int = 0
    kept: int = 0
    not_reached: int = 0
    resumed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _VideoToMake:
    """A video to make; ``places`` says where the videos of its plan lie."""

    number: int
    plan: VideoPlan
    places: dict[str, Path]
    path: Path


def synthesize(
    records: Iterable[TruthRecord],
    locate: Callable[[TruthRecord], Path],
    out: Path,
    seed: int = 0,
    limit: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SynthesisReport:
    """Make a video and a record of each of ``records`` that has a tube, in an order drawn from ``seed``.

    ``out`` appears when it is complete: ``videos/``, a store, ``truth.jsonl``, ``inserts.jsonl`` (what was
    inserted where), ``skipped.jsonl`` (what was dropped and why) and ``counts.json``. Until then everything is
    in the hidden folder ``.NAME.partial`` beside it; a run that was stopped goes on from there, with the same
    result.

    Args:
        records: of any source.
        locate: where the video of a record lies.
        out: a new folder.
        seed: the same seed and records give the same data.
        limit: stop after this many samples.
        workers: processes that make videos; their number does not change the result.
        progress: told (done, in all): samples if there is a ``limit``, records if not.

    Raises:
        DataError: no sample could be made.
        InputError: ``out`` exists or cannot be written, or an unfinished run there made something else.
    """
    given = list(records)
    donors = Donors(given)
    random.Random(seed).shuffle(given)
    report = SynthesisReport(out, len(given))

    with begin(out, given, seed) as work:
        outcomes = _make_all(given, donors, locate, work, seed, limit, workers, progress)
        for outcome in outcomes:
            if isinstance(outcome, Unusable):
                report.dropped[outcome.reason] += 1
        report.kept = len(outcomes) - report.dropped.total()
        report.not_reached = len(given) - len(outcomes)
        report.resumed = work.resumed

        if not report.kept:
            work.remove()
            reason, count = report.dropped.most_common(1)[0] if report.dropped else ("there are no records", 0)
            raise DataError(f"no sample could be made of {report.read} records; most often ({count}): {reason}")

        work.keep_only(number for number, one in enumerate(outcomes) if isinstance(one, VideoPlan))
        _write_lists(given, outcomes, work.data, seed, report)
        os.replace(work.data, out)
        work.remove()
    return report


def _make_all(
    records: list[TruthRecord],
    donors: Donors,
    locate: Callable[[TruthRecord], Path],
    work: Workspace,
    seed: int,
    limit: int | None,
    workers: int,
    progress: Callable[[int, int], None],
) -> list[VideoPlan | Unusable]:
    """What became of each record, as far as ``limit`` reached."""
    outcomes: dict[int, VideoPlan | Unusable] = {}
    wanted = len(records) if limit is None else min(limit, len(records))
    kept = number = 0
    while number < len(records) and kept < wanted:
        # As many as are still wanted: some may fail, but none is made that one process would not have made.
        jobs: list[_VideoToMake] = []
        while number < len(records) and kept + len(jobs) < wanted:
            try:
                plan = make_plan(records[number], donors, seed)
            except Unusable as problem:
                outcomes[number] = problem
            else:
                if number in work.made:
                    outcomes[number] = plan
                    kept += 1
                else:
                    jobs.append(_VideoToMake(number, plan, _places(plan, locate), work.path(number)))
            number += 1

        progress(kept if limit else len(outcomes), wanted)
        for job, result in run_each(_make, jobs, workers):
            if isinstance(result, int):
                work.finished(job.number, result)
                outcomes[job.number] = job.plan
                kept += 1
            elif isinstance(result, Died):
                outcomes[job.number] = Unusable(UNREADABLE, "the process that read it died")
            else:
                outcomes[job.number] = result
            progress(kept if limit else len(outcomes), wanted)
    return [outcomes[one] for one in range(number)]


def _make(job: _VideoToMake) -> int | Unusable:
    """Make one video; returns its bytes, or why there is none."""
    try:
        compose(job.plan, job.places, job.path)
    except Unusable as problem:
        return problem
    return on_disk(job.path)


def _places(plan: VideoPlan, locate: Callable[[TruthRecord], Path]) -> dict[str, Path]:
    inserts = (plan.before, plan.after)
    records = [plan.record, *(insert.donor for insert in inserts if insert is not None)]
    return {record.video: locate(record) for record in records}


def _write_lists(
    records: list[TruthRecord],
    outcomes: list[VideoPlan | Unusable],
    folder: Path,
    seed: int,
    report: SynthesisReport,
) -> None:
    made: list[TruthRecord] = []
    with (
        StoreWriter(folder, ".") as store,
        (folder / "inserts.jsonl").open("w", encoding="utf-8") as inserts,
        (folder / "skipped.jsonl").open("w", encoding="utf-8") as skipped,
    ):
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Unusable):
                why = {"reason": outcome.reason, "detail": outcome.detail, "by_design": outcome.by_design}
                skipped.write(json.dumps({"id": records[number].id, **why}) + "\n")
                continue

            # As VideoWriter pads them.
            width, height = outcome.record.width, outcome.record.height
            size = width + width % 2, height + height % 2
            made.append(synthetic_record(outcome, video_name(number), size))
            store.add(made[-1])
            inserts.write(json.dumps({"id": made[-1].id, **_about(outcome)}) + "\n")
    write_truth(folder / "truth.jsonl", made)

    counts = {
        "schema": SYNTHESIS_SCHEMA,
        "seed": seed,
        "read": report.read,
        "kept": report.kept,
        "not_reached": report.not_reached,
        "dropped": dict(sorted(report.dropped.items())),
    }
    (folder / "counts.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")


def _about(plan: VideoPlan) -> dict[str, Any]:
    def one(insert: Insert | None) -> dict[str, Any] | None:
        if insert is None:
            return None
        return {"video": insert.donor.video, "start": round(insert.start, 6), "frames": insert.frames}

    return {"before": one(plan.before), "after": one(plan.after)}
