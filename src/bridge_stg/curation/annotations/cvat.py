"""CVAT for video, XML 1.1: frames and pixels count from 0, a box with ``outside="1"`` ends what came before it.

The sentence is a text attribute named ``query`` of the label; without one the label itself is the query. There
is no frame rate in the file. CVAT keeps boxes with ``keyframe="1"`` and draws straight lines between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from lxml.etree import _Element as Element

from bridge_stg.curation.annotations.drawn_tubes import (
    LABEL,
    Drawing,
    DrawnTube,
    DrawnVideo,
    Item,
    Keyframe,
    finite,
    plain,
    turned,
    unique_names,
    whole,
)
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.reading.safe_xml import read_xml
from bridge_stg.errors import DataError
from bridge_stg.types import Box

_CORNERS = ("xtl", "ytl", "xbr", "ybr")


def read(path: Path, where: str) -> Iterator[Item]:
    """One item per track of a file.

    Raises:
        DataError: not an XML file of CVAT for video, or cut off.
    """
    root = read_xml(path, "annotations")
    version = (root.findtext("version") or "").strip()
    if version != "1.1":
        raise DataError(
            f"{path}: version {version or 'missing'} of CVAT's format; export as 'CVAT for video 1.1'"
        )
    if root.find("image") is not None:
        raise DataError(f"{path}: is 'CVAT for images', which has no tracks; export as 'CVAT for video 1.1'")

    tasks = root.findall("meta/task") or root.findall("meta/job")
    if len(tasks) != 1:
        raise DataError(f"{path}: describes {len(tasks)} tasks; export one task (not a project) per file")
    meta, task = root.find("meta"), tasks[0]
    # The export of a task says these inside it, the export of a job beside it.
    source = meta.findtext("source") or task.findtext("source") or task.findtext("name") or path.stem
    size = task.find("original_size")
    size = size if size is not None else meta.find("original_size")

    for number, track in enumerate(root.findall("track")):
        name = track.get("id", str(number))
        place = f"{where}:{track.sourceline}#track {name}"
        yield Item(name, place, source.strip(), partial(_drawing, task, size, track))


def _drawing(task: Element, size: Element | None, track: Element) -> Drawing:
    boxes = track.findall("box")
    if not boxes:
        shapes = sorted({child.tag for child in track})
        raise Unusable("a track without boxes", f"it holds {', '.join(shapes) or 'nothing'}")

    keys = tuple(read_key(box) for box in boxes)
    start = whole(task.findtext("start_frame") or 0, "start_frame")
    if keys[0].frame < start:
        # Frames are those of the video in all versions of the tool; others cannot be told from a mistake.
        raise Unusable("a box before the task begins", f"frame {keys[0].frame}, the task begins at {start}")

    query = next(
        (said.text for said in boxes[0].iter("attribute") if said.get("name") == "query"),
        None,
    )
    return Drawing(
        query=(query or track.get("label") or "").strip(),
        keys=keys,
        end=_end(task),
        width=whole(size.findtext("width"), "width") if size is not None else None,
        height=whole(size.findtext("height"), "height") if size is not None else None,
    )


def _end(task: Element) -> int | None:
    """The frame of the video at which the task ends: it can begin late, stop early, take every n-th frame."""
    if task.findtext("stop_frame"):
        return whole(task.findtext("stop_frame"), "stop_frame") + 1
    return whole(task.findtext("size"), "size") if task.findtext("size") else None


def read_key(box: Element) -> Keyframe:
    frame = whole(box.get("frame"), "frame of a box")
    if box.get("outside") == "1":
        return Keyframe(frame, None)

    x1, y1, x2, y2 = (finite(box.get(side), f"{side} in frame {frame}") for side in _CORNERS)
    degrees = finite(box.get("rotation", "0"), f"rotation in frame {frame}")
    return Keyframe(frame, turned((x1, y1, x2, y2), degrees, ((x1 + x2) / 2, (y1 + y2) / 2)))


def write(videos: Iterable[DrawnVideo], out: Path) -> list[Path]:
    """One file per video in the folder ``out``, or ``out`` itself if it ends in .xml.

    Raises:
        DataError: several videos for one file.
    """
    written: list[Path] = []
    for name, video in unique_names(videos):
        path = out if out.suffix == ".xml" else out / f"{name}.xml"
        if path in written:
            raise DataError(
                f"{out}: CVAT has one file per video and there are several; give a folder with --out"
            )

        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="\n") as handle:
            handle.writelines(f"{line}\n" for line in _lines(video))
        written.append(path)
    return written


def _lines(video: DrawnVideo) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield "<annotations>"
    yield "  <version>1.1</version>"
    yield "  <meta>"
    yield "    <task>"
    yield f"      <name>{escape(video.safe_name.name)}</name>"
    yield f"      <size>{video.frame_count}</size>"
    yield "      <mode>interpolation</mode>"
    yield "      <start_frame>0</start_frame>"
    yield f"      <stop_frame>{video.frame_count - 1}</stop_frame>"

    yield "      <labels>"
    yield f"        <label><name>{LABEL}</name><attributes><attribute>"
    yield "          <name>query</name><mutable>False</mutable>"
    yield "          <input_type>text</input_type><default_value></default_value><values></values>"
    yield "        </attribute></attributes></label>"
    yield "      </labels>"

    yield "      <original_size>"
    yield f"        <width>{video.width}</width>"
    yield f"        <height>{video.height}</height>"
    yield "      </original_size>"
    yield f"      <source>{escape(plain(video.video))}</source>"
    yield "    </task>"
    yield "  </meta>"

    for number, tube in enumerate(video.tubes):
        origin = "manual" if video.model is None else "auto"
        yield f'  <track id="{number}" label="{LABEL}" source={quoteattr(origin)}>'
        yield from _track(tube, video.frame_count)
        yield "  </track>"
    yield "</annotations>"


def _track(tube: DrawnTube, frame_count: int) -> Iterator[str]:
    query = escape(plain(tube.query))
    for run in tube.runs():
        for frame in run:
            yield _box(frame, tube.boxes[frame], tube.is_key(frame, run), False, query)

        # Without it the last box would stay until the end of the video.
        if run[-1] + 1 < frame_count:
            yield _box(run[-1] + 1, tube.boxes[run[-1]], True, True, query)


def _box(frame: int, box: Box, key: bool, outside: bool, query: str) -> str:
    corners = " ".join(f'{side}="{value:.2f}"' for side, value in zip(_CORNERS, box, strict=True))
    flags = f'keyframe="{int(key)}" outside="{int(outside)}" occluded="0"'
    return (
        f'    <box frame="{frame}" {flags} {corners} z_order="0">'
        f'<attribute name="query">{query}</attribute></box>'
    )
