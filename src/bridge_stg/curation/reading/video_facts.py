"""What only the video files know: size, frame count and the exact rate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.reading.request import Request
from bridge_stg.errors import VideoError
from bridge_stg.types import VideoInfo
from bridge_stg.video.decode import probe


class VideoFacts:
    """Opens each video once, several at a time: the time goes into reading them."""

    def __init__(self, request: Request, paths: Iterable[str]) -> None:
        """Open ``paths``, relative to the root of the request."""
        wanted = sorted(set(paths))
        self._found: dict[str, VideoInfo | str] = {}
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for path, found in zip(
                wanted, pool.map(_look, (request.folder.root / p for p in wanted)), strict=True
            ):
                self._found[path] = found
                request.progress("opening videos", len(self._found), len(wanted))

    def of(self, path: str) -> VideoInfo:
        """Raises Unusable when the video could not be opened."""
        found = self._found[path]
        if isinstance(found, str):
            raise Unusable("the video cannot be opened", found)
        return found


def _look(path: Path) -> VideoInfo | str:
    try:
        return probe(path)
    except VideoError as problem:
        # Reasons are kept with the data: they name the file, not the machine it lay on.
        return str(problem).replace(str(path), path.name)
    except (OSError, ValueError) as problem:
        return f"{path.name}: {type(problem).__name__}: {problem}".replace(str(path), path.name)
