"""Where training gets the frames of a clip: from a frame cache if one has them, else from the video."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bridge_stg.types import SampledVideo, TimeSpan
from bridge_stg.video.sampling import sample_video

if TYPE_CHECKING:
    from bridge_stg.training.data.frame_cache import FrameCache

# Folders written by ``data extract-frames``, separated as in PATH. A variable of the environment reaches every
# process that loads data, and is not part of what a run is: the frames are the same.
CACHES_VARIABLE = "BRIDGE_STG_FRAMES"


def cached_or_sampled(
    source: str | Path,
    fps: float,
    frame_size: Callable[[int, int], tuple[int, int]] | None,
    span: TimeSpan | None,
    times: Sequence[float] | None,
) -> SampledVideo:
    """``sample_video``, from the first cache named in ``BRIDGE_STG_FRAMES`` that has the clip, if one has.

    Raises:
        VideoError, InputError: as ``sample_video``.
        DataError: as :class:`bridge_stg.training.data.frame_cache.FrameCache`.
    """
    for cache in caches(os.environ.get(CACHES_VARIABLE, "")):
        found = cache.sample(source, fps, frame_size, span, times)
        if found is not None:
            return found

    return sample_video(source, fps, frame_size, span, times)


def useless_caches(fps: float, frame_size: Callable[[int, int], tuple[int, int]]) -> list[str]:
    """The folders named in ``BRIDGE_STG_FRAMES`` whose frames a model that reads like this cannot use.

    Raises:
        DataError: one of them is no finished cache.
    """
    named = caches(os.environ.get(CACHES_VARIABLE, ""))
    return [str(cache.folder) for cache in named if not cache.keeps(fps, frame_size)]


@lru_cache(maxsize=4)
def caches(places: str) -> tuple[FrameCache, ...]:
    """The caches in a list of folders, opened once in each process.

    Raises:
        DataError: one of them is no finished cache.
    """
    if not places:
        return ()
    # Here only: without caches nothing needs the library that reads Parquet.
    from bridge_stg.training.data.frame_cache import FrameCache

    return tuple(FrameCache(place) for place in places.split(os.pathsep) if place)
