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
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
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
    found: dict[str, str | Unusable] = {}
    for _, row in rows:
        video = row.get("video") or ""
        try:
            if video not in groups:
                raise Unusable("the video is not in map_vid_vidorID.json", video)
            found[video] = videos.path(f"{groups[video]}.mp4")
        except Unusable as problem:
            found[video] = problem
    facts = VideoFacts(request, (place for place in found.values() if isinstance(place, str)))
    for number, row in rows:
        video = row.get("video") or ""
        identity = f"nextqa/{request.split}/{video}_{row.get('qid')}"
        make = partial(_record, request, identity, f"{where}:{number}", row, found[video], facts)
        yield attempt(identity, f"{where}:{number}", video, ("questions",), make)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of the table; a row with too few or too many cells is missing fields or has more."""
    reader = csv.DictReader(read_lines(path), strict=True)
    try:
        missing = sorted(set(_COLUMNS) - set(reader.fieldnames or ()))
        if missing:
            raise DataError(f"{path}: has no column {', '.join(missing)}; is it the multiple choice table?")
        return [(reader.line_num, row) for row in reader]
    except csv.Error as problem:
        raise DataError(f"{path}:{reader.line_num}: not a table ({problem}); download it again") from problem


def _record(
    request: Request,
    identity: str,
    provenance: str,
    row: dict[str, str],
    video: str | Unusable,
    facts: VideoFacts,
    notes: list[str],
) -> TruthRecord:
    if None in row or None in row.values():
        raise Unusable("malformed", "the row does not have as many cells as the table has columns")
    if isinstance(video, Unusable):
        raise video
    choices = tuple(row[option] for option in _OPTIONS)
    answer = int(row["answer"])
    if not 0 <= answer < len(choices):
        raise Unusable("the answer is none of the options", row["answer"])
    if row["type"] not in KINDS:
        raise Unusable("an unknown type of question", repr(row["type"]))
    if len(set(choices)) < len(choices):
        notes.append("two options read the same")
    info = facts.of(video)
    if info.frames != int(row["frame_count"]):
        notes.append(f"the table says {row['frame_count']} frames, the video has {info.frames}")
    return TruthRecord(
        id=identity,
        task="vqa",
        video=video,
        fps=float(info.fps),
        frame_count=info.frames,
        clip=(0, info.frames),
        width=info.width,
        height=info.height,
        query=row["question"],
        qtype="interrogative",
        choices=choices,
        choice="ABCDE"[answer],
        split=request.split,
        source="nextqa",
        kind=row["type"],
        provenance=provenance,
    )
