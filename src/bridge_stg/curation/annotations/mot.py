"""MOTChallenge text: one line per box, frames and tracks count from 1, no words.

A sequence is a folder::

    seqinfo.ini          name, imDir, frameRate, seqLength, imWidth, imHeight, imExt
    gt/gt.txt            frame, id, left, top, width, height, flag, class, visibility
    gt/labels.txt        the names of the classes, one a line
    gt/queries.txt       id, a tab, the sentence: ours, for the format has no place for it
    video.ini            path and frameRate of the video: ours, for readers refuse both in seqinfo.ini

Other tools write gt.txt and labels.txt alone; then pictures or a video are looked for by the name of the
folder, and a track without a sentence is asked about by its class. A line whose flag is 0 is not part of the
truth and is left out, as the benchmark does. Its authors say that pixels count from 1 too; nearly every program
uses them as they are, and so does this one unless asked otherwise.
"""

from __future__ import annotations

import configparser
import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from bridge_stg.curation.annotations.drawn_tubes import (
    LABEL,
    Drawing,
    DrawnVideo,
    Item,
    finite,
    plain,
    separate,
    unique_names,
    whole,
)
from bridge_stg.curation.reading.annotated_boxes import from_xywh
from bridge_stg.curation.reading.folder import read_lines
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError, one_line
from bridge_stg.records.record import Media
from bridge_stg.types import Box


