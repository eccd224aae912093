"""ReVOS: sentences about masks in videos of six collections, as windows and boxes.

Only sentences about exactly one object become records: others are about several objects at once or about
nothing. The masks of TAO are known to belong to other frames, those of UVO to drift; both are left out. There
is no frame rate anywhere and the frames are sparse in steps that differ by collection, so the position in the
list of frames is the clock: 2 per second unless told otherwise, which is what the model samples at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bridge_stg.curation.reading.annotated_boxes import clean_boxes, note_gaps
from bridge_stg.curation.reading.folder import inside, read_json
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.run_length_masks import mask_box
from bridge_stg.curation.reading.video_facts import VideoFacts
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
    meta = read_json(path, dict)
    if not isinstance(meta.get("videos"), dict):
        raise DataError(f"{path}: has no object of videos; download it again")

    masks = read_json(path.parent / "mask_dict.json", dict)
    place = folder.relative(path.parent / "JPEGImages")
    if request.check_videos and not (folder.root / place).is_dir():
        raise DataError(
            f"{folder.root}: no pictures in it; expected the folder {place}; to build without them give "
            "--annotations-only"
        )

    for number, (name, about) in enumerate(meta["videos"].items(), start=1):
        request.progress(f"reading {request.split}", number, len(meta["videos"]))
        row = Origin("revos", request.split, f"revos/{request.split}/{name}", f"{where}#{name}")
        sentences = about.get("expressions") if isinstance(about, dict) else None
        if not isinstance(sentences, dict):
            bad = Unusable("malformed", "a video needs an object of expressions")
            yield Outcome(row.id, row.where, name, unusable=bad)
            continue

        video = _video(request, place, name, about)
        for key, sentence in sentences.items():
            origin = replace(row, id=f"{row.id}/{key}")
            yield attempt(origin, name, ("sentences",), partial(_record, name, video, sentence, masks))


@dataclass(frozen=True)
class _Video:
    """A folder of pictures; ``path`` is relative to the root."""

    path: str
    facts: VideoFacts


def _video(request: Request, place: str, name: str, about: Any) -> _Video | Unusable:
    """What the list says of a video, after a look at whether its pictures are there."""
    try:
        frames = sorted(take(about, "frames", list))
        if len(frames) < 2:
            raise Unusable("fewer than two frames", f"{name}: {len(frames)}")

        path = f"{place}/{inside(name)}"
        if request.check_videos:
            # The record's clock is the order of the pictures: one more or less would shift the boxes.
            there = sorted(file.stem for file in (request.folder.root / path).glob("*.jpg"))
            if there != frames:
                said = f"{name}: {len(there)} of {len(frames)}"
                raise Unusable("the pictures are not those of the list", said)

        width, height = take(about, "width", int), take(about, "height", int)
        return _Video(path, VideoFacts(request.frame_rate or FRAME_RATE, len(frames), width, height))
    except Unusable as problem:
        return problem
    except TypeError as problem:
        return Unusable("malformed", str(problem))


def _record(
    name: str,
    video: _Video | Unusable,
    sentence: Any,
    masks: dict[str, Any],
    origin: Origin,
    notes: list[str],
) -> TruthRecord:
    collection = name.split("/")[0]
    if any(one in collection.upper() for one in _MISALIGNED):
        raise Unusable(f"the masks of {collection} do not fit its frames", name, by_design=True)
    objects = take(sentence, "anno_id", list)
    if len(objects) != 1:
        several = "about several objects" if objects else "about nothing that is there"
        raise Unusable(f"a sentence {several}", str(objects)[:60], by_design=True)
    if isinstance(video, Unusable):
        raise video

    facts = video.facts
    tube_masks = masks.get(str(objects[0]))
    if not isinstance(tube_masks, list):
        raise Unusable("not in mask_dict.json", f"anno_id {objects[0]}")
    if len(tube_masks) != facts.frame_count:
        said = f"{len(tube_masks)} masks, {facts.frame_count} frames"
        raise Unusable("masks and frames differ in number", said)
    type_id = take(sentence, "type_id", int)
    if type_id not in range(len(KINDS)):
        raise Unusable("an unknown type of sentence", str(type_id))

    boxes = ((frame, _box(mask, facts)) for frame, mask in enumerate(tube_masks))
    seen = [(frame, box) for frame, box in boxes if box is not None]
    tube = clean_boxes(seen, facts.width, facts.height, notes)
    window = (min(tube), max(tube) + 1)
    note_gaps(tube, window, notes)

    return origin.record(
        "stvg",
        video.path,
        facts,
        take(sentence, "exp", str),
        media="frames",
        window=window,
        boxes=tube,
        kind=KINDS[type_id],
    )


def _box(mask: Any, facts: VideoFacts) -> Box | None:
    """None where the object is absent."""
    if mask is None:
        return None
    if take(mask, "size", list) != [facts.height, facts.width]:
        raise Unusable("mask and video differ in size", f"{mask['size']} and {[facts.height, facts.width]}")
    return mask_box(take(mask, "counts", str), facts.height, facts.width)
