"""The videos of a data set that have to be opened: only the files know size, length and exact rate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import VideoError
from bridge_stg.video.decode import probe


class OpenedVideos:
    """Finds each video and opens it once, several at a time: the time goes into reading them."""

    def __init__(self, request: Request, names: Iterable[str], locate: Callable[[str], str]) -> None:
        """Open all videos, unless the request says not to look for them.

        Args:
            request: its folder is what paths are relative to; its progress is told.
            names: of the videos, as the annotations give them; repeated ones are opened once.
            locate: gives the path of a name, or raises Unusable.
        """
        self._paths: dict[str, str | Unusable] = {}
        for name in dict.fromkeys(names):
            try:
                self._paths[name] = locate(name)
            except Unusable as problem:
                self._paths[name] = problem

        wanted = sorted({path for path in self._paths.values() if isinstance(path, str)})
        self._facts: dict[str, VideoFacts | str] = {}
        if not request.check_videos:
            return

        places = [request.folder.root / path for path in wanted]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for path, facts in zip(wanted, pool.map(read_facts, places), strict=True):
                self._facts[path] = facts
                request.progress("opening videos", len(self._facts), len(wanted))

    def path(self, name: str) -> str:
        """Where a video lies below the root; Unusable when it is not there."""
        path = self._paths[name]
        if isinstance(path, Unusable):
            raise path
        return path

    def facts(self, name: str) -> VideoFacts:
        """What the file says of itself; Unusable when it is not there or cannot be opened."""
        facts = self._facts[self.path(name)]
        if isinstance(facts, str):
            raise Unusable("the video cannot be opened", facts)
        return facts


def read_facts(path: Path) -> VideoFacts | str:
    """What a video, or a folder of pictures with times, says of itself; or why it cannot be opened."""
    try:
        return VideoFacts.of(probe(path))
    except VideoError as problem:
        # Reasons are kept with the data: they name the file, not the machine that it lay on.
        return str(problem).replace(str(path), path.name)
    except (OSError, ValueError) as problem:
        return f"{path.name}: {type(problem).__name__}: {problem}".replace(str(path), path.name)
