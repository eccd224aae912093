"""A user's own tubes: JSON Lines, CSV, or the files of an annotation tool, beside the videos they are about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from bridge_stg.curation.annotations import cvat, labelstudio, mot, rows
from bridge_stg.curation.annotations.drawn_tubes import Drawing, Item, fill, on_source_frames
from bridge_stg.curation.reading.annotated_boxes import clean_boxes
from bridge_stg.curation.reading.folder import Videos, inside
from bridge_stg.curation.reading.opened_videos import OpenedVideos, read_facts
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt
from bridge_stg.curation.reading.pictures import picture_size
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError
from bridge_stg.records.record import Media, QueryType, TruthRecord
from bridge_stg.types import Box, TimeSpan
from bridge_stg.video.images import picture_files
from bridge_stg.video.picture_times import TIMES_FILE

SPLITS = ("all",)
# Which files of a folder are annotations, for each name of --format.
FORMATS = {
    "jsonl": "*.jsonl",
    "csv": "*.csv",
    "cvat": "*.xml",
    "mot": "gt/gt.txt",
    "labelstudio": "*.json",
}
# Nine hours at 30 per second: a tube that stays to the end has a box for each of them.
MAX_FRAMES = 1_000_000
# By how much the length that a tool counted may differ from that of the video.
SECONDS_SLACK = 0.5


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per tube, in the order of the files' names and of their content."""
    name, files = _files(request)
    reader = _reader(name, request)
    items: list[tuple[str, Item]] = []
    for number, path in enumerate(files, start=1):
        request.progress("reading", number, len(files))
        where = request.folder.relative(path)
        items += [(where, _with_media(request, item)) for item in reader(path, where)]

    videos = Videos(request.folder, ".", check=request.check_videos)
    opened = OpenedVideos(request, _names(items, "video"), partial(_locate_video, videos))
    folders = OpenedVideos(
        replace(request, check_videos=False), _names(items, "frames"), partial(_locate_pictures, request)
    )
    for where, item in items:
        yield _outcome(request, opened if item.media == "video" else folders, where, item)


def _with_media(request: Request, item: Item) -> Item:
    """A name of a folder with pictures means these pictures, in whatever format it stands."""
    folder = request.folder.root / item.video
    # os.path, for a Path raises where a name is none.
    if item.media == "video" and request.check_videos and os.path.isdir(folder) and picture_files(folder):
        return replace(item, media="frames")
    return item


def _names(items: list[tuple[str, Item]], media: Media) -> Iterator[str]:
    return (item.video for _, item in items if item.media == media)


def _locate_video(videos: Videos, name: str) -> str:
    try:
        return videos.path(name)
    except Unusable:
        original = labelstudio.name_before_upload(name)
        if original is None:
            raise
        return videos.path(original)


def _locate_pictures(request: Request, name: str) -> str:
    path = inside(name).as_posix()
    if request.check_videos and not (request.folder.root / path).is_dir():
        raise Unusable("no folder of pictures", path)
    return path


def _files(request: Request) -> tuple[str, list[Path]]:
    """The format and its files; a folder with files of several formats needs to be told which is meant."""
    root, asked = request.folder.root, request.annotation_format
    found = {
        name: sorted(path for path in root.rglob(pattern) if path.is_file())
        for name, pattern in FORMATS.items()
        if asked in (None, name)
    }
    there = {name: files for name, files in found.items() if files}

    if not there:
        wanted = f"{FORMATS[asked]} for --format {asked}" if asked else ", ".join(FORMATS.values())
        raise DataError(f"{root}: no annotations in it; expected {wanted}{request.folder.advice()}")
    if len(there) > 1:
        shown = " and ".join(f"{name} ({files[0].name})" for name, files in there.items())
        raise DataError(f"{root}: holds {shown} files; say with --format which are the annotations")
    return next(iter(there.items()))


def _reader(name: str, request: Request) -> Callable[[Path, str], Iterator[Item]]:
    if name == "mot":
        return partial(mot.read, one_based_boxes=request.one_based_boxes)
    return {
        "jsonl": rows.read_json_lines,
        "csv": rows.read_csv,
        "cvat": cvat.read,
        "labelstudio": labelstudio.read,
    }[name]


