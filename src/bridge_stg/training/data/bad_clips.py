"""Clips that cannot be trained on: logged with their ids, counted over the whole run, and limited in number."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from bridge_stg.errors import DataError

# The share is judged as if at least so many clips had been asked for: early on, chance alone exceeds it.
ENOUGH_CLIPS = 1000
_LOG = logging.getLogger(__name__)


class BadClips:
    """The unusable clips of a run, in ``folder/bad_clips.rank<r>.jsonl`` so that all its processes, and the run
    that goes on after an interruption, count the same ones; without a folder, in memory.
    """

    def __init__(self, max_share: float, clips: int, folder: Path | None = None, rank: int = 0) -> None:
        """``clips`` is how many clips the data has."""
        self.max_share, self.enough, self.folder = max_share, min(clips, ENOUGH_CLIPS), folder
        self.path = None if folder is None else folder / f"bad_clips.rank{rank}.jsonl"
        self.seen: set[tuple[int, str, str]] = set()

    def add(
        self, step: int, asked: int, source: str, ids: Sequence[str], video: Path, problem: Exception
    ) -> None:
        """Write one down.

        Args:
            step: that asked for it. asked: clips that the run asked for up to and with this step.

        Raises:
            DataError: more than ``max_share`` of the clips asked for are bad.
        """
        names = ", ".join(ids)
        _LOG.warning("step %d: clip of %s (%s) cannot be used: %s", step, source, names, problem)
        line = {"step": step, "source": source, "ids": list(ids), "video": str(video), "reason": str(problem)}
        self.seen.add((step, source, names))

        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One write: lines of several worker processes do not mix.
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, (json.dumps(line) + "\n").encode())
            finally:
                os.close(handle)

        count = self.count()
        if count > self.max_share * max(asked, self.enough):
            raise DataError(
                f"{count} of the {asked} clips asked for so far cannot be used, more than max_bad_share "
                f"{self.max_share:g} allows; the last: {names} of {source}: {problem}"
            )

    def count(self) -> int:
        """Bad clips so far; a step that was done again after an interruption counts once."""
        found = set(self.seen)
        for path in () if self.folder is None else sorted(self.folder.glob("bad_clips.rank*.jsonl")):
            for text in path.read_text(encoding="utf-8").splitlines():
                try:
                    line = json.loads(text)
                    found.add((line["step"], line["source"], ", ".join(line["ids"])))
                except (ValueError, KeyError):
                    continue  # being written, or cut off when the machine stopped

        return len(found)
