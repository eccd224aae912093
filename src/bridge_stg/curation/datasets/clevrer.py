"""CLEVRER: questions about collisions in rendered videos of 128 frames at 25 per second.

Descriptive questions have one word as the answer. The others have options of which none, one or all can be
right: ``labels`` says so per option, and a question counts as answered only when all of them are.
``question_id`` starts again at 0 in every scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from bridge_stg.curation.reading.folder import Videos, read_json
from bridge_stg.curation.reading.outcome import Origin, Outcome, Unusable, attempt, take
from bridge_stg.curation.reading.request import Request
from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.records.record import TruthRecord

SPLITS = ("train", "validation")
HIDDEN = {"test": "its answers are not public"}
FACTS = VideoFacts(fps=25.0, frame_count=128, width=480, height=320)
KINDS = ("descriptive", "explanatory", "predictive", "counterfactual")
WORDS = {
    *"012345",
    *("yes", "no", "rubber", "metal", "sphere", "cube", "cylinder"),
    *("gray", "red", "blue", "green", "brown", "cyan", "purple", "yellow"),
}


def read(request: Request) -> Iterator[Outcome]:
    """One outcome per question."""
    name = f"{request.split}.json"
    path = request.folder.find(name, f"questions/{name}", what="CLEVRER's questions")
    where = request.folder.relative(path)

    # The archives are unpacked into folders of different names; the files' own names are unique.
    place = f"video_{request.split}"
    videos = Videos(request.folder, place, "videos", "video", check=request.check_videos)
    for number, scene in enumerate(read_json(path, list)):
        questions = scene.get("questions") if isinstance(scene, dict) else None
        if not isinstance(questions, list):
            bad = Unusable("malformed", "a scene needs a list of questions")
            yield Outcome(f"clevrer/{request.split}/row{number}", f"{where}#{number}", "", unusable=bad)
            continue

        video = str(scene.get("video_filename"))
        for position, question in enumerate(questions):
            kind = question.get("question_type") if isinstance(question, dict) else None
            identity = f"clevrer/{request.split}/{scene.get('scene_index')}-{position}"
            provenance = f"{where}#{number} questions[{position}]"
            origin = Origin("clevrer", request.split, identity, provenance)
            counted = ("questions", kind) if kind in KINDS else ("questions",)
            yield attempt(origin, video, counted, partial(_record, scene, question, videos))


def _record(scene: Any, question: Any, videos: Videos, origin: Origin, notes: list[str]) -> TruthRecord:
    index, name = take(scene, "scene_index", int), take(scene, "video_filename", str)
    if name != f"video_{index:05d}.mp4":
        raise Unusable("scene and video do not belong together", f"scene {index}, {name}")
    kind = take(question, "question_type", str)
    if kind not in KINDS:
        raise Unusable("an unknown type of question", repr(kind))

    answer: dict[str, Any]
    if kind == "descriptive":
        answer = {"answer": take(question, "answer", str), "category": question.get("question_subtype")}
        if answer["answer"] not in WORDS:
            raise Unusable("the answer is not one of CLEVRER's words", repr(answer["answer"]))
    else:
        options = take(question, "choices", list)
        verdicts = [take(option, "answer", str) for option in options]
        if not options or not set(verdicts) <= {"correct", "wrong"}:
            raise Unusable("an option is neither correct nor wrong", str(verdicts))
        choices = tuple(take(option, "choice", str) for option in options)
        answer = {"choices": choices, "labels": tuple(verdict == "correct" for verdict in verdicts)}

    thousand = index // 1000 * 1000
    video = videos.path(f"video_{thousand:05d}-{thousand + 1000:05d}/{name}")
    query = take(question, "question", str)
    return origin.record("vqa", video, FACTS, query, qtype="interrogative", kind=kind, **answer)
