"""The paper's self-collected data (App. A): tubes that fill a video, and foreign clips that give them an end.

Conversion of a foreign clip: for each picture of the new video the one that is shown in the other video at
that time, so the rate becomes the same; scaled until it covers the size of the new video, and cut to it around
the middle. The annotated clip itself is neither resampled nor scaled: frame ``i`` of it is frame ``offset +
i`` of the new video.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge_stg.data.records import TruthRecord, write_truth
from bridge_stg.data.sources.outcome import Unusable
from bridge_stg.data.store import StoreWriter
from bridge_stg.data.synthesis_plan import Donors, Insert, Plan, make_plan, synthetic_record
from bridge_stg.errors import DataError, InputError, VideoError
from bridge_stg.geometry.spans import frame_time
from bridge_stg.video.decode import VideoFile, open_source
from bridge_stg.video.images import ImageSequence
from bridge_stg.video.resize import resize_frame
from bridge_stg.video.sampling import TIE
from bridge_stg.video.write import VideoWriter

SYNTHESIS_SCHEMA = "bridge-stg/synthesis/1"


@dataclass
class SynthesisReport:
    """What was made of ``read`` records; ``not_reached`` were left because ``limit`` came before them."""

    out: Path
    read: int = 0
    kept: int = 0
    not_reached: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def synthesize(
    records: Iterable[TruthRecord],
    locate: Callable[[TruthRecord], Path],
    out: Path,
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SynthesisReport:
    """Make a video and a record of each of ``records`` that has a tube, in an order drawn from ``seed``.

    ``out`` appears when it is complete: ``videos/``, a store, ``truth.jsonl``, ``inserts.jsonl`` (what was
    inserted where), ``skipped.jsonl`` (what was dropped and why) and ``counts.json``.

    Args:
        records: of any source.
        locate: where the video of a record lies.
        out: a new folder.
        seed: the same seed and records give the same data.
        limit: stop after this many samples.
        progress: told how many records are done, of how many.

    Raises:
        DataError: no sample could be made.
        InputError: ``out`` exists or cannot be written.
    """
    given = list(records)
    donors = Donors(given)
    random.Random(seed).shuffle(given)
    report = SynthesisReport(out, len(given))
    if out.exists():
        raise InputError(f"{out}: exists already; give a new folder with --out")
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        (unfinished / "videos").mkdir(parents=True)
    except OSError as problem:
        raise InputError(f"{out}: cannot be written ({problem.strerror}); give another --out") from problem
    try:
        _fill(given, donors, locate, unfinished, seed, limit, progress, report)
        if not report.kept:
            reason, count = report.dropped.most_common(1)[0] if report.dropped else ("there are no records", 0)
            raise DataError(f"no sample could be made of {report.read} records; most often ({count}): {reason}")
        os.replace(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return report


def _fill(
    records: list[TruthRecord],
    donors: Donors,
    locate: Callable[[TruthRecord], Path],
    folder: Path,
    seed: int,
    limit: int | None,
    progress: Callable[[int, int], None],
    report: SynthesisReport,
) -> None:
    made: list[TruthRecord] = []
    with (
        StoreWriter(folder, ".") as store,
        (folder / "inserts.jsonl").open("w", encoding="utf-8") as inserts,
        (folder / "skipped.jsonl").open("w", encoding="utf-8") as skipped,
    ):
        for number, record in enumerate(records):
            if limit is not None and report.kept >= limit:
                report.not_reached = len(records) - number
                break
            progress(number, len(records))
            name = f"videos/{report.kept:06d}.mp4"
            try:
                plan = make_plan(record, donors, seed)
                size = compose(plan, locate, folder / name)
            except Unusable as problem:
                about = {"reason": problem.reason, "detail": problem.detail, "by_design": problem.by_design}
                skipped.write(json.dumps({"id": record.id, **about}) + "\n")
                report.dropped[problem.reason] += 1
                continue
            made.append(synthetic_record(plan, name, size))
            store.add(made[-1])
            inserts.write(json.dumps({"id": made[-1].id, **_about(plan)}) + "\n")
            report.kept += 1
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


def _about(plan: Plan) -> dict[str, Any]:
    def one(insert: Insert | None) -> dict[str, Any] | None:
        if insert is None:
            return None
        return {"video": insert.donor.video, "start": round(insert.start, 6), "frames": insert.frames}

    return {"before": one(plan.before), "after": one(plan.after)}


def compose(plan: Plan, locate: Callable[[TruthRecord], Path], path: Path) -> tuple[int, int]:
    """Write the video of a plan as H.264; returns its (width, height), which are even.

    Raises:
        Unusable: a video cannot be read, or is another one than its record says. Nothing is left at ``path``.
    """
    width, height = plan.record.width, plan.record.height
    try:
        base = _open(plan.record, locate)
        if (base.info.width, base.info.height) != (
            width,
            height,
        ) or base.info.frames != plan.record.frame_count:
            found = f"{base.info.width}x{base.info.height}, {base.info.frames} frames"
            raise Unusable("the video is another one than its record says", f"{plan.record.video}: {found}")
        parts = [_frames(base, list(range(*plan.record.clip)))]
        if plan.before is not None:
            parts.insert(0, _converted(plan.before, plan, locate))
        if plan.after is not None:
            parts.append(_converted(plan.after, plan, locate))
        with VideoWriter(path, width, height, plan.fps, reproducible=True) as writer:
            for pixels in chain.from_iterable(parts):
                writer.write(pixels)
    except VideoError as problem:
        raise Unusable("a video cannot be read", str(problem)) from problem
    return width + width % 2, height + height % 2


def _open(record: TruthRecord, locate: Callable[[TruthRecord], Path]) -> VideoFile | ImageSequence:
    times = None
    if record.media == "frames":
        times = [frame_time(frame, record.fps) for frame in range(record.frame_count)]
    return open_source(locate(record), times)


def _frames(source: VideoFile | ImageSequence, wanted: list[int]) -> Iterator[NDArray[np.uint8]]:
    """The pictures of ``wanted``, which do not decrease; one wanted twice comes twice.

    Raises:
        VideoError: one of them is damaged: the boxes after it would be a frame off.
    """
    times = Counter(wanted)
    done = 0
    for number, pixels in source.read(sorted(times)):
        for _ in range(times[number]):
            done += 1
            yield pixels
    if done < len(wanted):
        raise VideoError(f"{source.info.path}: {len(wanted) - done} of {len(wanted)} frames are damaged")


def _converted(
    insert: Insert, plan: Plan, locate: Callable[[TruthRecord], Path]
) -> Iterator[NDArray[np.uint8]]:
    """The foreign clip at the rate and in the size of the plan."""
    source = _open(insert.donor, locate)
    moments = insert.start + np.arange(insert.frames) / float(plan.fps)
    shown = np.searchsorted(source.times, moments + TIE, side="right") - 1
    for pixels in _frames(source, np.clip(shown, 0, source.info.frames - 1).tolist()):
        yield cover(pixels, plan.record.width, plan.record.height)


def cover(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3) scaled until it covers ``width`` x ``height``, with what sticks out cut off on both sides."""
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    size = max(round(pixels.shape[1] * scale), width), max(round(pixels.shape[0] * scale), height)
    scaled = resize_frame(pixels, *size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])
