"""Video-MME: four options per question about videos of 11 seconds to an hour; for evaluation only.

The options carry their letters ("A. Two."); a record holds them without, because whoever asks writes the
letters. Rate, length and size are the video's own. ``kind`` is the length class that scores are reported by,
``category`` the type of task.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bridge_stg.curation.reading.folder import Videos, inside
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord

SPLITS = ("test",)
LENGTHS = ("short", "medium", "long")
LETTERS = "ABCD"
_COLUMNS = ("duration", "videoID", "question_id", "task_type", "question", "options", "answer")


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per row of the table."""
    folder, name = request.folder, "test-00000-of-00001.parquet"
    path = folder.find(f"videomme/{name}", name, what="Video-MME's questions")
    where = folder.relative(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as problem:
        raise DataError(f"{path}: not a complete Parquet file ({problem}); download it again") from problem
    missing = sorted(set(_COLUMNS) - set(table.column_names))
    if missing:
        raise DataError(
            f"{path}: has no column {', '.join(missing)}; this is an early revision, take a later one"
        )
    rows = table.select(list(_COLUMNS)).to_pylist()
    # Early unpackings lie in data/, with endings in several spellings.
    videos = Videos(folder, "data", "videos", "video", "videomme/data")
    found: dict[str, str | Unusable] = {}
    for row in rows:
        video = str(row["videoID"])
        try:
            found[video] = videos.path(f"{video}.mp4", any_suffix=True)
        except Unusable as problem:
            found[video] = problem
    facts = VideoFacts(request, (place for place in found.values() if isinstance(place, str)))
    for number, row in enumerate(rows):
        identity = f"video-mme/test/{row['question_id']}"
        make = partial(_record, request, identity, f"{where}#{number}", row, found[str(row["videoID"])], facts)
        yield attempt(identity, f"{where}#{number}", str(row["videoID"]), ("questions",), make)


def _record(
    request: Request,
    identity: str,
    provenance: str,
    row: dict[str, Any],
    video: str | Unusable,
    facts: VideoFacts,
    notes: list[str],
) -> TruthRecord:
    if isinstance(video, Unusable):
        raise video
    options, answer, length = take(row, "options", list), take(row, "answer", str), take(row, "duration", str)
    if len(options) != len(LETTERS) or answer not in LETTERS or len(answer) != 1:
        raise Unusable("not four options with a letter as the answer", f"{len(options)} options, {answer!r}")
    if length not in LENGTHS:
        raise Unusable("an unknown length class", repr(length))
    info = facts.of(video)
    choices = tuple(
        _without_letter(option, letter, notes) for option, letter in zip(options, LETTERS, strict=True)
    )
    subtitles = request.folder.exists(
        *(f"{place}/{inside(row['videoID'])}.srt" for place in ("subtitle", "videomme/subtitle"))
    )
    return TruthRecord(
        id=identity,
        task="vqa",
        video=video,
        fps=float(info.fps),
        frame_count=info.frames,
        clip=(0, info.frames),
        width=info.width,
        height=info.height,
        query=take(row, "question", str),
        qtype="interrogative",
        choices=choices,
        choice=answer,
        split=request.split,
        source="video-mme",
        kind=length,
        category=take(row, "task_type", str),
        subtitles=request.folder.relative(subtitles) if subtitles else None,
        provenance=provenance,
    )


def _without_letter(option: str, letter: str, notes: list[str]) -> str:
    head, text = option[:2], option[2:].strip()
    if head == f"{letter}." and text:
        return text
    notes.append(f"option {letter} does not carry its letter")
    return option
