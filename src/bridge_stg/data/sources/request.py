"""What a reader of a data set is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bridge_stg.data.sources.folder import DataFolder


def _quiet(text: str, done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Request:
    """One split of one data set.

    ``check_videos`` False builds without looking for videos, frames and pictures. ``frame_rate`` is for data
    whose frames come without a rate, ``one_based_boxes`` for data whose pixel coordinates count from 1.
    ``progress`` is told what is being done, how much of it is done, and how much there is.
    """

    folder: DataFolder
    split: str
    check_videos: bool = True
    frame_rate: float | None = None
    one_based_boxes: bool = False
    progress: Callable[[str, int, int], None] = _quiet
