"""A user's own tubes: JSON Lines, CSV, or the files of an annotation tool, beside the videos they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from bridge_stg.curation.annotations import cvat, labelstudio, mot, rows
from bridge_stg.curation.annotations.tubes import Drawing, Item, fill
from bridge_stg.curation.reading.boxes import clean_boxes
from bridge_stg.curation.reading.folder import Videos, inside
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError
from bridge_stg.geometry.spans import span_to_frames
from bridge_stg.records.record import QueryType, TruthRecord
from bridge_stg.types import TimeSpan
from bridge_stg.video.images import IMAGE_SUFFIXES

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


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per tube, in the order of the files' names and of their content."""
    name, files = _files(request)
    reader = _reader(name, request)
    items: list[tuple[str, Item]] = []
    for number, path in enumerate(files, start=1):
        request.progress("reading", number, len(files))
        where = request.folder.relative(path)
        items += [(where, item) for item in reader(path, where)]
    videos = Videos(request.folder, ".", check=request.check_videos)
    paths = [_path(request, videos, item) for _, item in items]
    places = zip(paths, items, strict=True)
    opened = {place for place, (_, item) in places if isinstance(place, str) and _is_file(item)}
    facts = VideoFacts(request, opened if request.check_videos else ())
    for place, (where, item) in zip(paths, items, strict=True):
        yield _outcome(request, facts, place, where, item)


def _is_file(item: Item) -> bool:
    return item.media == "video"


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


def _path(request: Request, videos: Videos, item: Item) -> str | Unusable:
    try:
        if _is_file(item):
            return videos.path(item.video)
        path = inside(item.video).as_posix()
        if request.check_videos and not (request.folder.root / path).is_dir():
            raise Unusable("no folder of pictures", path)
        return path
    except Unusable as problem:
        return problem


def _outcome(request: Request, facts: VideoFacts, path: str | Unusable, where: str, item: Item) -> Outcome:
    identity = f"custom/{where}/{item.name}"

    def make(notes: list[str]) -> TruthRecord:
        if isinstance(path, Unusable):
            raise path
        drawing = _known(request, facts, path, item, item.read(), notes)
        return _record(drawing, drawing.id or identity, path, item, notes)

    made = attempt(identity, item.where, item.video, ("tubes",), make)
    if made.record is not None and made.record.id != identity:
        return Outcome(made.record.id, made.where, made.video, made.counted, made.record, notes=made.notes)
    return made


def _known(
    request: Request, facts: VideoFacts, path: str, item: Item, drawing: Drawing, notes: list[str]
) -> Drawing:
    """The drawing with rate, length and size; where the video can be asked, what it says counts.

    Raises:
        Unusable: neither knows, or they speak of videos of different size.
    """
    if request.check_videos and _is_file(item):
        info = facts.of(path)
        width = info.width if drawing.width is None else drawing.width
        height = info.height if drawing.height is None else drawing.height
        if (width, height) != (info.width, info.height):
            raise Unusable(
                "annotated on frames of another size",
                f"{width}x{height}, the video has {info.width}x{info.height}",
            )
        if drawing.frame_count is not None and drawing.frame_count != info.frames:
            notes.append(f"the file speaks of {drawing.frame_count} frames, the video has {info.frames}")
        drawing = replace(
            drawing, fps=float(info.fps), frame_count=info.frames, width=info.width, height=info.height
        )
    elif request.check_videos:
        there = sum(one.suffix.lower() in IMAGE_SUFFIXES for one in (request.folder.root / path).iterdir())
        if drawing.frame_count not in (None, there):
            raise Unusable("pictures and seqLength differ in number", f"{there} and {drawing.frame_count}")
        drawing = replace(drawing, frame_count=there)
    if drawing.fps is None:
        drawing = replace(drawing, fps=request.frame_rate)
    for name, what in (
        ("fps", "the frame rate"),
        ("frame_count", "the length"),
        ("width", "the width"),
        ("height", "the height"),
    ):
        if getattr(drawing, name) is None:
            raise Unusable(f"the file does not say {what}", "build with the videos in place, or give --fps")
    return drawing


def _record(drawing: Drawing, identity: str, path: str, item: Item, notes: list[str]) -> TruthRecord:
    fps, frames, width, height = drawing.fps, drawing.frame_count, drawing.width, drawing.height
    assert fps is not None
    assert frames is not None
    assert width is not None
    assert height is not None
    if not drawing.query.strip():
        raise Unusable("no query")
    if drawing.qtype not in get_args(QueryType):
        raise Unusable("an unknown qtype", repr(drawing.qtype))
    if frames > MAX_FRAMES:
        raise Unusable(f"more than {MAX_FRAMES:,} frames", str(frames))
    last = max((key.frame for key in drawing.keys if key.box is not None), default=-1)
    if last >= frames:
        # Most likely the frames are counted from 1, or the boxes belong to another cut of the video.
        raise Unusable("a box after the end of the video", f"frame {last} of {frames} (counted from 0)")
    seen = {frame: box for frame, box in fill(drawing.keys, frames).items() if frame < frames}
    if drawing.percent:
        scale = (width / 100, height / 100)
        seen = {
            frame: (x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1])
            for frame, (x1, y1, x2, y2) in seen.items()
        }
    boxes = clean_boxes(seen.items(), width, height, notes) if seen else {}
    window = _window(drawing, fps, frames, sorted(boxes), notes)
    return TruthRecord(
        id=identity,
        task="stvg" if boxes else "vtg",
        video=path,
        media=item.media,
        fps=fps,
        frame_count=frames,
        clip=(0, frames),
        width=width,
        height=height,
        query=drawing.query.strip(),
        qtype="interrogative" if drawing.qtype == "interrogative" else "declarative",
        window=window,
        seconds=drawing.seconds,
        boxes={frame: box for frame, box in boxes.items() if window[0] <= frame < window[1]},
        split=drawing.split,
        source="custom",
        provenance=item.where,
    )


def _window(drawing: Drawing, fps: float, frames: int, boxes: list[int], notes: list[str]) -> tuple[int, int]:
    """As said in frames or seconds; otherwise from the first box to the last one."""
    if drawing.window is not None and drawing.seconds is not None:
        raise Unusable("window and seconds", "give frames (window) or seconds (start, end), not both")
    if drawing.window is not None:
        window = drawing.window
    elif drawing.seconds is not None:
        start, end = drawing.seconds
        if not 0 <= start < end:
            raise Unusable("a window that ends before it starts", f"{start} to {end} s")
        first, after = span_to_frames(TimeSpan(start, end), fps)
        if first >= frames:
            raise Unusable("a window after the end of the video", f"{start} to {end} s")
        if after > frames:
            notes.append(f"the window ends {after - frames} frame(s) after the video and was cut")
        window = (min(first, frames - 1), max(min(after, frames), first + 1))
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
