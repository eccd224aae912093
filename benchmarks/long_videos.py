"""Is an event that happens once in a long video found, in what time, and in how much memory?

    python benchmarks/long_videos.py --out data/long                       # 20 generated videos of 10 minutes
    python benchmarks/long_videos.py --out data/longer --videos 1 --minutes 30
    python benchmarks/long_videos.py --out data/long --chunk 12 --answer direct --checkpoint FOLDER

Videos are drawn into --out once and used again. They are read in overlapping pieces, as ``bridge-stg ground``
does. A hit is a tIoU of 0.5 or more of the surest window. Memory is what the process holds when a piece begins.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridge_stg.records.part import true_windows
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.shapes.world.long_scene import make_long_scene
from bridge_stg.shapes.world.writer import truth_record, write_video
from bridge_stg.types.times import interval_iou

if TYPE_CHECKING:
    from bridge_stg.inference.grounder import VideoGrounder

PAGE = os.sysconf("SC_PAGE_SIZE")
HIT = 0.5
# The size at which the shipped checkpoint reads a video: anything larger is only drawn and shrunk again.
WIDTH, HEIGHT = 192, 144


@dataclass(frozen=True)
class Found:
    """What was found in one video; memory in MiB, after a tenth of the pieces and at its most after that."""

    query: str
    truth: tuple[float, float]
    window: tuple[float, float] | None
    tiou: float
    confidence: float | None
    windows: int
    wall_s: float
    processor_s: float
    early_mib: float
    most_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the videos")
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=8000, help="video i shows the long scene of seed + i")
    parser.add_argument("--rivals", action="store_true", help="other objects do the same, at other times")
    parser.add_argument("--checkpoint", default="shapes")
    parser.add_argument("--answer", choices=("direct", "scan"))
    parser.add_argument("--chunk", type=float, help="seconds; default: the checkpoint's longest clip")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write what was found there")
    arguments = parser.parse_args()

    truth = draw(arguments.out, arguments.videos, arguments.minutes, arguments.seed, arguments.rivals)
    from bridge_stg.inference.grounder import VideoGrounder

    grounder = VideoGrounder.from_pretrained(arguments.checkpoint, threads=arguments.threads)
    print(f"{'':>6} {'truth':>15} {'found':>15} {'tIoU':>5} {'sure':>5} {'s':>6} {'cpu s':>6} {'MiB':>11}")
    found = []
    for record in truth:
        one = ask(grounder, arguments.out / record.video, record, arguments.answer, arguments.chunk)
        found.append(one)
        window = "-" if one.window is None else "{:.1f}-{:.1f}".format(*one.window)
        print(
            f"{record.id:>6} {'{:.1f}-{:.1f}'.format(*one.truth):>15} {window:>15} {one.tiou:>5.2f} "
            f"{one.confidence or 0:>5.2f} {one.wall_s:>6.1f} {one.processor_s:>6.1f} "
            f"{one.early_mib:>5.0f} {one.most_mib:>5.0f}  {record.query}",
            flush=True,
        )
    hits = sum(one.tiou >= HIT for one in found)
    spent = sum(one.processor_s for one in found) / (len(found) * arguments.minutes)
    print(f"hits {hits} of {len(found)}; {spent:.1f} processor seconds for each minute of video")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(one) for one in found], indent=2), encoding="utf-8")


def draw(out: Path, videos: int, minutes: float, seed: int, rivals: bool) -> list[TruthRecord]:
    """The videos and ``truth.jsonl`` of ``out``, made where they are missing."""
    (out / "videos").mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(videos):
        made = make_long_scene(seed + number, 60 * minutes, width=WIDTH, height=HEIGHT, rivals=rivals)
        name = f"videos/{number:03d}.mp4"
        if not (out / name).is_file():
            write_video(out / "part.mp4", made.scene)
            (out / "part.mp4").rename(out / name)
        records.append(truth_record(made.scene, made.question, f"{number:03d}", name))
    write_truth(out / "truth.jsonl", records)
    return list(read_truth(out / "truth.jsonl"))


def ask(
    grounder: VideoGrounder, video: Path, record: TruthRecord, answer: str | None, chunk: float | None
) -> Found:
    """One question about one video."""
    memory: list[float] = []
    wall, processor = time.perf_counter(), time.process_time()
    result = grounder.ground(
        video,
        record.query,
        answer=answer,  # type: ignore[arg-type]
        chunk=chunk,
        progress=lambda stage: memory.append(resident_mib()),
    )
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    (span,) = true_windows(record)
    true = (span.start, span.end)
    window = None if result.window is None else (result.window.start, result.window.end)
    tenth = len(memory) // 10
    return Found(
        query=record.query,
        truth=true,
        window=window,
        tiou=0.0 if window is None else float(interval_iou(window, true)),
        confidence=result.confidence,
        windows=len(result.windows),
        wall_s=wall,
        processor_s=processor,
        early_mib=float(np.max(memory[: tenth + 1])),
        most_mib=float(np.max(memory[tenth:])),
    )


def resident_mib() -> float:
    """Memory that this process holds, in MiB."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE / 2**20


if __name__ == "__main__":
    main()
