"""COCO's pictures: where they lie, which of them are there, and a record about one."""

from __future__ import annotations

import os

from bridge_stg.curation.reading.boxes import clean_boxes
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.reading.request import Request
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
    name: str,
    request: Request,
    identity: str,
    where: str,
    file: str,
    size: tuple[int, int],
    query: str,
    box: Box,
    category: str | None,
    notes: list[str],
) -> TruthRecord:
    """A picture is a clip of one frame."""
    return TruthRecord(
        id=identity,
        task="rec",
        video=file,
        media="image",
        fps=1.0,
        frame_count=1,
        clip=(0, 1),
        width=size[0],
        height=size[1],
        query=query,
        boxes=clean_boxes([(0, box)], *size, notes),
        split=request.split,
        source=name,
        category=category,
        provenance=where,
    )
