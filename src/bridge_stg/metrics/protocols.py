"""The STVG protocols: what each one counts for a query whose two windows and box overlaps are known.

All of them get the same ``TubePair``, made in ``bridge_stg.metrics.stvg``, where the text says what they share.
Here is only what differs: the frames that are counted, and what tIoU is made of. ``stcat`` and ``paper`` count
the same and differ in the comparison of vIoU@R.

A closed interval of frames ``[first, last]`` is the half-open ``[first, last + 1)``: the same frames, the same
length. So no protocol needs a ``+ 1`` of its own here; the published evaluators that differ in it differ in
what they read from their files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.clock import VideoClock
from bridge_stg.types.times import interval_iou

SAMPLED_FPS = 5.0
MAX_SAMPLED = 200
# Against the rounding of seconds: a frame at 0.2 s is not before it.
FIFTH_SLACK = 1e-6


@dataclass(frozen=True)
class TubePair:
    """A true and a predicted tube on source frames.

    ``clip``, ``true``, ``predicted`` are half-open; ``predicted`` may be empty or leave the video. Shapes:
    ``frames`` (G,) the frames of the true window that have a true box, increasing; ``overlaps`` (G,) the IoU of
    the predicted box there, None when nothing but a window was predicted.
    """

    clip: tuple[int, int]
    clock: VideoClock
    true: tuple[int, int]
    predicted: tuple[int, int]
    frames: NDArray[np.int64]
    overlaps: NDArray[np.float64] | None

    @property
    def hull(self) -> tuple[int, int]:
        """From the first frame of either window to the last of either."""
        return min(self.true[0], self.predicted[0]), max(self.true[1], self.predicted[1])

    @property
    def shared(self) -> NDArray[np.bool_]:
        """(G,) which of ``frames`` the predicted window holds."""
        inside: NDArray[np.bool_] = (self.frames >= self.predicted[0]) & (self.frames < self.predicted[1])
        return inside


@dataclass(frozen=True)
class QueryOverlap:
    """The overlaps of one query, each in [0, 1]; ``failed`` when the prediction named no usable window."""

    tiou: float
    viou: float
    gt_viou: float
    failed: bool = False


def stcat(pair: TubePair) -> QueryOverlap:
    """Every source frame counts: the evaluator that STCAT wrote and CG-STVG and TA-STVG use; also Eq. 10-11.

    - tIoU = frames in both windows / frames in either.
    - vIoU = sum of box IoU over the shared frames / frames in either window.
    - gt_vIoU = mean box IoU over the true frames.

    Where it must differ from the published evaluator:

    - There, a prediction is a pair of sampled frame indices (merged from two passes over even and odd frames,
      at least two frames long, never outside the clip). Here it is seconds, of any length.
    - There, boxes exist for every sampled frame of the clip and interpolate between neighbours. Here they exist
      inside the predicted window, so only gt_vIoU meets frames beyond the predicted boxes.
    - There, HC-STVG stores the last true frame as included and scores the window half-open, which drops that
      frame, and VidSTG windows ending at the last frame of the video lose it. Here a true window is exact.
    - There, a missing prediction raises for one data set and is skipped for another. Here it counts as 0.

    A perfect prediction scores 100 in all of them if every true frame has a box.
    """
    tiou = interval_iou(pair.true, pair.predicted)
    if pair.overlaps is None:
        return QueryOverlap(tiou, 0.0, 0.0)
    low, high = pair.hull
    # For windows apart from each other the hull spans the gap too; no frame is shared then and the sum is 0.
    return QueryOverlap(
        tiou, float(pair.overlaps[pair.shared].sum() / (high - low)), float(pair.overlaps.mean())
    )


def tubedetr(pair: TubePair) -> QueryOverlap:
    """Boxes count on sampled frames only: 5 per second of the clip, at most 200 (``sampled_frames``).

    - tIoU as in ``stcat``: lengths in source frames, not in sampled ones.
    - vIoU = sum of box IoU over the sampled frames in both windows / sampled frames from the first frame of
      either window to the last of either (at least 1). Frames outside the clip are never sampled: time claimed
      there lowers tIoU and not vIoU.
    - gt_vIoU = mean box IoU over the sampled true frames, 0 if there is none.

    Where it must differ from the published evaluator:

    - There, a prediction is two sampled frames, the second later than the first; here it is seconds, rounded to
      source frames as in every protocol, and may be shorter.
    - There, a box is required on every sampled frame of the true window; here a missing one is 0, and a true
      frame without a true box adds 0 and stays in the denominator of vIoU.
    - There, HC-STVG clips are taken to last 20 seconds to find their rate; here the rate of the record counts.
    - There, a missing prediction raises. Here it counts as 0.

    A perfect prediction scores 100 if a sampled frame falls into the true window and every such frame has a
    true box. If none falls into it, vIoU and gt_vIoU are 0 for every prediction, and tIoU is still 100.
    """
    tiou = interval_iou(pair.true, pair.predicted)
    if pair.overlaps is None:
        return QueryOverlap(tiou, 0.0, 0.0)
    samples = sampled_frames(pair.clip, pair.clock)
    low, high = pair.hull
    either = int(((samples >= low) & (samples < high)).sum())
    counted = np.isin(pair.frames, samples)
    viou = float(pair.overlaps[counted & pair.shared].sum() / max(either, 1))
    return QueryOverlap(tiou, viou, float(pair.overlaps[counted].mean()) if counted.any() else 0.0)


def sampled_frames(clip: tuple[int, int], clock: VideoClock) -> NDArray[np.int64]:
    """The source frames TubeDETR looks at, increasing: a frame is taken when the count of fifths rises.

    The first frame of the clip is always taken and its last frame never (unless it is the only one), because
    the published loop runs up to the index of the last frame. Of more than 200, every (n / 200)-th is kept.

    >>> sampled_frames((0, 30), VideoClock(30.0, 30)).tolist()
    [0, 6, 12, 18, 24]
    """
    frames = np.arange(clip[0], max(clip[1] - 1, clip[0] + 1), dtype=np.int64)
    if clock.frame_times is None:
        fifths = np.floor(frames * (SAMPLED_FPS / float(clock.rate)))  # to the bit as the published loop
    else:
        fifths = np.floor(clock.seconds(frames) * SAMPLED_FPS + FIFTH_SLACK)
    rises = np.append(True, fifths[1:] > fifths[:-1])
    taken: NDArray[np.int64] = frames[rises]
    if len(taken) > MAX_SAMPLED:
        taken = taken[np.arange(MAX_SAMPLED) * len(taken) // MAX_SAMPLED]
    return taken


def hcstvg(pair: TubePair) -> QueryOverlap:
    """Closed intervals, and a tIoU that counts boxes: the evaluator published with HC-STVG.

    Let *all* be the frames from the first of either window to the last of either, both included.

    - tIoU = frames on which both tubes have a box / all. So a window without boxes has tIoU 0, and true frames
      without a true box lower it.
    - vIoU = sum of box IoU over those frames / all.
    - gt_vIoU as in ``stcat``; the published evaluator has none.

    Where it must differ from the published evaluator:

    - There, a predicted tube is one box per frame, listed frame by frame. Here the predicted boxes are
      interpolated, so a prediction with any box has one on every frame of its window.
    - There, frames count from 1. Here they count from 0 in both files, which changes no difference.

    A perfect prediction scores 100 if every true frame has a box; otherwise tIoU and vIoU are both the share of
    true frames that have one.
    """
    if pair.overlaps is None:
        return QueryOverlap(0.0, 0.0, 0.0)
    low, high = pair.hull
    common = pair.shared
    return QueryOverlap(
        float(common.sum() / (high - low)),
        float(pair.overlaps[common].sum() / (high - low)),
        float(pair.overlaps.mean()),
    )
