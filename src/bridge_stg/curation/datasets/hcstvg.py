"""HC-STVG v1 and v2: one sentence about one person per 20 s clip.

``bbox`` holds one xywh box per frame of the event, ``st_frame`` is the first of these frames and counts from 1.
The boxes are the event: ``ed_time`` runs about ten frames past the last of them and is not used. ``img_num`` is
20 times the nominal rate; the files really run at 29.97 or the like, so rate and length are the video's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bridge_stg.curation.reading.boxes import clean_boxes, from_xywh
from bridge_stg.curation.reading.folder import Videos, read_json
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.records.record import TruthRecord

CLIP_SECONDS = 20
V1_SPLITS, V2_SPLITS = ("train", "test"), ("train", "val")
V2_HIDDEN = {"test": "its boxes are not public; papers report v2 on val"}


def read_v1(request: Request) -> Iterator[Outcome]:
    """One outcome per clip of version 1."""
    name = f"{request.split}.json"
    places = (name, f"anno_v1/{name}", f"annos/hcstvg_v1/{name}", f"data/anno_v1/{name}")
    return _read(request, "hcstvg-v1", places, ("video", "v1_video", "v1", "videos", "data/video"))


def read_v2(request: Request) -> Iterator[Outcome]:
    """One outcome per clip of version 2."""
    split = request.split
    names = (f"anno_v2/{split}_v2.json", f"{split}_v2.json", f"{split}v2.json")
    places = (*names, f"annos/hcstvg_v2/{split}.json", f"data/anno_v2/{split}_v2.json")
    return _read(request, "hcstvg-v2", places, ("video", "v2_video", "v2", "videos", "data/video"))


def _read(
    request: Request, source: str, places: tuple[str, ...], video_places: tuple[str, ...]
) -> Iterator[Outcome]:
    path = request.folder.find(*places, what="HC-STVG's annotations")
    where = request.folder.relative(path)
    clips = read_json(path, dict, unique=True)
    videos = Videos(request.folder, *video_places, check=request.check_videos)
    found: dict[str, str | Unusable] = {}
    for name in clips:
        try:
            found[name] = videos.path(name)
        except Unusable as problem:
            found[name] = problem
    facts = None
    if request.check_videos:
        facts = VideoFacts(request, (place for place in found.values() if isinstance(place, str)))
    for name, clip in clips.items():
        make = partial(_record, request, source, where, name, clip, found[name], facts)
        yield attempt(f"{source}/{request.split}/{name}", f"{where}#{name}", name, ("clips",), make)


def _record(
    request: Request,
    source: str,
    where: str,
    name: str,
    clip: Any,
    video: str | Unusable,
    facts: VideoFacts | None,
    notes: list[str],
) -> TruthRecord:
    if isinstance(video, Unusable):
        raise video
    # Version 2 names its fields otherwise; converted copies of it in circulation use the names of version 1.
    if "img_size" in clip:
        height, width = (int(side) for side in take(clip, "img_size", list))
    else:
        width, height = take(clip, "width", int), take(clip, "height", int)
    query = take(clip, "English" if "English" in clip else "caption", str)
    if take(clip, "st_time", float) > take(clip, "ed_time", float):
        raise Unusable("st_time is after ed_time", f"{clip['st_time']} > {clip['ed_time']}")
    frames = take(clip, "img_num", int)
    fps = frames / CLIP_SECONDS
    if facts is not None:
        info = facts.of(video)
        frames, fps = info.frames, float(info.fps)
        if (info.width, info.height) != (width, height):
            sizes = f"{width}x{height} and {info.width}x{info.height}"
            raise Unusable("annotation and video differ in size", sizes)
    start, boxes = take(clip, "st_frame", int) - 1, take(clip, "bbox", list)
    if start < 0:
        raise Unusable("st_frame counts from 1", f"got {start + 1}")
    end = min(start + len(boxes), frames)
    if end <= start:
        raise Unusable("the event lies behind the end of the video", f"frames {start}... of {frames}")
    if end < start + len(boxes):
        notes.append(f"{start + len(boxes) - end} box(es) behind the end of the video left out")
    tube = ((start + offset, from_xywh(box)) for offset, box in enumerate(boxes[: end - start]))
    return TruthRecord(
        id=f"{source}/{request.split}/{name}",
        task="stvg",
        video=video,
        fps=fps,
        frame_count=frames,
        clip=(0, frames),
        width=width,
        height=height,
        query=query,
        window=(start, end),
        boxes=clean_boxes(tube, width, height, notes),
        split=request.split,
        source=source,
        category="person",
        provenance=f"{where}#{name}",
    )