def _outcome(request: Request, opened: OpenedVideos, where: str, item: Item) -> Outcome:
    origin = Origin("custom", None, f"custom/{where}/{item.name}", item.where)
    return attempt(origin, item.video, ("tubes",), partial(_record, request, opened, item))


def _record(
    request: Request, opened: OpenedVideos, item: Item, origin: Origin, notes: list[str]
) -> TruthRecord:
    path = opened.path(item.video)
    drawing = item.read()
    facts = _facts(request, opened, item, drawing, notes)
    if not drawing.query.strip():
        raise Unusable("no query")
    if drawing.qtype not in get_args(QueryType):
        raise Unusable("an unknown qtype", repr(drawing.qtype))
    if facts.frame_count > MAX_FRAMES:
        raise Unusable(f"more than {MAX_FRAMES:,} frames", str(facts.frame_count))

    boxes = _boxes(drawing, facts, notes)
    window = _window(drawing, facts, sorted(boxes), notes)
    return origin.record(
        "stvg" if boxes else "vtg",
        path,
        facts,
        drawing.query.strip(),
        id=drawing.id or origin.id,
        media=item.media,
        qtype=drawing.qtype,
        window=window,
        seconds=drawing.seconds,
        boxes={frame: box for frame, box in boxes.items() if window[0] <= frame < window[1]},
        split=drawing.split,
    )


def _facts(
    request: Request, opened: OpenedVideos, item: Item, drawing: Drawing, notes: list[str]
) -> VideoFacts:
    """Rate, length and size: those of the video where it can be asked.

    Raises:
        Unusable: neither video nor file knows, or they speak of videos of different size.
    """
    if request.check_videos and item.media == "video":
        facts = opened.facts(item.video)
        width = facts.width if drawing.width is None else drawing.width
        height = facts.height if drawing.height is None else drawing.height
        if (width, height) != (facts.width, facts.height):
            said = f"{width}x{height}, the video has {facts.width}x{facts.height}"
            raise Unusable("annotated on frames of another size", said)
        _note_length(drawing, facts, notes)
        return facts

    if request.check_videos:
        return _facts_of_pictures(request, opened.path(item.video), drawing)

    frame_count = drawing.frame_count if drawing.frame_count is not None else drawing.end
    fps = drawing.fps if drawing.fps is not None else request.frame_rate
    return _complete(fps, frame_count, (drawing.width, drawing.height))


def _facts_of_pictures(request: Request, path: str, drawing: Drawing) -> VideoFacts:
    """Number and size are those of the pictures; the rate is from the file, ``--fps``, or their times."""
    folder = request.folder.root / path
    pictures = picture_files(folder)
    # A tool that counts at its own rate knows neither rate nor number.
    fps, said = (None, None) if drawing.timed else (drawing.fps, drawing.frame_count)
    if said not in (None, len(pictures)):
        raise Unusable("pictures and seqLength differ in number", f"{len(pictures)} and {said}")

    fps = fps if fps is not None else request.frame_rate
    if fps is None and (folder / TIMES_FILE).is_file():
        facts = read_facts(folder)
        if isinstance(facts, str):
            raise Unusable("the video cannot be opened", facts)
        return facts

    size = drawing.width, drawing.height
    if None in size and pictures:
        size = picture_size(pictures[0])
    return _complete(fps, len(pictures), size)


def _complete(fps: float | None, frame_count: int | None, size: tuple[int | None, int | None]) -> VideoFacts:
    width, height = size
    if fps is None or frame_count is None or width is None or height is None:
        known = {"frame rate": fps, "length": frame_count, "width": width, "height": height}
        what = next(name for name, value in known.items() if value is None)
        raise Unusable(f"the file does not say the {what}", "build with the videos in place, or give --fps")
    return VideoFacts(fps, frame_count, width, height)


