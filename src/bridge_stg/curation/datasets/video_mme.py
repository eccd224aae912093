"""Video-MME: four options per question about videos of 11 seconds to an hour; for evaluation only.

The options carry their letters ("A. Two."); a record holds them without, because whoever asks writes the
letters. Rate, length and size are the video's own. ``kind`` is the length class that scores are reported by,
``category`` the type of task.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bridge_stg.curation.reading.folder import Videos, inside
from bridge_stg.curation.reading.opened_videos import OpenedVideos
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.parquet_rows import parquet_rows
from bridge_stg.curation.reading.request import Request
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
    rows = list(parquet_rows(path, _COLUMNS, "this is an early revision, take a later one"))

    # Early unpackings lie in data/, with endings in several spellings.
    videos = Videos(folder, "data", "videos", "video", "videomme/data")
    names = [str(row["videoID"]) for row in rows]
    opened = OpenedVideos(request, names, lambda name: videos.path(f"{name}.mp4", any_suffix=True))
    for number, (row, video) in enumerate(zip(rows, names, strict=True)):
        identity = f"video-mme/test/{row['question_id']}"
        origin = Origin("video-mme", request.split, identity, f"{where}#{number}")
        yield attempt(origin, video, ("questions",), partial(_record, request, row, video, opened))


def _record(
    request: Request,
    row: dict[str, Any],
    video: str,
    opened: OpenedVideos,
    origin: Origin,
    notes: list[str],
) -> TruthRecord:
    path, facts = opened.path(video), opened.facts(video)
    options, answer, length = take(row, "options", list), take(row, "answer", str), take(row, "duration", str)
    if len(options) != len(LETTERS) or answer not in LETTERS or len(answer) != 1:
        raise Unusable("not four options with a letter as the answer", f"{len(options)} options, {answer!r}")
    if length not in LENGTHS:
        raise Unusable("an unknown length class", repr(length))

    choices = (_without_letter(option, letter, notes) for option, letter in zip(options, LETTERS, strict=True))
    subtitles = request.folder.exists(
        *(f"{place}/{inside(video)}.srt" for place in ("subtitle", "videomme/subtitle"))
    )
    return origin.record(
        "vqa",
        path,
        facts,
        take(row, "question", str),
        qtype="interrogative",
        choices=tuple(choices),
        choice=answer,
        kind=length,
        category=take(row, "task_type", str),
        subtitles=request.folder.relative(subtitles) if subtitles else None,
    )


def _without_letter(option: str, letter: str, notes: list[str]) -> str:
    head, text = option[:2], option[2:].strip()
    if head == f"{letter}." and text:
        return text
    notes.append(f"option {letter} does not carry its letter")
    return option
