"""Parquet mirrors of RefCOCO, RefCOCO+ and RefCOCOg with a train split, one row per reference.

Their ``bbox`` is x1, y1, x2, y2 already; the xywh box is in ``raw_anns``. Taking ``bbox`` for xywh is the known
mistake, so both are read and must agree. ``test`` is testA for the two sets that have a testB. Mirrors for
evaluation only, whose ``bbox`` is xywh and whose val mixes two different splits, are refused.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bridge_stg.curation.reading.annotated_boxes import from_xywh
from bridge_stg.curation.reading.folder import inside
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.parquet_rows import parquet_rows
from bridge_stg.curation.reading.pictures import Pictures, picture_record
from bridge_stg.curation.reading.request import Request
from bridge_stg.records.record import TruthRecord

_FILE_SPLITS = {"val": "validation", "testA": "test"}
_COLUMNS = ("ref_id", "sentences", "bbox", "raw_anns", "raw_image_info", "image_path")
BOX_SLACK = 0.51  # pixels by which the two boxes of a row may differ: one of them may be rounded


def files(request: Request) -> list[Path]:
    """The Parquet files of the split, by the naming of the hub."""
    split = _FILE_SPLITS.get(request.split, request.split)
    found = [
        *request.folder.root.glob(f"data/{split}-*.parquet"),
        *request.folder.root.glob(f"{split}-*.parquet"),
    ]
    return sorted(found)


def read(name: str, request: Request) -> Iterator[Outcome]:
    """One outcome per sentence of the rows of a split."""
    pictures = Pictures(request)
    number = 0
    for path in files(request):
        where = request.folder.relative(path)
        for row in parquet_rows(path, _COLUMNS, "this is no mirror with a train split, use the original files"):
            yield from _sentences(name, request, row, f"{where}#{number}", pictures)
            number += 1


def _sentences(name: str, request: Request, row: Any, where: str, pictures: Pictures) -> Iterator[Outcome]:
    for index, sentence in enumerate(row["sentences"] or []):
        origin = Origin(name, request.split, f"{name}/{request.split}/{row['ref_id']}-{index}", where)
        counted = ("sentences", "references") if index == 0 else ("sentences",)
        yield attempt(origin, str(row["image_path"]), counted, partial(_record, row, sentence, pictures))


def _record(
    row: dict[str, Any], sentence: Any, pictures: Pictures, origin: Origin, notes: list[str]
) -> TruthRecord:
    image, annotation = _parsed(row["raw_image_info"]), _parsed(row["raw_anns"])
    x1, y1, x2, y2 = (float(value) for value in take(row, "bbox", list)[:4])
    box = (x1, y1, x2, y2)
    original = from_xywh(take(annotation, "bbox", list))
    if max(abs(one - other) for one, other in zip(box, original, strict=True)) > BOX_SLACK:
        raise Unusable("the two boxes of the row disagree", f"{list(box)} and {list(original)}")

    file = pictures.path(inside(take(row, "image_path", str)).name)
    size = (take(image, "width", int), take(image, "height", int))
    return picture_record(origin, file, size, take(sentence, "sent", str), box, notes)


def _parsed(text: Any) -> Any:
    """An object that was stored as text: JSON, or the way Python prints it."""
    if not isinstance(text, str):
        return text
    parsers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)
    for parse in parsers:
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(text)
    raise Unusable("malformed", f"an object that is stored as text: {text[:60]!r}")
