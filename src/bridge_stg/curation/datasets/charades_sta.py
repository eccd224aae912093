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
from bridge_stg.curation.reading.opened_videos import OpenedVideos
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt
from bridge_stg.curation.reading.request import Request
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
    names = [text.split(" ", 1)[0] for _, text in lines]
    opened = OpenedVideos(request, names, lambda name: videos.path(f"{name}.mp4"))
    for (number, text), video in zip(lines, names, strict=True):
        identity = f"charades-sta/{request.split}/{number}"
        origin = Origin("charades-sta", request.split, identity, f"{where}:{number}")
        yield attempt(origin, video, ("sentences",), partial(_record, text, video, opened))


def _record(text: str, video: str, opened: OpenedVideos, origin: Origin, notes: list[str]) -> TruthRecord:
    # The sentence can hold anything, also another "##".
    head, mark, sentence = text.partition("##")
    fields = _HEAD.fullmatch(head.strip())
    if not mark or not sentence.strip() or fields is None:
        raise Unusable("malformed line", repr(text[:80]))
    start, end = float(fields[2]), float(fields[3])
    if start >= end:
        raise Unusable("the window ends before it starts", f"{start} to {end} s")

    path, facts = opened.path(video), opened.facts(video)
    length = facts.seconds
    if start >= length:
        raise Unusable("the window starts after the end of the video", f"{start} s of {length:.2f} s")
    if end > length:
        notes.append(f"the window ends at {end} s, the video at {length:.2f} s; cut there")

    # Rounding to frame boundaries must not empty a window that is shorter than a frame.
    first, last = facts.clock.frames_in(TimeSpan(start, min(end, length)))
    first = min(first, facts.frame_count - 1)
    last = min(max(last, first + 1), facts.frame_count)
    return origin.record("vtg", path, facts, sentence.strip(), window=(first, last), seconds=(start, end))
