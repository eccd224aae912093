"""VidSTG: sentences about relations in VidOR videos, with VidOR's boxes.

Frames count from 0. ``temporal_gt.end_fid`` is exclusive: it reaches ``frame_count`` in one row of six and
never exceeds it. ``used_segment.end_fid`` never does and acts as the last frame of the clip. The same sentence
comes back with another segment and another event, so a row is always asked about its own segment and never
merged with another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bridge_stg.curation.reading.annotated_boxes import clean_boxes, note_gaps
from bridge_stg.curation.reading.folder import Videos, read_json
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError
from bridge_stg.records.record import QueryType, TruthRecord
from bridge_stg.types import Box

SPLITS = ("train", "val", "test")
# (field of a row, name in the id, kind of sentence, published count)
_SENTENCES: tuple[tuple[str, str, QueryType], ...] = (
    ("captions", "caption", "declarative"),
    ("questions", "question", "interrogative"),
)


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per sentence of a split, rows of the same video together."""
    folder = request.folder
    name = f"{request.split}_annotations.json"
    places = ("VidSTG-Dataset/annotations", "annotations", "VidSTG/annotations", ".")
    path = folder.find(*(f"{place}/{name}" for place in places), what="VidSTG's sentences")
    where = folder.relative(path)
    rows = read_json(path, list)
    boxes = _vidor_files(request)
    videos = Videos(folder, "vidor/video", "video", "videos", check=request.check_videos)

    # Each file of VidOR is large and serves many rows: rows of one video go together, in the order of the file.
    by_video: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_video.setdefault(str(row.get("vid")) if isinstance(row, dict) else "", []).append(number)
    for video, numbers in by_video.items():
        loaded = _load(boxes.get(video), video)
        for number in numbers:
            row = Origin("vidstg", request.split, f"vidstg/{request.split}/{number}", f"{where}#{number}")
            yield from _sentences(row, rows[number], loaded, videos)


def _vidor_files(request: Request) -> dict[str, Path]:
    """Video id -> VidOR's JSON of it; all subsets are listed, because VidSTG's splits are not VidOR's."""
    wanted = ("vidor/annotation", "vidor", "annotation", "bbox_annos")
    found: dict[str, Path] = {}
    for name in wanted:
        for pattern in ("training/*/*.json", "validation/*/*.json", "*.json"):
            for path in sorted((request.folder.root / name).glob(pattern)):
                found.setdefault(path.stem, path)
        if found:
            return found
    request.folder.find(
        "vidor/annotation/training", "vidor/annotation/validation", "vidor/training", what="VidOR's boxes"
    )
    raise DataError(f"{request.folder.root}: VidOR's folders of boxes are empty; unpack its annotations there")


def _load(path: Path | None, video: str) -> dict[str, Any] | Unusable:
    if path is None:
        return Unusable("no VidOR boxes of this video", video)
    try:
        loaded: dict[str, Any] = read_json(path, dict)
    except DataError as problem:
        return Unusable("VidOR's file cannot be read", str(problem))
    return loaded


def _sentences(origin: Origin, row: Any, vidor: dict[str, Any] | Unusable, videos: Videos) -> Iterator[Outcome]:
    video = str(row.get("vid")) if isinstance(row, dict) else ""
    for field, short, qtype in _SENTENCES:
        items = row.get(field) if isinstance(row, dict) else None
        if not isinstance(items, list):
            reason = Unusable("malformed", f"{field!r} must be a list")
            yield Outcome(f"{origin.id}/{short}", origin.where, video, unusable=reason)
            continue

        for index, item in enumerate(items):
            place = f"{origin.where} {field}[{index}]"
            one = replace(origin, id=f"{origin.id}/{short}{index}", where=place)
            yield attempt(one, video, (qtype,), partial(_record, row, item, qtype, vidor, videos))


def _record(
    row: dict[str, Any],
    item: Any,
    qtype: QueryType,
    vidor: dict[str, Any] | Unusable,
    videos: Videos,
    origin: Origin,
    notes: list[str],
) -> TruthRecord:
    query, target = take(item, "description", str), take(item, "target_id", int)
    frame_count = take(row, "frame_count", int)
    segment, event = take(row, "used_segment", dict), take(row, "temporal_gt", dict)
    clip = (take(segment, "begin_fid", int), min(frame_count, take(segment, "end_fid", int) + 1))
    window = (take(event, "begin_fid", int), min(take(event, "end_fid", int), clip[1]))
    if not clip[0] <= window[0] < window[1]:
        raise Unusable("the event is not inside its segment", f"event {event}, segment {segment}")
    if isinstance(vidor, Unusable):
        raise vidor

    said = take(row, "width", int), take(row, "height", int)
    size = take(vidor, "width", int), take(vidor, "height", int)
    if size != said:
        notes.append(f"VidSTG says {said[0]}x{said[1]}, VidOR {size[0]}x{size[1]}; VidOR's size is kept")
    tube = clean_boxes(_tube(vidor, target, window), *size, notes)
    note_gaps(tube, window, notes)

    facts = VideoFacts(take(row, "fps", float), frame_count, *size)
    path = str(vidor.get("video_path") or f"{take(row, 'vid', str)}.mp4")
    categories = {thing.get("tid"): thing.get("category") for thing in row.get("subject/objects", [])}
    return origin.record(
        "stvg",
        videos.path(path),
        facts,
        query,
        qtype=qtype,
        clip=clip,
        window=window,
        boxes=tube,
        category=categories.get(target),
    )


def _tube(vidor: dict[str, Any], target: int, window: tuple[int, int]) -> Iterator[tuple[int, Box]]:
    """The target's boxes of the window; the list can be shorter than the video, a frame can lack the target.

    VidOR's corners are taken as plain corners, as every grounding data loader does; its own evaluator counts
    the last pixel in.
    """
    for frame, things in enumerate(take(vidor, "trajectories", list)[window[0] : window[1]], start=window[0]):
        for thing in things:
            if thing["tid"] == target:
                box = thing["bbox"]
                yield frame, (float(box["xmin"]), float(box["ymin"]), float(box["xmax"]), float(box["ymax"]))
                break
