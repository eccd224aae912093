"""Pictures of data sets: those of COCO and a record about one, and folders that are videos."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from bridge_stg.curation.reading.annotated_boxes import clean_boxes
from bridge_stg.curation.reading.outcome import Origin, Unusable
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Box

_PLACES = (
    "images/mscoco/images/train2014",
    "images/train2014",
    "coco/train2014",
    "train2014",
    "coco/images/train2014",
)


class Pictures:
    """The folder ``train2014``, listed once."""

    def __init__(self, request: Request) -> None:
        """Raises DataError when pictures are to be checked and there is no such folder."""
        self._names: set[str] | None = None
        found = request.folder.exists(*_PLACES)
        self._place = request.folder.relative(found) if found else _PLACES[0]
        if not request.check_videos:
            return

        if found is None:
            raise DataError(
                f"{request.folder.root}: no pictures in it; expected the folder {_PLACES[0]} or train2014; "
                "to build without pictures give --annotations-only"
            )

        self._names = set(os.listdir(found))

    def path(self, name: str) -> str:
        """A picture by its file name, relative to the root; Unusable when it is not there."""
        if self._names is not None and name not in self._names:
            raise Unusable("no picture", name)
        return f"{self._place}/{name}"


def picture_record(
    origin: Origin,
    file: str,
    size: tuple[int, int],
    query: str,
    box: Box,
    notes: list[str],
    category: str | None = None,
) -> TruthRecord:
    """A picture of ``size`` (width, height) is a clip of one frame."""
    boxes = clean_boxes([(0, box)], *size, notes)
    facts = VideoFacts(1.0, 1, *size)
    return origin.record("rec", file, facts, query, media="image", boxes=boxes, category=category)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height as the header says; Unusable when it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError) as problem:
        raise Unusable("a picture cannot be read", f"{path.name}: {type(problem).__name__}") from problem
