"""RefCOCO, RefCOCO+ (UNC splits) and RefCOCOg (UMD splits): sentences about objects of COCO pictures.

From the original files: ``refs(*).p`` has the sentences and no boxes, ``instances.json`` the boxes (xywh),
joined by ``ann_id``. The ``file_name`` in the pickle names files that do not exist; that of ``instances.json``
is right. All splits, also the test splits, use pictures of train2014, and val or test pictures of one of the
three sets can be train pictures of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from bridge_stg.curation.datasets import refcoco_parquet
from bridge_stg.curation.reading.annotated_boxes import from_xywh
from bridge_stg.curation.reading.folder import inside, read_json
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.pictures import Pictures, picture_record
from bridge_stg.curation.reading.plain_pickle import read_plain_pickle
from bridge_stg.curation.reading.request import Request
from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord

UNC_SPLITS, UMD_SPLITS = ("train", "val", "testA", "testB"), ("train", "val", "test")


def read(name: str, request: Request) -> Iterator[Outcome]:
    """One outcome per sentence, from the original files or, without those, from a Parquet mirror.

    Args:
        name: refcoco, refcoco+ or refcocog; also the folder of the original files.
        request: the split.
    """
    pickled = "refs(umd).p" if name == "refcocog" else "refs(unc).p"
    folder = request.folder
    if folder.exists(f"{name}/{pickled}", pickled) is None and refcoco_parquet.files(request):
        yield from refcoco_parquet.read(name, request)
        return

    path = folder.find(f"{name}/{pickled}", pickled, what=f"{name}'s sentences")
    refs = read_plain_pickle(path)
    # Some mirrors wrap the list.
    if isinstance(refs, dict):
        refs = refs.get("refs")
    if not isinstance(refs, list):
        raise DataError(f"{path}: holds no list of references; download it again")

    coco = read_json(path.parent / "instances.json", dict)
    tables = {key: _by_id(coco, key) for key in ("images", "annotations", "categories")}
    pictures = Pictures(request)
    where = folder.relative(path)
    splits = UMD_SPLITS if name == "refcocog" else UNC_SPLITS
    for number, ref in enumerate(refs):
        # A reference whose split does not exist is reported in every split rather than in none.
        split = ref.get("split") if isinstance(ref, dict) else None
        if split in splits and split != request.split:
            continue

        row = Origin(name, request.split, f"{name}/{request.split}/row{number}", f"{where}#{number}")
        yield from _sentences(row, ref, tables, pictures)


def _by_id(coco: dict[str, Any], key: str) -> dict[Any, Any]:
    entries = coco.get(key)
    if not isinstance(entries, list):
        raise DataError(f"instances.json has no list of {key}; download it again")
    return {
        entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), int)
    }


def _sentences(
    row: Origin, ref: Any, tables: dict[str, dict[Any, Any]], pictures: Pictures
) -> Iterator[Outcome]:
    if not isinstance(ref, dict) or "split" not in ref or not isinstance(ref.get("sentences"), list):
        bad = Unusable("malformed", "a reference needs a split and a list of sentences")
        yield Outcome(row.id, row.where, "", ("references",), unusable=bad)
        return

    for index, sentence in enumerate(ref["sentences"]):
        origin = replace(row, id=f"{row.source}/{row.split}/{ref.get('ref_id')}-{index}")
        counted = ("sentences", "references") if index == 0 else ("sentences",)
        make = partial(_record, ref, sentence, tables, pictures)
        yield attempt(origin, str(ref.get("image_id")), counted, make)


def _record(
    ref: dict[str, Any],
    sentence: Any,
    tables: dict[str, dict[Any, Any]],
    pictures: Pictures,
    origin: Origin,
    notes: list[str],
) -> TruthRecord:
    if ref["split"] != origin.split:
        raise Unusable("a split that does not exist", repr(ref["split"]))
    annotation = tables["annotations"].get(take(ref, "ann_id", int))
    image = tables["images"].get(take(ref, "image_id", int))
    if annotation is None or image is None:
        raise Unusable("not in instances.json", f"ann_id {ref['ann_id']}, image_id {ref['image_id']}")

    file = pictures.path(inside(take(image, "file_name", str)).name)
    size = (take(image, "width", int), take(image, "height", int))
    box = from_xywh(take(annotation, "bbox", list))
    category = tables["categories"].get(annotation.get("category_id"), {}).get("name")
    return picture_record(origin, file, size, take(sentence, "sent", str), box, notes, category)
