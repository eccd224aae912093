"""What became of the items of a build, counted and held against the published numbers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge_stg.curation.published_counts import PUBLISHED, Published
from bridge_stg.curation.reading.outcome import Outcome

COUNTS_SCHEMA = "bridge-stg/counts/1"


@dataclass
class Tally:
    """What became of the items of one split."""

    read: int = 0
    kept: int = 0
    noted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    by_design: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    counted_kept: Counter[str] = field(default_factory=Counter)
    videos: set[str] = field(default_factory=set)
    videos_kept: set[str] = field(default_factory=set)

    @property
    def share_skipped(self) -> float:
        """Of the items that the data set means for this use."""
        meant = self.read - self.by_design.total()
        return self.skipped.total() / meant if meant else 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one item."""
        self.read += 1
        self.counted.update(outcome.counted)
        self.videos.add(outcome.video)
        if outcome.unusable is not None:
            kind = self.by_design if outcome.unusable.by_design else self.skipped
            kind[outcome.unusable.reason] += 1
            return

        self.kept += 1
        self.noted += bool(outcome.notes)
        self.counted_kept.update(outcome.counted)
        self.videos_kept.add(outcome.video)

    def to_json(self, published: tuple[Published, ...]) -> dict[str, Any]:
        """The part of ``counts.json`` about a split."""
        found = {**self.counted, "videos": len(self.videos)}
        kept = {**self.counted_kept, "videos": len(self.videos_kept)}
        known = {entry.what: entry for entry in published}
        names = sorted(set(found) | set(known))
        return {
            "read": self.read,
            "kept": self.kept,
            "skipped": self.skipped.total(),
            "left_out_by_design": self.by_design.total(),
            "with_notes": self.noted,
            "reasons": dict(sorted((self.skipped + self.by_design).items())),
            "counts": [
                _compare(name, found.get(name, 0), kept.get(name, 0), known.get(name)) for name in names
            ],
        }


def write_counts(folder: Path, name: str, tallies: dict[str, Tally], status: str) -> None:
    """Write ``counts.json`` of data set ``name``."""
    splits = {split: tally.to_json(PUBLISHED.get((name, split), ())) for split, tally in tallies.items()}
    about = {"schema": COUNTS_SCHEMA, "source": name, "status": status, "splits": splits}
    (folder / "counts.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _compare(what: str, read: int, kept: int, published: Published | None) -> dict[str, Any]:
    """One line of the table of counts, with its difference in words."""
    # Why the two numbers differ, as far as anybody knows.
    words = []
    if published is not None and read != published.number:
        gap = read - published.number
        words.append(f"the files hold {abs(gap)} {'more' if gap > 0 else 'fewer'} than published")
        if published.remark:
            words.append(published.remark)
        elif published.certain:
            words.append("half a download or another release")
        else:
            words.append("the published number was never counted in the files")
    if kept < read:
        words.append(f"{read - kept} left out, see reasons and skipped.jsonl")

    return {
        "what": what,
        "published": published.number if published else None,
        "certain": published.certain if published else None,
        "read": read,
        "difference": read - published.number if published else None,
        "kept": kept,
        "explanation": "; ".join(words),
    }
