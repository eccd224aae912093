"""The paper's ten benchmarks: what is asked, how it is scored, and what Bridge-STG is reported to reach.

Section 4.1 says ten and names six families; these ten are the ones its tables and App. B.1 tell apart. Counts
are queries (of GOT-10k: sequences) of the split that can be scored; those of HC-STVG are the ones that its
users report. The values are in ``reported.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge_stg.errors import InputError, did_you_mean
from bridge_stg.evaluation.reported import ReportedRow, reported_rows
from bridge_stg.metrics import choice, referring, stvg, temporal, tracking
from bridge_stg.prompting.templates import PROMPTS
from bridge_stg.types import Task, parse_task

# "Videos are uniformly sampled at 2 fps"; 192 tokens of 32 x 32 pixels give the frame sizes of Table 9.
PAPER_FPS = 2.0
PAPER_TOKENS_PER_FRAME = 192
METHOD = "Bridge-STG"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    ``splits`` maps a split, or a kind of query scored by itself, to its number of queries (None: any).
    ``fps`` and ``tokens_per_frame`` are what the paper's numbers were made with; None where a checkpoint
    decides by itself. ``protocol`` is what ``score --protocol`` takes.
    """

    name: str
    title: str
    task: Task | None
    splits: Mapping[str, int | None]
    protocol: str | None
    metrics: tuple[str, ...]
    fps: float | None = PAPER_FPS
    tokens_per_frame: int | None = PAPER_TOKENS_PER_FRAME
    note: str = ""

    @property
    def prompt(self) -> str | None:
        """The user's turn, with ``{query}``."""
        return None if self.task is None else PROMPTS[self.task]

    @property
    def n(self) -> int | None:
        """Queries in all splits; None if one of them has any number."""
        counts = [count for count in self.splits.values() if count is not None]
        return sum(counts) if len(counts) == len(self.splits) else None

    @property
    def reported(self) -> tuple[ReportedRow, ...]:
        """The paper's own values, split by split; none where it reports none."""
        return tuple(row for row in reported_rows(self.name) if row.model == METHOD)

    def task_for(self, wanted: str | None) -> Task | None:
        """The task to ask: the benchmark's own; for one with several the wanted one.

        Raises:
            InputError: it is none of the five, or the benchmark is about another.
        """
        task = self.task if wanted is None else parse_task(wanted)
        if self.task is not None and task != self.task:
            raise InputError(f"--benchmark {self.name} is about {self.task}, not {wanted}; leave --task out")
        return task


_UNC = "REC reads an image as a clip of one pair of frames without timestamps"

BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "vidstg",
        "VidSTG test",
        "stvg",
        {"declarative": 4610, "interrogative": 5693},
        "stcat",
        stvg.METRICS,
        note="a question is about its used_segment, not the whole video; Table 15 counts 4609 declarative ones",
    ),
    Benchmark(
        "hcstvg-v1",
        "HC-STVG v1 test",
        "stvg",
        {"test": 1160},
        "stcat",
        stvg.METRICS,
        note="part of the training mixture; the paper reports no value for it",
    ),
    Benchmark(
        "hcstvg-v2",
        "HC-STVG v2 validation",
        "stvg",
        {"val": 2000},
        "stcat",
        stvg.METRICS,
        note="the answers of its test split are not public; Table 3 is headed HCSTVG, its text HCSTVG-v2",
    ),
    Benchmark(
        "charades-sta",
        "Charades-STA test",
        "vtg",
        {"test": 3720},
        "charades-sta",
        temporal.METRICS,
    ),
    Benchmark(
        "got10k",
        "GOT-10k validation",
        "vot",
        {"val": 180},
        "got10k",
        tracking.METRICS,
        note="the answers of the 180 test sequences are held by its server; Table 5 does not say which it used",
    ),
    Benchmark(
        "refcoco",
        "RefCOCO",
        "rec",
        {"val": 10834, "testA": 5657, "testB": 5095},
        "refcoco",
        referring.METRICS,
        note=_UNC,
    ),
    Benchmark(
        "refcoco+",
        "RefCOCO+",
        "rec",
        {"val": 10758, "testA": 5726, "testB": 4889},
        "refcoco",
        referring.METRICS,
        note=_UNC,
    ),
    Benchmark(
        "refcocog", "RefCOCOg", "rec", {"val": 4896, "test": 9602}, "refcoco", referring.METRICS, note=_UNC
    ),
    Benchmark("video-mme", "Video-MME without subtitles", "vqa", {"test": 2700}, "video-mme", choice.METRICS),
    Benchmark(
        "video-mme-subs",
        "Video-MME with subtitles",
        "vqa",
        {"test": 2700},
        "video-mme",
        choice.METRICS,
        note="744 of the 900 videos have subtitles",
    ),
)
# Ours: all five tasks, and a checkpoint's own rate and size.
SHAPES = Benchmark("shapes", "Shapes", None, {"test": None}, None, (), fps=None, tokens_per_frame=None)


def benchmark_by_name(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        InputError: there is none; the message lists all.
    """
    known = {benchmark.name: benchmark for benchmark in (SHAPES, *BENCHMARKS)}
    if name in known:
        return known[name]
    raise InputError(f"no benchmark {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
