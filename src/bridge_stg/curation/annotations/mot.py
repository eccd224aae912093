"""MOTChallenge text: one line per box, frames and tracks count from 1, no words.

A sequence is a folder::

    seqinfo.ini          name, imDir, frameRate, seqLength, imWidth, imHeight
    gt/gt.txt            frame, id, left, top, width, height, flag, class, visibility
    gt/queries.txt       id, a tab, the sentence: ours, for the format has no place for it

A line whose flag is 0 is not part of the truth and is left out, as the benchmark does. Its authors say that
pixels count from 1 too; nearly every program uses them as they are, and so does this one unless asked
otherwise.
"""

from __future__ import annotations

import configparser
import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from bridge_stg.curation.annotations.tubes import (
    Drawing,
    DrawnVideo,
    Item,
    finite,
    plain,
    separate,
    unique_names,
    whole,
)
from bridge_stg.curation.reading.boxes import from_xywh
from bridge_stg.curation.reading.folder import read_lines
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError, one_line
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
        place = f"{where}:{lines[0][0]}#track {track}"
        make = partial(_drawing, about, track, lines, queries, 1.0 if one_based_boxes else 0.0)
        yield Item(str(track), place, video, make, "frames" if media else "video")


def _about(sequence: Path, where: PurePosixPath) -> tuple[Drawing, str, bool]:
    """What seqinfo.ini says, the path of the video or of the pictures, and whether it is pictures."""
    path = sequence / "seqinfo.ini"
    if not path.is_file():
        raise DataError(
            f"{sequence}: no seqinfo.ini; write it: [Sequence] with name, imDir, frameRate, seqLength"
        )
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string("\n".join(read_lines(path)))
        section = parser["Sequence"]
        known = {
            key: whole(section[key], key) for key in ("seqlength", "imwidth", "imheight") if key in section
        }
        rate = finite(section["frameRate"], "frameRate") if "frameRate" in section else None
    except (configparser.Error, KeyError) as problem:
        raise DataError(f"{path}: not a seqinfo.ini ({one_line(problem)})") from problem
    except Unusable as problem:
        raise DataError(f"{path}: {problem.reason}: {problem.detail}") from problem
    about = Drawing("", (), rate, known.get("seqlength"), known.get("imwidth"), known.get("imheight"))
    pictures = section.get("imDir", "img1").strip("/") or "img1"
    if (sequence / pictures).is_dir() or "video" not in section:
        return about, (where / pictures).as_posix(), True
    return about, section["video"], False


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
    about: Drawing, track: int, lines: list[tuple[int, list[str]]], queries: dict[int, str], offset: float
) -> Drawing:
    if track not in queries:
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
    return replace(about, query=queries[track], keys=separate(boxes))


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
        (folder / "gt").mkdir(parents=True, exist_ok=True)
        (folder / "seqinfo.ini").write_text(_seqinfo(video, name), encoding="utf-8")
        with (folder / "gt" / "gt.txt").open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows(_rows(video))
        sentences = (f"{track}\t{plain(tube.query)}\n" for track, tube in enumerate(video.tubes, start=1))
        (folder / "gt" / "queries.txt").write_text("".join(sentences), encoding="utf-8")
        written.append(folder / "gt" / "gt.txt")
    return written


def _seqinfo(video: DrawnVideo, name: PurePosixPath) -> str:
    lines = ["[Sequence]", f"name={plain(name.name)}"]
    # imDir is what every tool looks for; a video file is named beside it, for our own reader.
    lines += ["imDir=img1"] if video.media == "frames" else ["imDir=img1", f"video={plain(video.video)}"]
    lines += [f"frameRate={float(video.fps):.12g}", f"seqLength={video.frame_count}"]
    return "\n".join([*lines, f"imWidth={video.width}", f"imHeight={video.height}", "imExt=.jpg", ""])


def _rows(video: DrawnVideo) -> Iterator[list[str]]:
    """Sorted by frame, then track."""
    drawn = [
        (frame, track, box) for track, tube in enumerate(video.tubes, 1) for frame, box in tube.boxes.items()
    ]
    for frame, track, (x1, y1, x2, y2) in sorted(drawn):
        box = [f"{value:.2f}" for value in (x1, y1, x2 - x1, y2 - y1)]
        yield [str(frame + 1), str(track), *box, "1", "1", "1"]
