"""The data sets that can be built, by the name the command line knows them by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from bridge_stg.curation.datasets import (
    charades_sta,
    clevrer,
    custom,
    got10k,
    hcstvg,
    nextqa,
    refcoco,
    revos,
    video_mme,
    vidstg,
)
from bridge_stg.curation.reading.outcome import Outcome
from bridge_stg.curation.reading.request import Request


@dataclass(frozen=True)
class DatasetReader:
    """How a data set is read.

    ``read`` gives one outcome per annotated item of a split, in an order that depends on the files alone.
    ``without_truth`` says of other splits why they cannot be built; ``unscored`` are those that can, to be
    answered and submitted, and are built only where they are asked for by name. ``needs_videos`` says what only
    the videos know, for data sets that cannot be built from annotations. ``formats`` are those of which a user
    has written one.
    """

    read: Callable[[Request], Iterator[Outcome]]
    splits: tuple[str, ...]
    without_truth: dict[str, str] = field(default_factory=dict)
    unscored: tuple[str, ...] = ()
    needs_videos: str = ""
    takes_frame_rate: bool = False
    takes_one_based_boxes: bool = False
    formats: tuple[str, ...] = ()


SOURCES: dict[str, DatasetReader] = {
    "vidstg": DatasetReader(vidstg.read, vidstg.SPLITS),
    "hcstvg-v1": DatasetReader(hcstvg.read_v1, hcstvg.V1_SPLITS),
    "hcstvg-v2": DatasetReader(hcstvg.read_v2, hcstvg.V2_SPLITS, hcstvg.V2_HIDDEN),
    "charades-sta": DatasetReader(
        charades_sta.read, charades_sta.SPLITS, needs_videos="how long and how fast its videos are"
    ),
    "got10k": DatasetReader(got10k.read, got10k.SPLITS, unscored=got10k.UNSCORED, takes_one_based_boxes=True),
    "refcoco": DatasetReader(partial(refcoco.read, "refcoco"), refcoco.UNC_SPLITS),
    "refcoco+": DatasetReader(partial(refcoco.read, "refcoco+"), refcoco.UNC_SPLITS),
    "refcocog": DatasetReader(partial(refcoco.read, "refcocog"), refcoco.UMD_SPLITS),
    "nextqa": DatasetReader(nextqa.read, nextqa.SPLITS, needs_videos="how fast its videos are"),
    "clevrer": DatasetReader(clevrer.read, clevrer.SPLITS, clevrer.HIDDEN),
    "video-mme": DatasetReader(
        video_mme.read, video_mme.SPLITS, needs_videos="how long and how fast its videos are"
    ),
    "revos": DatasetReader(revos.read, revos.SPLITS, takes_frame_rate=True),
    "custom": DatasetReader(
        custom.read,
        custom.SPLITS,
        takes_frame_rate=True,
        takes_one_based_boxes=True,
        formats=tuple(custom.FORMATS),
    ),
}
