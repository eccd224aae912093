"""Charades-STA: a window in seconds per sentence, one text line each.

The lines know neither rate nor length of the video, so both are read from the video. Windows that end after it
are usual (one line of seven): ``window`` is cut at the last frame, ``seconds`` keeps what was annotated,
because that is what published scores are computed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from bridge_stg.curation.reading.folder import Videos, read_lines
from bridge_stg.curation.reading.outcome import Outcome, Unusable, attempt
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.geometry.spans import span_to_frames
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan

SPLITS = ("train", "test")
_HEAD = re.compile(r"(\S+) (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)")


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per line."""
    name = f"charades_sta_{request.split}.txt"
    path = request.folder.find(name, f"Charades-STA/{name}", what="Charades-STA's sentences")
    where = request.folder.relative(path)
    lines = [(number, text) for number, text in enumerate(read_lines(path), start=1) if text.strip()]
    videos = Videos(request.folder, "Charades_v1_480", "Charades_v1", "videos", check=request.check_videos)
    found: dict[str, str | Unusable] = {}
    for _, text in lines:
        video = text.split(" ", 1)[0]
        try:
            found[video] = videos.path(f"{video}.mp4")
        except Unusable as problem:
            found[video] = problem
    facts = VideoFacts(request, (place for place in found.values() if isinstance(place, str)))
    for number, text in lines:
        video = text.split(" ", 1)[0]
        identity = f"charades-sta/{request.split}/{number}"
        make = partial(_record, request, identity, f"{where}:{number}", text, found[video], facts)
        yield attempt(identity, f"{where}:{number}", video, ("sentences",), make)


def _record(
    request: Request,
    identity: str,
    provenance: str,
    text: str,
    video: str | Unusable,
    facts: VideoFacts,
    notes: list[str],
) -> TruthRecord:
    # The sentence may hold anything, also another "##".
    head, mark, sentence = text.partition("##")
    fields = _HEAD.fullmatch(head.strip())
    if not mark or not sentence.strip() or fields is None:
        raise Unusable("malformed line", repr(text[:80]))
    start, end = float(fields[2]), float(fields[3])
    if start >= end:
        raise Unusable("the window ends before it starts", f"{start} to {end} s")
    if isinstance(video, Unusable):
        raise video
    info = facts.of(video)
    length = float(info.frames / info.fps)
    if start >= length:
        raise Unusable("the window starts after the end of the video", f"{start} s of {length:.2f} s")
    if end > length:
        notes.append(f"the window ends at {end} s, the video at {length:.2f} s; cut there")
    first, last = span_to_frames(TimeSpan(start, min(end, length)), info.fps)
    # Rounding to frame boundaries must not empty a window that is shorter than a frame.
    first = min(first, info.frames - 1)
    last = min(max(last, first + 1), info.frames)
    return TruthRecord(
        id=identity,
        task="vtg",
        video=video,
        fps=float(info.fps),
        frame_count=info.frames,
        clip=(0, info.frames),
        width=info.width,
        height=info.height,
        query=sentence.strip(),
        window=(first, last),
        seconds=(start, end),
        split=request.split,
        source="charades-sta",
        provenance=provenance,
    )