def read(path: Path, where: str, one_based_boxes: bool) -> Iterator[Item]:
    """One item per track of a ``gt.txt``.

    Args:
        path: the file; its sequence is the folder above ``gt``.
        where: the same below the root of the data.
        one_based_boxes: subtract 1 from left and top.

    Raises:
        DataError: a line without the seven fields that count, or a file of the sequence that cannot be read.
    """
    sequence = path.parent.parent
    about, video, media = _about(sequence, PurePosixPath(where).parent.parent)
    queries = _queries(path.parent / "queries.txt")
    labels = _labels(path.parent / "labels.txt")

    tracks: dict[int, list[tuple[int, list[str]]]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        fields = [value.strip() for value in line.split(",")]
        if len(fields) < 6:
            raise DataError(
                f"{path}:{number}: {len(fields)} values; expected frame,id,left,top,width,height,..."
            )

        try:
            track = whole(fields[1], "id")
        except Unusable as problem:
            raise DataError(f"{path}:{number}: {problem.reason}: {problem.detail}") from problem
        if len(fields) == 6 or fields[6] not in ("0", "0.0"):
            tracks.setdefault(track, []).append((number, fields))

    for track, lines in tracks.items():
        query = queries.get(track) or _label(labels, lines[0][1])
        place = f"{where}:{lines[0][0]}#track {track}"
        make = partial(_drawing, about, track, query, lines, 1.0 if one_based_boxes else 0.0)
        yield Item(str(track), place, video, make, media)


def _about(sequence: Path, where: PurePosixPath) -> tuple[Drawing, str, Media]:
    """What the files say of the sequence, and the path of its video or pictures."""
    section = _section(sequence / "seqinfo.ini", "Sequence")
    own = _section(sequence / "video.ini", "Video")
    try:
        known = {
            key: whole(section[key], key) for key in ("seqlength", "imwidth", "imheight") if key in section
        }
        # In full where our own file says it: readers of seqinfo.ini take whole numbers alone.
        rate = own.get("framerate") or section.get("framerate")
        fps = _rate(rate) if rate else None
    except Unusable as problem:
        raise DataError(f"{sequence / 'seqinfo.ini'}: {problem.reason}: {problem.detail}") from problem
    about = Drawing(
        "",
        fps=fps,
        frame_count=known.get("seqlength"),
        width=known.get("imwidth"),
        height=known.get("imheight"),
    )

    pictures = section.get("imdir", "img1").strip("/") or "img1"
    video = own.get("path") or section.get("video")
    # os.path, for a Path raises where a name is none.
    there = os.path.isdir(sequence / pictures) and any(os.scandir(sequence / pictures))
    if there or (section and not video):
        return about, (where / pictures).as_posix(), "frames"
    return about, video or where.name, "video"


def _rate(text: str) -> float:
    """A rate as a number or as two, such as ``30000/1001``."""
    above, _, below = text.partition("/")
    numerator, denominator = finite(above, "frameRate"), finite(below or 1, "frameRate")
    return finite(numerator / denominator if denominator else "", "frameRate")


def _section(path: Path, name: str) -> dict[str, str]:
    """A section of an .ini file; nothing if there is no such file."""
    if not path.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string("\n".join(read_lines(path)))
        return dict(parser[name])
    except (configparser.Error, KeyError) as problem:
        raise DataError(f"{path}: not a {path.name} ({one_line(problem)})") from problem


def _labels(path: Path) -> list[str]:
    return [line.strip() for line in read_lines(path)] if path.is_file() else []


def _label(labels: list[str], fields: list[str]) -> str | None:
    """The name of the class of a box, which counts from 1."""
    number = fields[7] if len(fields) > 7 else ""
    if not number.isdecimal() or not 1 <= int(number) <= len(labels):
        return None
    return labels[int(number) - 1] or None


def _queries(path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    if not path.exists():
        return found
    for number, line in enumerate(read_lines(path), start=1):
        name, tab, sentence = line.partition("\t")
        if not line.strip():
            continue

        if not tab or not name.strip().isdecimal() or not sentence.strip():
            raise DataError(f"{path}:{number}: expected a track, a tab and a sentence, got {line[:40]!r}")
        if int(name) in found:
            raise DataError(f"{path}:{number}: track {int(name)} has a sentence already")
        found[int(name)] = sentence.strip()
    return found


def _drawing(
    about: Drawing, track: int, query: str | None, lines: list[tuple[int, list[str]]], offset: float
) -> Drawing:
    if query is None:
        raise Unusable("no sentence for the track", f"gt/queries.txt has no line for track {track}")

    boxes: dict[int, Box] = {}
    for number, fields in lines:
        frame = whole(fields[0], f"frame in line {number}")
        left, top, width, height = (finite(value, f"box in line {number}") for value in fields[2:6])
        if frame < 1:
            raise Unusable("a frame before the first one", f"line {number}: frames count from 1, got {frame}")
        if frame - 1 in boxes:
            raise Unusable("frames that do not increase", f"line {number}: a second box in frame {frame}")
        boxes[frame - 1] = from_xywh((left - offset, top - offset, width, height))
    return replace(about, query=query, keys=separate(boxes))


def write(videos: Iterable[DrawnVideo], out: Path) -> list[Path]:
    """A sequence folder per video below ``out``, named like the video.

    Raises:
        DataError: ``out`` looks like a file, or two videos of one name.
    """
    if out.suffix in (".txt", ".zip"):
        raise DataError(f"{out}: a MOTChallenge sequence is a folder; give one with --out")

    written: list[Path] = []
    for name, video in unique_names(videos):
        folder = out / name
        truth = folder / "gt"
        truth.mkdir(parents=True, exist_ok=True)
        (folder / "seqinfo.ini").write_text(_seqinfo(video, name), encoding="utf-8")
        (folder / "video.ini").write_text(_video_ini(video), encoding="utf-8")
        (truth / "labels.txt").write_text(f"{LABEL}\n", encoding="utf-8")

        with (truth / "gt.txt").open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows(_rows(video))
        sentences = (f"{track}\t{plain(tube.query)}\n" for track, tube in enumerate(video.tubes, start=1))
        (truth / "queries.txt").write_text("".join(sentences), encoding="utf-8")
        written.append(truth / "gt.txt")
    return written


def _seqinfo(video: DrawnVideo, name: PurePosixPath) -> str:
    """These keys and whole numbers: readers refuse a file with others."""
    lines = ["[Sequence]", f"name={plain(name.name)}", "imDir=img1", f"frameRate={max(round(video.fps), 1)}"]
    lines += [f"seqLength={video.frame_count}", f"imWidth={video.width}", f"imHeight={video.height}"]
    return "\n".join([*lines, "imExt=.jpg", ""])


def _video_ini(video: DrawnVideo) -> str:
    lines = ["[Video]", f"frameRate={video.fps}"]
    # A folder of pictures is where every tool looks for it.
    lines += [f"path={plain(video.video)}"] if video.media == "video" else []
    return "\n".join([*lines, ""])


def _rows(video: DrawnVideo) -> Iterator[list[str]]:
    """Sorted by frame, then track."""
    drawn = [
        (frame, track, box) for track, tube in enumerate(video.tubes, 1) for frame, box in tube.boxes.items()
    ]
    for frame, track, (x1, y1, x2, y2) in sorted(drawn):
        box = [f"{value:.2f}" for value in (x1, y1, x2 - x1, y2 - y1)]
        yield [str(frame + 1), str(track), *box, "1", "1", "1"]
