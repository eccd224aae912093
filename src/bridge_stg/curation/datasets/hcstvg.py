"""HC-STVG v1 and v2: one sentence about one person per 20 s clip.

``bbox`` holds one xywh box per frame of the event, ``st_frame`` is the first of these frames and counts from 1.
The boxes are the event: ``ed_time`` runs about ten frames past the last of them and is not used. ``img_num`` is
20 times the nominal rate; the files really run at 29.97 or the like, so rate and length are the video's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bridge_stg.curation.reading.annotated_boxes import clean_boxes, from_xywh
from bridge_stg.curation.reading.folder import Videos, read_json
from bridge_stg.curation.reading.opened_videos import OpenedVideos
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
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
    opened = OpenedVideos(request, clips, videos.path)
    for name, clip in clips.items():
        origin = Origin(source, request.split, f"{source}/{request.split}/{name}", f"{where}#{name}")
        yield attempt(origin, name, ("clips",), partial(_record, request, name, clip, opened))


def _record(
    request: Request, name: str, clip: Any, opened: OpenedVideos, origin: Origin, notes: list[str]
) -> TruthRecord:
    video = opened.path(name)
    # Version 2 names its fields otherwise; converted copies of it in circulation use the names of version 1.
    query = take(clip, "English" if "English" in clip else "caption", str)
    if take(clip, "st_time", float) > take(clip, "ed_time", float):
        raise Unusable("st_time is after ed_time", f"{clip['st_time']} > {clip['ed_time']}")
    facts = _facts_said(clip)
    if request.check_videos:
        size = f"{facts.width}x{facts.height}"
        facts = opened.facts(name)
        if size != f"{facts.width}x{facts.height}":
            raise Unusable("annotation and video differ in size", f"{size} and {facts.width}x{facts.height}")

    start, boxes = take(clip, "st_frame", int) - 1, take(clip, "bbox", list)
    if start < 0:
        raise Unusable("st_frame counts from 1", f"got {start + 1}")
    end = min(start + len(boxes), facts.frame_count)
    if end <= start:
        raise Unusable(
            "the event lies behind the end of the video", f"frames {start}... of {facts.frame_count}"
        )
    if end < start + len(boxes):
        notes.append(f"{start + len(boxes) - end} box(es) behind the end of the video left out")

    tube = clean_boxes(
        ((start + offset, from_xywh(box)) for offset, box in enumerate(boxes[: end - start])),
        facts.width,
        facts.height,
        notes,
    )
    return origin.record("stvg", video, facts, query, window=(start, end), boxes=tube, category="person")


def _facts_said(clip: Any) -> VideoFacts:
    """What the annotation says; the rate is nominal."""
    if "img_size" in clip:
        height, width = (int(side) for side in take(clip, "img_size", list))
    else:
        width, height = take(clip, "width", int), take(clip, "height", int)
    frames = take(clip, "img_num", int)
    return VideoFacts(frames / CLIP_SECONDS, frames, width, height)