def _note_length(drawing: Drawing, facts: VideoFacts, notes: list[str]) -> None:
    """Note a length that is not the video's: the boxes may be of another cut of it."""
    if drawing.end is not None and drawing.end > facts.frame_count:
        notes.append(f"the file speaks of {drawing.end} frames, the video has {facts.frame_count}")
    if drawing.frame_count is None:
        return

    if not drawing.timed:
        if drawing.frame_count != facts.frame_count:
            notes.append(f"the file speaks of {drawing.frame_count} frames, the video has {facts.frame_count}")
    elif drawing.fps is not None:
        seconds = drawing.frame_count / drawing.fps
        if abs(seconds - facts.seconds) > SECONDS_SLACK:
            notes.append(f"the file speaks of {seconds:.2f} s, the video has {facts.seconds:.2f} s")


def _boxes(drawing: Drawing, facts: VideoFacts, notes: list[str]) -> dict[int, Box]:
    """A box in pixels for each frame in which the object is seen; none if none was drawn.

    Raises:
        Unusable: the drawn boxes do not fit the video, or none of them can be used.
    """
    # Most likely the frames are counted from 1, or the boxes belong to another cut of the video.
    late = "a box after the end of the video"
    drawn = [key for key in drawing.keys if key.box is not None]
    if drawing.timed:
        last_second = max((key.time for key in drawn if key.time is not None), default=0.0)
        if last_second > facts.seconds + SECONDS_SLACK:
            raise Unusable(late, f"{last_second:.2f} s of {facts.seconds:.2f} s")
    elif (last := max((key.frame for key in drawn), default=-1)) >= facts.frame_count:
        raise Unusable(late, f"frame {last} of {facts.frame_count} (counted from 0)")

    # A tool that counts at its own rate moves a box steadily in seconds, others from frame to frame.
    keys = on_source_frames(drawing.keys, lambda time: int(facts.clock.nearest(time)))
    axis = facts.clock.steady if drawing.timed else None
    end = facts.frame_count if drawing.end is None else min(drawing.end, facts.frame_count)
    seen = {frame: box for frame, box in fill(keys, end, axis).items() if frame < facts.frame_count}
    if drawing.percent:
        across, down = facts.width / 100, facts.height / 100
        seen = {
            frame: (x1 * across, y1 * down, x2 * across, y2 * down) for frame, (x1, y1, x2, y2) in seen.items()
        }
    return clean_boxes(seen.items(), facts.width, facts.height, notes) if seen else {}


def _window(drawing: Drawing, facts: VideoFacts, boxes: list[int], notes: list[str]) -> tuple[int, int]:
    """The window that the file gives in frames or seconds; without one, from the first box to the last."""
    if drawing.window is not None and drawing.seconds is not None:
        raise Unusable("window and seconds", "give frames (window) or seconds (start, end), not both")

    if drawing.window is not None:
        window = drawing.window
    elif drawing.seconds is not None:
        window = _frames_of(drawing.seconds, facts, notes)
    elif boxes:
        window = (boxes[0], boxes[-1] + 1)
    else:
        raise Unusable("neither a window nor boxes")

    outside = sum(not window[0] <= frame < window[1] for frame in boxes)
    if outside:
        notes.append(f"{outside} box(es) outside the window left out")
    if boxes and outside == len(boxes):
        raise Unusable("all boxes lie outside the window", f"window {list(window)}")
    return window


def _frames_of(seconds: tuple[float, float], facts: VideoFacts, notes: list[str]) -> tuple[int, int]:
    """A window in seconds as source frames, at least one of them."""
    start, end = seconds
    if not 0 <= start < end:
        raise Unusable("a window that ends before it starts", f"{start} to {end} s")
    first, after = facts.clock.frames_in(TimeSpan(start, end))
    if first >= facts.frame_count:
        raise Unusable("a window after the end of the video", f"{start} to {end} s")
    if after > facts.frame_count:
        notes.append(f"the window ends {after - facts.frame_count} frame(s) after the video and was cut")
    return min(first, facts.frame_count - 1), max(min(after, facts.frame_count), first + 1)
