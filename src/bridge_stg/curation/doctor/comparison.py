"""The files against what the records say of them, and against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from bridge_stg.curation.doctor.annotations import AnnotatedVideo, Description
from bridge_stg.curation.doctor.findings import Finding
from bridge_stg.curation.doctor.videos import Look, Looks

# A frame more or less is a matter of rounding; half a second is a frame of those that the model reads.
FRAME_SLACK = 1
SECONDS_SLACK = 0.5
# As when training reads a clip: wider or narrower than this is another picture.
ASPECT_SLACK = 0.03


def compare(videos: dict[str, AnnotatedVideo], looks: Looks) -> list[Finding]:
    """All findings about files, in the order of the records."""
    found: list[Finding] = []
    for path, video in videos.items():
        if path in looks.missing:
            said = f"{video.records} record(s) ask about it"
            found.append(Finding("missing video", said, video=video.name))
        else:
            found += _of_file(video, looks.by_path[path])
        if len(video.described) > 1:
            said = "; ".join(_in_words(about) for about in list(video.described)[:3])
            found.append(Finding("described twice", said, video=video.name))
    return found + _shared(videos, looks)


def _of_file(video: AnnotatedVideo, look: Look) -> list[Finding]:
    if look.problem is not None:
        return [Finding("unreadable video", look.problem, video=video.name)]
    problems: list[tuple[str, str]] = []
    problems += [("truncated video", note) for note in look.notes if "truncated" in note]
    if look.damaged:
        frames = ", ".join(map(str, look.damaged))
        problems.append(("damaged video", f"of {look.frames} frames, not decoded when tried: {frames}"))
    if look.turned:
        said = f"stored {look.turned}; shown as {look.width}x{look.height}"
        problems.append(("rotated container", said))
    for about, end in video.described.items():
        problems += _size_problems(about, look)
        problems += _length_problems(video, about, end, look)
    # Two descriptions of one file can be wrong in the same way.
    return [Finding(kind, detail, video=video.name) for kind, detail in dict.fromkeys(problems)]


def _size_problems(about: Description, look: Look) -> list[tuple[str, str]]:
    if (about.width, about.height) == (look.width, look.height):
        return []
    said = f"annotated {about.width}x{about.height}, the file shows {look.width}x{look.height}"
    if abs((look.width / look.height) / (about.width / about.height) - 1) <= ASPECT_SLACK:
        return [("size differs", said)]
    turned = (about.width, about.height) == (look.height, look.width)
    return [("shape differs", said + (": turned by a quarter" if turned else ""))]


def _length_problems(
    video: AnnotatedVideo, about: Description, end: float, look: Look
) -> list[tuple[str, str]]:
    found = []
    if abs(about.frame_count - look.frames) > FRAME_SLACK:
        said = f"annotated {about.frame_count} frames, the file has {look.frames}"
        found.append(("frame count differs", said))
    if video.media != "video":
        return found  # pictures are shown when the annotation says
    seconds = about.clock.duration
    rates = f"{about.fps:g} and {float(Fraction(look.fps)):g} frames per second"
    if abs(seconds - look.duration) > SECONDS_SLACK:
        found.append(
            ("duration differs", f"annotated {seconds:.2f} s, the file {look.duration:.2f} s ({rates})")
        )
    if about.frame_times != look.frame_times and (late := look.clock.furthest(about.clock)) > 0.5 / about.fps:
        rate = "varies" if look.frame_times is not None else "is constant"
        said = f"the file's rate {rate}: the annotation puts frames up to {late:.2f} s away from it"
        found.append(("frame times differ", said))
    if end - look.duration > SECONDS_SLACK:
        found.append(("clip after the end", f"a clip ends at {end:.2f} s, the file at {look.duration:.2f} s"))
    return found


def _shared(videos: dict[str, AnnotatedVideo], looks: Looks) -> list[Finding]:
    """Videos in two splits, by their path or, under other names, by their content."""
    found = []
    for video in videos.values():
        if len(video.splits) > 1:
            ids = ", ".join(f"{split}: {record}" for split, record in video.splits.items())
            found.append(Finding(_overlap(video.splits), f"the same file in {ids}", video=video.name))
    alike: dict[str, list[AnnotatedVideo]] = defaultdict(list)
    for path, look in looks.by_path.items():
        if look.content:
            alike[look.content].append(videos[path])
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


def _in_words(about: Description) -> str:
    return f"{about.frame_count} frames of {about.width}x{about.height} at {about.fps:g} per second"
