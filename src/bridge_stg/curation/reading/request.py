"""What a reader of a data set is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bridge_stg.curation.reading.folder import DataFolder


def _quiet(text: str, done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Request:
    """One split of one data set.

    ``check_videos`` False builds without looking for videos, frames and pictures. ``frame_rate`` is for data
    whose frames come without a rate, ``one_based_boxes`` for data whose pixel coordinates count from 1,
    ``annotation_format`` for data that a user wrote in one of several (None: whichever files are there).
    ``progress`` is told what is being done, how much of it is done, and how much there is.
    """

    folder: DataFolder
    split: str
    check_videos: bool = True
    frame_rate: float | None = None
    one_based_boxes: bool = False
    annotation_format: str | None = None
    progress: Callable[[str, int, int], None] = _quiet
