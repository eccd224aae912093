"""NExT-QA, multiple choice: five options, one of them right.

``qid`` is unique within its video only. An option can be the very word "none", so the table is read as plain
text. The table has no frame rate, so rate, length and size are the video's own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bridge_stg.curation.reading.folder import Videos, read_json, read_lines
from bridge_stg.curation.reading.opened_videos import OpenedVideos
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt
from bridge_stg.curation.reading.request import Request
from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord

SPLITS = ("train", "val", "test")
# CW, CH: causal; TN, TC, TP: temporal; DO, DL, DC: descriptive.
KINDS = ("CW", "CH", "TN", "TC", "TP", "DO", "DL", "DC")
_OPTIONS = ("a0", "a1", "a2", "a3", "a4")
_COLUMNS = ("video", "frame_count", "question", "answer", "qid", "type", *_OPTIONS)


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per row of the table."""
    folder, name = request.folder, f"{request.split}.csv"
    path = folder.find(f"dataset/nextqa/{name}", f"nextqa/{name}", name, what="NExT-QA's questions")
    where = folder.relative(path)
    rows = _rows(path)

    maps = ("dataset/nextqa/map_vid_vidorID.json", "nextqa/map_vid_vidorID.json", "map_vid_vidorID.json")
    groups = read_json(folder.find(*maps, what="the map from videos to their folders"), dict)
    videos = Videos(folder, "NExTVideo", "videos", "video")

    def locate(video: str) -> str:
        if video not in groups:
            raise Unusable("the video is not in map_vid_vidorID.json", video)
        return videos.path(f"{groups[video]}.mp4")

    names = [row.get("video") or "" for _, row in rows]
    opened = OpenedVideos(request, names, locate)
    for (number, row), video in zip(rows, names, strict=True):
        identity = f"nextqa/{request.split}/{video}_{row.get('qid')}"
        origin = Origin("nextqa", request.split, identity, f"{where}:{number}")
        yield attempt(origin, video, ("questions",), partial(_record, row, video, opened))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of the table; a row may have too few or too many fields."""
    reader = csv.DictReader(read_lines(path), strict=True)
    try:
        missing = sorted(set(_COLUMNS) - set(reader.fieldnames or ()))
        if missing:
            raise DataError(f"{path}: has no column {', '.join(missing)}; is it the multiple choice table?")
        return [(reader.line_num, row) for row in reader]
    except csv.Error as problem:
        raise DataError(f"{path}:{reader.line_num}: not a table ({problem}); download it again") from problem


def _record(
    row: dict[str, str], video: str, opened: OpenedVideos, origin: Origin, notes: list[str]
) -> TruthRecord:
    if None in row or None in row.values():
        raise Unusable("malformed", "the row does not have as many cells as the table has columns")
    path, facts = opened.path(video), opened.facts(video)

    choices = tuple(row[option] for option in _OPTIONS)
    answer = int(row["answer"])
    if not 0 <= answer < len(choices):
        raise Unusable("the answer is none of the options", row["answer"])
    if row["type"] not in KINDS:
        raise Unusable("an unknown type of question", repr(row["type"]))
    if len(set(choices)) < len(choices):
        notes.append("two options read the same")
    if facts.frame_count != int(row["frame_count"]):
        notes.append(f"the table says {row['frame_count']} frames, the video has {facts.frame_count}")

    return origin.record(
        "vqa",
        path,
        facts,
        row["question"],
        qtype="interrogative",
        choices=choices,
        choice="ABCDE"[answer],
        kind=row["type"],
    )
