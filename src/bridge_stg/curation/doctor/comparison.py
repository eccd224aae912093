"""The files against what the records say of them, and against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from bridge_stg.curation.doctor.annotations import AnnotatedVideo, VideoDescription
from bridge_stg.curation.doctor.findings import Finding
from bridge_stg.curation.doctor.videos import OpenedFile, OpenedFiles
from bridge_stg.records.part import same_aspect

# A frame more or less is a matter of rounding; half a second is a frame of those that the model reads.
FRAME_SLACK = 1
SECONDS_SLACK = 0.5


def compare(videos: dict[str, AnnotatedVideo], files: OpenedFiles) -> list[Finding]:
    """All findings about files, in the order of the records."""
    found: list[Finding] = []
    for path, video in videos.items():
        if path in files.missing:
            said = f"{video.records} record(s) ask about it"
            found.append(Finding("missing video", said, video=video.name))
        else:
            found += _of_file(video, files.by_path[path])
        if len(video.described) > 1:
            said = "; ".join(_in_words(about) for about in list(video.described)[:3])
            found.append(Finding("described twice", said, video=video.name))
    return found + _shared(videos, files)


def _of_file(video: AnnotatedVideo, file: OpenedFile) -> list[Finding]:
    if file.problem is not None:
        return [Finding("unreadable video", file.problem, video=video.name)]
    problems: list[tuple[str, str]] = []
    problems += [(_kind_of_note(note), note) for note in file.notes]
    if file.damaged:
        frames = ", ".join(map(str, file.damaged))
        problems.append(("damaged video", f"of {file.frames} frames, not decoded when tried: {frames}"))
    if file.turned:
        said = f"stored {file.turned}; shown as {file.width}x{file.height}"
        problems.append(("rotated container", said))

    for about, end in video.described.items():
        problems += _size_problems(about, file)
        problems += _length_problems(video, about, end, file)

    # Two descriptions of one file can be wrong in the same way.
    return [Finding(kind, detail, video=video.name) for kind, detail in dict.fromkeys(problems)]


def _kind_of_note(note: str) -> str:
    """The kind of finding that a note of the reader of videos belongs to."""
    if "truncated" in note:
        return "truncated video"
    return "odd clock" if "clock" in note or "keyframe" in note else "shown otherwise"


def _size_problems(about: VideoDescription, file: OpenedFile) -> list[tuple[str, str]]:
    annotated, found = (about.width, about.height), (file.width, file.height)
    if annotated == found:
        return []
    said = f"annotated {about.width}x{about.height}, the file shows {file.width}x{file.height}"

    if same_aspect(annotated, found):
        return [("size differs", said)]
    turned = annotated == found[::-1]
    return [("shape differs", said + (": turned by a quarter" if turned else ""))]


def _length_problems(
    video: AnnotatedVideo, about: VideoDescription, end: float, file: OpenedFile
) -> list[tuple[str, str]]:
    found = []
    if abs(about.frame_count - file.frames) > FRAME_SLACK:
        said = f"annotated {about.frame_count} frames, the file has {file.frames}"
        found.append(("frame count differs", said))
    if video.media != "video":
        return found  # pictures are shown when the annotation says

    seconds = about.clock.duration
    rates = f"{about.fps:g} and {float(Fraction(file.fps)):g} frames per second"
    if abs(seconds - file.duration) > SECONDS_SLACK:
        found.append(
            ("duration differs", f"annotated {seconds:.2f} s, the file {file.duration:.2f} s ({rates})")
        )
    if about.frame_times != file.frame_times and (late := _apart(about, file)) > 0.5 / about.fps:
        rate = "varies" if file.frame_times is not None else "is constant"
        said = f"the file's rate {rate}: the annotation puts frames up to {late:.2f} s away from it"
        found.append(("frame times differ", said))
    if end - file.duration > SECONDS_SLACK:
        found.append(("clip after the end", f"a clip ends at {end:.2f} s, the file at {file.duration:.2f} s"))
    return found


def _apart(about: VideoDescription, file: OpenedFile) -> float:
    """The largest difference in seconds between when the annotation and when the file shows a frame."""
    frames = np.arange(min(about.frame_count, file.frames))
    return float(np.abs(about.clock.seconds(frames) - file.clock.seconds(frames)).max())


def _shared(videos: dict[str, AnnotatedVideo], files: OpenedFiles) -> list[Finding]:
    """Videos in two splits, by their path or, under other names, by their content."""
    found = []
    for video in videos.values():
        if len(video.splits) > 1:
            ids = ", ".join(f"{split}: {record}" for split, record in video.splits.items())
            found.append(Finding(_overlap(video.splits), f"the same file in {ids}", video=video.name))

    alike: dict[str, list[AnnotatedVideo]] = defaultdict(list)
    for path, file in files.by_path.items():
        if file.content:
            alike[file.content].append(videos[path])

    for group in alike.values():
        first, *others = sorted(group, key=lambda video: video.numbers[0])
        for other in others:
            splits = {*first.splits, *other.splits}
            kind = _overlap(splits) if set(first.splits) != set(other.splits) else "copied video"
            said = f"begins with the same bytes as {first.name}"
            if len(splits) > 1:
                said += f" ({_listed(first.splits)} and {_listed(other.splits)})"
            found.append(Finding(kind, said, video=other.name))
    return found


def _overlap(splits: Iterable[str]) -> str:
    return "leak" if any(split.startswith("train") for split in splits) else "split overlap"


def _listed(splits: Iterable[str]) -> str:
    return "+".join(splits) or "no split"


def _in_words(about: VideoDescription) -> str:
    return f"{about.frame_count} frames of {about.width}x{about.height} at {about.fps:g} per second"
