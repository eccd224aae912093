"""ReVOS: sentences about masks in videos of six collections, as windows and boxes.

Only sentences about exactly one object become records: others are about several objects at once or about
nothing. The masks of TAO are known to belong to other frames, those of UVO to drift; both are left out. There
is no frame rate anywhere and the frames are sparse in steps that differ by collection, so the position in the
list of frames is the clock: 2 per second unless told otherwise, which is what the model samples at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bridge_stg.curation.reading.boxes import clean_boxes
from bridge_stg.curation.reading.folder import inside, read_json
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.run_length_masks import mask_box
from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Box

SPLITS = ("train", "valid")
FRAME_RATE = 2.0
KINDS = ("referring", "reasoning", "absent")
_MISALIGNED = ("TAO", "UVO")


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per sentence."""
    folder = request.folder
    # The underscore before the dot is part of the name; the file with "sub" in it is a part of this one.
    name = f"meta_expressions_{request.split}_.json"
    path = folder.find(name, f"ReVOS/{name}", what="ReVOS' sentences")
    where = folder.relative(path)
    videos = take_videos(read_json(path, dict), str(path))
    masks = read_json(path.parent / "mask_dict.json", dict)
    place = folder.relative(path.parent / "JPEGImages")
    if request.check_videos and not (folder.root / place).is_dir():
        raise DataError(
            f"{folder.root}: no pictures in it; expected the folder {place}; to build without them give "
            "--annotations-only"
        )
    for number, (video, about) in enumerate(videos.items(), start=1):
        request.progress(f"reading {request.split}", number, len(videos))
        sentences = about.get("expressions") if isinstance(about, dict) else None
        if not isinstance(sentences, dict):
            bad = Unusable("malformed", "a video needs an object of expressions")
            yield Outcome(f"revos/{request.split}/{video}", f"{where}#{video}", video, unusable=bad)
            continue
        frames = _frames(request, place, video, about)
        for key, sentence in sentences.items():
            identity = f"revos/{request.split}/{video}/{key}"
            make = partial(
                _record, request, identity, f"{where}#{video}", place, video, about, frames, sentence, masks
            )
            yield attempt(identity, f"{where}#{video}", video, ("sentences",), make)


def take_videos(meta: dict[str, Any], path: str) -> dict[str, Any]:
    if not isinstance(meta.get("videos"), dict):
        raise DataError(f"{path}: has no object of videos; download it again")
    return dict(meta["videos"])


def _frames(request: Request, place: str, video: str, about: Any) -> int | Unusable:
    """How many frames a video has, after a look at whether they are there."""
    try:
        names = sorted(take(about, "frames", list))
        if len(names) < 2:
            raise Unusable("fewer than two frames", f"{video}: {len(names)}")
        folder = request.folder.root / place / inside(video)
        if request.check_videos:
            # The record's clock is the order of the pictures: one more or less would shift the boxes.
            there = sorted(path.stem for path in folder.glob("*.jpg"))
            if there != names:
                raise Unusable(
                    "the pictures are not those of the list", f"{video}: {len(there)} of {len(names)}"
                )
    except Unusable as problem:
        return problem
    except TypeError as problem:
        return Unusable("malformed", str(problem))
    return len(names)


def _record(
    request: Request,
    identity: str,
    provenance: str,
    place: str,
    video: str,
    about: Any,
    frames: int | Unusable,
    sentence: Any,
    masks: dict[str, Any],
    notes: list[str],
) -> TruthRecord:
    collection = video.split("/")[0]
    if any(name in collection.upper() for name in _MISALIGNED):
        raise Unusable(f"the masks of {collection} do not fit its frames", video, by_design=True)
    objects = take(sentence, "anno_id", list)
    if len(objects) != 1:
        several = "about several objects" if objects else "about nothing that is there"
        raise Unusable(f"a sentence {several}", str(objects)[:60], by_design=True)
    if isinstance(frames, Unusable):
        raise frames
    tube_masks = masks.get(str(objects[0]))
    if not isinstance(tube_masks, list):
        raise Unusable("not in mask_dict.json", f"anno_id {objects[0]}")
    if len(tube_masks) != frames:
        raise Unusable("masks and frames differ in number", f"{len(tube_masks)} masks, {frames} frames")
    height, width = take(about, "height", int), take(about, "width", int)
    type_id = take(sentence, "type_id", int)
    if type_id not in range(len(KINDS)):
        raise Unusable("an unknown type of sentence", str(type_id))
    boxes = {
        frame: box for frame, mask in enumerate(tube_masks) if (box := _box(mask, height, width)) is not None
    }
    tube = clean_boxes(boxes.items(), width, height, notes)
    window = (min(tube), max(tube) + 1)
    if len(tube) < window[1] - window[0]:
        notes.append(f"{window[1] - window[0] - len(tube)} of {window[1] - window[0]} frames have no box")
    return TruthRecord(
        id=identity,
        task="stvg",
        video=f"{place}/{inside(video)}",
        media="frames",
        fps=request.frame_rate or FRAME_RATE,
        frame_count=frames,
        clip=(0, frames),
        width=width,
        height=height,
        query=take(sentence, "exp", str),
        window=window,
        boxes=tube,
        split=request.split,
        source="revos",
        kind=KINDS[type_id],
        provenance=provenance,
    )


def _box(mask: Any, height: int, width: int) -> Box | None:
    """None where the object is absent."""
    if mask is None:
        return None
    if take(mask, "size", list) != [height, width]:
        raise Unusable("mask and video differ in size", f"{mask['size']} and {[height, width]}")
    return mask_box(take(mask, "counts", str), height, width)
