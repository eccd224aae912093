"""Clips to try the service with: drawn on first use from fixed seeds, with questions that they answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from bridge_stg.records.record import read_truth
from bridge_stg.serve.problems import not_found
from bridge_stg.serve.schemas import Sample

# Scenes of the split that no training has seen.
_SEEDS = {"shapes-1": 15, "shapes-2": 23, "shapes-3": 42}
_NOT_THERE = "the purple star that shrinks"


@dataclass(frozen=True)
class SampleClip:
    path: Path
    queries: tuple[str, ...]


class SampleClips:
    """Moving shapes, which the shipped checkpoint knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def all(self) -> list[Sample]:
        return [
            Sample(name=name, title=f"Moving shapes {number}") for number, name in enumerate(_SEEDS, start=1)
        ]

    def clip(self, name: str) -> SampleClip:
        """The clip of that name, drawn now if it was not before.

        Raises:
            ServiceError: 404 for another name.
        """
        if name not in _SEEDS:
            raise not_found("sample")
        folder = self.folder / name
        with self._lock:
            if not (folder / "truth.jsonl").is_file():
                from bridge_stg.shapes.world.objects import SceneSettings
                from bridge_stg.shapes.world.writer import write_shapes

                write_shapes(folder, 1, _SEEDS[name], SceneSettings(split="test"), workers=1)
        records = [record for record in read_truth(folder / "truth.jsonl") if record.task == "stvg"]
        queries = tuple(record.query for record in records)
        return SampleClip(folder / records[0].video, (*queries, _NOT_THERE))
