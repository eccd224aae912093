"""What can be found to be wrong with a data set, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Kind:
    """``meaning`` says what is wrong and what follows from it, for a person who reads the table."""

    severity: Severity
    meaning: str


# An error makes a record unusable or a score false; a warning is to be looked at; a note is good to know.
KINDS: dict[str, Kind] = {
    "malformed record": Kind("error", "the line is no record; it is not used by anything"),
    "empty window": Kind("error", "the event ends before it begins, or has no frame"),
    "window outside clip": Kind("error", "nothing of the event is in the clip that is read"),
    "box outside image": Kind("error", "nothing of the box is in the image"),
    "no boxes": Kind("error", "the task asks where, and the record does not say"),
    "duplicate id": Kind("error", "two records have the same id; answers cannot be told apart"),
    "missing video": Kind("error", "there is no such file below the folder of videos"),
    "unreadable video": Kind("error", "the file cannot be opened as a video or picture"),
    "truncated video": Kind("error", "the file ends before its own header says"),
    "damaged video": Kind("error", "frames in the middle or at the end cannot be decoded"),
    "clip after the end": Kind("error", "the file ends before an annotated clip does"),
    "shape differs": Kind("error", "the video has another shape than its boxes were drawn on"),
    "leak": Kind("error", "a video of train is in another split too, or in a folder of --against"),
    "split overlap": Kind("warning", "a video is in two splits, none of which is train"),
    "window beyond clip": Kind("warning", "the event begins before the clip or ends after it"),
    "box beyond edge": Kind("warning", "a box sticks out of the image by more than a pixel"),
    "box without area": Kind("warning", "a box is a line or a point"),
    "box outside window": Kind("warning", "boxes lie on frames outside of the event"),
    "empty query": Kind("warning", "there is no sentence to look for"),
    "duplicate question": Kind("warning", "the same video, clip, sentence and window again"),
    "described twice": Kind("warning", "records disagree about rate, length or size of one video"),
    "size differs": Kind("warning", "the video has the right shape in another size"),
    "frame count differs": Kind("warning", "the video has more or fewer frames than annotated"),
    "duration differs": Kind("warning", "the video is longer or shorter, or its clock runs differently"),
    "frame times differ": Kind("warning", "records and file disagree about when frames are shown; build again"),
    "odd clock": Kind("warning", "the clock jumps, or the start cannot be shown: other tools can differ"),
    "not compared": Kind("warning", "videos are missing whose content should be compared with --against"),
    "rotated container": Kind("note", "the file is stored turned; it is read as it is shown"),
    "shown otherwise": Kind("note", "players show the file in another way than it is read"),
    "copied video": Kind("note", "the same content under two names, in one split"),
    "same name": Kind("note", "a folder of --against has a video of that name with other content"),
}


@dataclass(frozen=True)
class Finding:
    """One thing wrong: ``kind`` is of ``KINDS``; ``record`` or ``video`` (as the record names it) has it."""

    kind: str
    detail: str
    record: str | None = None
    video: str | None = None

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "record": self.record,
            "video": self.video,
            "detail": self.detail,
        }
