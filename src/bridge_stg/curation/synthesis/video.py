"""One video of App. A: an annotated clip with pieces of other videos before and after it.

Conversion of a foreign clip: for each picture of the new video the one that is shown in the other video at
that time, so the rate becomes the same; scaled until it covers the size of the new video, and cut to it around
the middle. The annotated clip itself is neither resampled nor scaled: frame ``i`` of it is frame ``offset +
i`` of the new video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.synthesis.plan import Insert, VideoPlan
from bridge_stg.errors import VideoError
from bridge_stg.records.record import TruthRecord
from bridge_stg.video.decode import FrameSource, open_source
from bridge_stg.video.resize import resize_frame
from bridge_stg.video.sampling import TIE
from bridge_stg.video.write import VideoWriter

UNREADABLE = "a video cannot be read"


def compose(plan: VideoPlan, places: Mapping[str, Path], path: Path) -> None:
    """Write the video of a plan as H.264; ``places`` says where the videos lie that records name.

    Raises:
        Unusable: a video cannot be read, or is another one than its record says. Nothing is left at ``path``.
    """
    width, height = plan.record.width, plan.record.height
    try:
        base = _open(plan.record, places)
        if (base.info.width, base.info.height) != (
            width,
            height,
        ) or base.info.frames != plan.record.frame_count:
            found = f"{base.info.width}x{base.info.height}, {base.info.frames} frames"
            raise Unusable("the video is another one than its record says", f"{plan.record.video}: {found}")

        parts = [_frames(base, list(range(*plan.record.clip)))]
        if plan.before is not None:
            parts.insert(0, _converted(plan.before, plan, places))
        if plan.after is not None:
            parts.append(_converted(plan.after, plan, places))

        with VideoWriter(path, width, height, plan.fps, reproducible=True) as writer:
            for pixels in chain.from_iterable(parts):
                writer.write(pixels)
    except VideoError as problem:
        detail = str(problem)
        for name, place in places.items():
            # What is written about the data must not depend on where it lies.
            detail = detail.replace(str(place), name)
        raise Unusable(UNREADABLE, detail) from problem


def _open(record: TruthRecord, places: Mapping[str, Path]) -> FrameSource:
    times = None
    if record.media == "frames":
        times = record.clock.times.tolist()
    return open_source(places[record.video], times)


def _frames(source: FrameSource, wanted: list[int]) -> Iterator[NDArray[np.uint8]]:
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


def _converted(insert: Insert, plan: VideoPlan, places: Mapping[str, Path]) -> Iterator[NDArray[np.uint8]]:
    """The foreign clip at the rate and in the size of the plan."""
    source = _open(insert.donor, places)
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
