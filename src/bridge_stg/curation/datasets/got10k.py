"""GOT-10k: one tracked object per sequence of pictures at 10 per second.

``groundtruth.txt`` has one xywh line per picture. The authors count pixels from 1, nearly every loader uses the
numbers as they are, and so does this one unless ``one_based_boxes`` is asked for. A picture in which the object
is absent, or not visible at all (cover 0), has no box: neither training nor the published score uses it.

Of a test sequence only the first box is public, and nothing says what it shows: its record holds that box, to
be tracked and submitted to the official server, and cannot be scored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bridge_stg.curation.reading.annotated_boxes import clean_boxes, from_xywh
from bridge_stg.curation.reading.folder import inside, read_lines
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt
from bridge_stg.curation.reading.pictures import picture_size
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError, InputError
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Box

SPLITS = ("train", "val")
# Not among the splits that are built unless they are asked for.
UNSCORED = ("test",)
UNNAMED = "the object"
RATE = 10.0
# Their boxes lie outside the pictures; trackers leave them out of training.
_WRONG = {f"GOT-10k_Train_{number:06d}" for number in (8628, 8630, 9058, 9059)}
_RESOLUTION = re.compile(r"\((\d+), *(\d+)\)")
_RATE = re.compile(r"(\d+(?:\.\d+)?) *Hz")


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per sequence of ``list.txt``."""
    split = request.split
    if split in UNSCORED and not request.check_videos:
        raise InputError(
            f"only its pictures say how long a sequence of got10k {split} is; build it with them, without "
            "--annotations-only"
        )
    path = request.folder.find(f"{split}/list.txt", f"GOT-10k/{split}/list.txt", what="GOT-10k's sequences")
    names = [name.strip() for name in read_lines(path) if name.strip()]
    for number, name in enumerate(names, start=1):
        request.progress(f"reading {split}", number, len(names))
        where = f"{request.folder.relative(path)}:{number}"
        origin = Origin("got10k", split, f"got10k/{split}/{name}", where)
        make = _to_submit if split in UNSCORED else _record
        yield attempt(origin, name, ("sequences",), partial(make, request, path.parent, name))


def _record(request: Request, place: Path, name: str, origin: Origin, notes: list[str]) -> TruthRecord:
    if name in _WRONG:
        raise Unusable("the boxes of this sequence are known to be wrong", name, by_design=True)
    folder = _sequence(place, name)

    # Every file of a sequence has a line per picture.
    lines = _lines(folder, "groundtruth.txt")
    absence, cover, cut = (_labels(folder, f"{label}.label") for label in ("absence", "cover", "cut_by_image"))
    counts = {len(lines), len(absence), len(cover), len(cut)}
    if request.check_videos:
        counts.add(len(_pictures(folder)))
    if len(counts) > 1:
        raise Unusable("pictures, boxes and labels differ in number", f"{name}: {sorted(counts)}")

    about = _about(folder)
    size, rate = _RESOLUTION.search(about.get("resolution", "")), _RATE.match(about.get("anno_fps", ""))
    if size is None or rate is None or not about.get("object_class"):
        raise Unusable("meta_info.ini lacks resolution, anno_fps or object_class", name)
    facts = VideoFacts(float(rate[1]), len(lines), int(size[1]), int(size[2]))

    boxes = [_box(line, request.one_based_boxes) for line in lines]
    seen = [frame for frame in range(len(boxes)) if not absence[frame] and cover[frame] > 0]
    if len(seen) < len(boxes):
        notes.append(f"{len(boxes) - len(seen)} of {len(boxes)} pictures do not show the object")
    tube = clean_boxes(((frame, boxes[frame]) for frame in seen), facts.width, facts.height, notes)
    if 0 not in tube:
        raise Unusable("no box in the first picture, where tracking starts", name)

    video, category = request.folder.relative(folder), about["object_class"]
    return origin.record(
        "vot",
        video,
        facts,
        category,
        media="frames",
        boxes=tube,
        kind=about.get("motion_class"),
        category=category,
        provenance=f"{video}/groundtruth.txt",
    )


def _to_submit(request: Request, place: Path, name: str, origin: Origin, notes: list[str]) -> TruthRecord:
    """A test sequence: its pictures and its first box."""
    folder = _sequence(place, name)
    pictures, lines = _pictures(folder), _lines(folder, "groundtruth.txt")
    if not pictures or not lines:
        raise Unusable("no pictures, or no first box", name)
    facts = VideoFacts(RATE, len(pictures), *picture_size(pictures[0]))
    tube = clean_boxes([(0, _box(lines[0], request.one_based_boxes))], facts.width, facts.height, notes)
    if not tube:
        raise Unusable("no box in the first picture, where tracking starts", name)

    video = request.folder.relative(folder)
    boxes = f"{video}/groundtruth.txt"
    return origin.record("vot", video, facts, UNNAMED, media="frames", boxes=tube, provenance=boxes)


def _sequence(place: Path, name: str) -> Path:
    folder = place / inside(name)
    if not folder.is_dir():
        raise Unusable("no folder of the sequence", name)
    return folder


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix == ".jpg" and not file.name.startswith("."))


def _lines(folder: Path, name: str) -> list[str]:
    try:
        return [line for line in read_lines(folder / name) if line.strip()]
    except DataError as problem:
        raise Unusable("a file of the sequence cannot be read", f"{folder.name}/{name}") from problem


def _labels(folder: Path, name: str) -> list[int]:
    return [int(line) for line in _lines(folder, name)]


def _about(folder: Path) -> dict[str, str]:
    """``key: value`` lines of meta_info.ini; a value may hold ": " itself, as addresses do."""
    pairs = (line.split(": ", 1) for line in _lines(folder, "meta_info.ini") if ": " in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _box(line: str, one_based: bool) -> Box:
    left, top, width, height = (float(value) for value in line.split(","))
    offset = 1.0 if one_based else 0.0
    return from_xywh((left - offset, top - offset, width, height))
