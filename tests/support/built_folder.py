"""Builds a fixture folder and reads back everything that the build wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from bridge_stg.curation.build import BuildOptions, build
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import RecordStore


@dataclass(frozen=True)
class Built:
    """What a build wrote: records by id, (reason, detail) and notes by id, and counts.json."""

    out: Path
    records: dict[str, TruthRecord]
    skipped: dict[str, tuple[str, str]]
    notes: dict[str, list[str]]
    counts: dict[str, Any]

    @property
    def only(self) -> TruthRecord:
        (record,) = self.records.values()
        return record

    def count(self, split: str, what: str) -> dict[str, Any]:
        (line,) = [line for line in self.counts["splits"][split]["counts"] if line["what"] == what]
        return dict(line)


def built(name: str, root: Path, out: Path | None = None, **options: Any) -> Built:
    """Build ``name`` from ``root``; any share may be skipped unless ``options`` say otherwise."""
    out = out or root.with_name(f"{root.name}-built")
    build(name, root, out, BuildOptions(**{"max_skipped": 1.0, **options}))
    skipped = lines(out / "skipped.jsonl")
    return Built(
        out,
        {record.id: record for record in RecordStore(out, cache=out.with_name(f"{out.name}-cache"))},
        {line["id"]: (line["reason"], line["detail"]) for line in skipped},
        {line["id"]: line["notes"] for line in lines(out / "notes.jsonl")},
        json.loads((out / "counts.json").read_text()),
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, content: Any) -> Path:
    """Write text as it is and anything else as JSON, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def write_video(path: Path, frames: int, fps: Fraction | int, width: int = 64, height: int = 48) -> Path:
    """A real, grey video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = np.full((height, width, 3), 8 * number % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
