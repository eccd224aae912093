"""Questions about a generated clip and their answers, each as a branch of its token tree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import IGNORE, Branch
from bridge_stg.prompting.templates import AFTER, BEFORE, WINDOW_WORDINGS, scan_text, seen_text, window_text
from bridge_stg.prompting.timestamps import named_second
from bridge_stg.shapes.drawn_frames import sample_times
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import Scene
from bridge_stg.shapes.world.questions import WorldQuestion, questions, random_sentence
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.types import AnswerStyle, TimeSpan

# Says who is meant before <det>, so that the bridging queries can read it.
NAMED = "Here is the {name}."
BEGINS, ENDS = "begins", "ends"
# An action that fills less than this of the time between the frames of a pair is not seen in it, and one that
# leaves less than this open fills it.
MARGIN = 0.15
# Standard deviation in seconds of the times that windows are told with. A scan leaves half a second open for
# either end; among equally likely tenths a greedy answer says any, among blurred ones that in the middle.
BLUR = 0.15


def scan_branches(
    asked: list[WorldQuestion],
    scene: Scene,
    pair_spans: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Who is meant, and whether the action is to be seen in every second, each to be judged from the clip."""
    found = []
    for question in spread(asked, "vtg", count):
        index, kind = question.object_index, question.kind
        assert index is not None
        assert kind is not None
        found.append(_judged(question.query, scene, index, kind, pair_spans, processor, rng, learns_name=True))
    return found


def contrast_branches(
    scene: Scene,
    pair_spans: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Scans of one object for what another one does, which it may do too, at another time; its name is given.

    Where only those that act are asked about, "something spins" is nearly always as good as "the red star
    spins" (docs/log.md).
    """
    if len(scene.objects) < 2:
        return []
    events = [(index, action.kind) for index, item in enumerate(scene.objects) for action in item.actions]
    found: list[Branch] = []
    for _ in range(count):
        actor, kind = events[int(rng.integers(len(events)))]
        # Those that are easily taken for the actor twice as often: they share its colour or its shape.
        others = [index for index in range(len(scene.objects)) if index != actor]
        alike = [index for index in others if _alike(scene, index, actor)]
        judged = int(rng.choice(others + alike))
        query = random_sentence(scene, judged, kind, rng)
        found.append(_judged(query, scene, judged, kind, pair_spans, processor, rng, learns_name=False))
    return found


def _alike(scene: Scene, first: int, second: int) -> bool:
    one, other = scene.objects[first], scene.objects[second]
    return one.colour == other.colour or one.shape == other.shape


def _judged(
    query: str,
    scene: Scene,
    index: int,
    kind: str,
    pair_spans: NDArray[np.float64],
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
    learns_name: bool,
) -> Branch:
    """A scan of one object, whose words are learned, and with ``learns_name`` all that stands before them.

    The model reads random words where it has to say the true ones, because a scan is easily continued from the
    words before, and then nothing is learned from the clip (docs/log.md).
    """
    name, seconds = scene.objects[index].name, [named_second(first) for first in pair_spans[:, 0]]
    seen = seen_in_pairs(scene, index, kind, pair_spans)
    words = (BEFORE, BEGINS, kind.split()[-1], ENDS, AFTER)
    read = [words[place] for place in rng.integers(len(words), size=len(seen))]
    true = scan_words(seen, read)
    wrong = [words[words.index(word) - 1] for word in true]
    said, differs, shown = (
        processor.branch("vtg", query, _scan(name, kind, seconds, scan), False, style_asked(processor, "scan"))
        for scan in (true, wrong, read)
    )
    # The seconds between the words are known beforehand.
    differ = [ours != theirs for ours, theirs in zip(said.ids, differs.ids, strict=True)]
    learned_before = differ.index(True) if learns_name else 0
    labels = tuple(
        label if word or place < learned_before else IGNORE
        for place, (label, word) in enumerate(zip(said.labels, differ, strict=True))
    )
    return Branch(ids=shown.ids, labels=labels)


def name_branches(
    asked: list[WorldQuestion], scene: Scene, skip: int, count: int, processor: BridgeSTGProcessor
) -> list[Branch]:
    """Who is meant, as scans begin: the hardest word of an answer, at a third of a scan's tokens.

    ``skip`` questions are asked in full already.
    """
    found = []
    for question in spread(asked, "vtg", skip + count)[skip:]:
        assert question.object_index is not None
        assert question.kind is not None
        scan = _scan(scene.objects[question.object_index].name, question.kind, [0], [BEFORE])
        begun = scan[: scan.index(":") + 1]
        told = processor.branch("vtg", question.query, begun, False, style_asked(processor, "scan"))
        # An answer goes on here: that it ends is not learned.
        found.append(Branch(ids=told.ids[:-1], labels=told.labels[:-1]))
    return found


def _scan(name: str, kind: str, seconds: list[int], words: list[str]) -> str:
    return scan_text(name, kind, list(zip(seconds, words, strict=True)))


def seen_in_pairs(scene: Scene, index: int, kind: str, pair_spans: NDArray[np.float64]) -> list[str]:
    """What is seen of an action between the frames of each pair, (P, 2) seconds: "" for nothing.

    The action's own word instead of a yes: it is what the model sees and what it is asked for, and the sum of
    both evidences is all that it takes to say it. A pair that the action fills in part says which end of it
    this is: half a move looks like a short one, and so its time is told to half a second.
    """
    word = kind.split()[-1]
    actions = [action for action in scene.objects[index].actions if action.kind == kind]
    _, visible = boxes(scene, pair_spans.mean(axis=1))
    found = []
    for (first, last), shown in zip(pair_spans.tolist(), visible[index], strict=True):
        seen = ""
        for action in actions:
            filled = min(last, action.end) - max(first, action.start)
            if shown and filled > MARGIN * (last - first):
                part = filled < (1 - MARGIN) * (last - first)
                seen = word if not part else BEGINS if action.start > first else ENDS
        found.append(seen)
    return found


def scan_words(seen: list[str], read: list[str] | None = None) -> list[str]:
    """The word of each second: what is seen, else "before", or "after" once ``read`` says that it was seen.

    ``read`` are the words that the model reads, by default those that are returned.
    """
    words: list[str] = []
    named = False
    for number, here in enumerate(seen):
        words.append(here or (AFTER if named else BEFORE))
        named |= (words if read is None else read)[number] not in (BEFORE, AFTER)
    return words


def window_branches(
    asked: list[WorldQuestion],
    scene: Scene,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
    pair_spans: NDArray[np.float64],
    style: AnswerStyle = "scan",
) -> list[Branch]:
    """Temporal grounding: the window, after a scan if that is the style of answers."""
    return [
        processor.branch(
            "vtg",
            question.query,
            window_answer(scene, question, rng, pair_spans, style),
            False,
            style_asked(processor, style),
        )
        for question in spread(asked, "vtg", count)
    ]


def retold_branches(count: int, processor: BridgeSTGProcessor, rng: np.random.Generator) -> list[Branch]:
    """Windows to be read off the scans of another scene, which is not shown: what a window means, in words."""
    if not count:
        return []
    scene = make_scene(int(rng.integers(2**40)))
    times = sample_times(scene, processor.config.sample_fps)
    pair_spans = times[frame_pairs(len(times))]
    found = []
    for question in spread(questions(scene, rng), "vtg", count):
        answer = window_answer(scene, question, rng, pair_spans)
        told = processor.branch("vtg", question.query, answer, False, style_asked(processor, "scan"))
        window = processor.plain_ids(answer[answer.index(".") + 1 :])
        # The scan cannot be known without the clip; what follows from it can.
        known = len(told.ids) - len(window) - 1
        labels = (*(IGNORE,) * known, *told.labels[known:])
        found.append(Branch(ids=told.ids, labels=labels, attach=0))
    return found


def style_asked(processor: BridgeSTGProcessor, style: AnswerStyle) -> AnswerStyle | None:
    """The style to ask for, if the model is to know it by a name."""
    return style if style in processor.config.answer_styles else None


def spread(asked: list[WorldQuestion], task: str, count: int) -> list[WorldQuestion]:
    """Up to ``count`` questions of a task about different events as far as there are any."""
    pool = [question for question in asked if question.task == task]
    first: dict[object, WorldQuestion] = {}
    for question in pool:
        first.setdefault((question.object_index, question.window, question.answer), question)
    chosen = list(first.values())[:count]
    rest = [question for question in pool if question not in chosen]
    return chosen + rest[: count - len(chosen)]


def window_answer(
    scene: Scene,
    question: WorldQuestion,
    rng: np.random.Generator,
    pair_spans: NDArray[np.float64],
    style: AnswerStyle = "scan",
) -> str:
    """The window, blurred; before it a scan of the frame pairs, (P, 2) first and last seconds."""
    assert question.window is not None
    assert question.object_index is not None
    assert question.kind is not None
    start, end = sorted(np.array([question.window.start, question.window.end]) + rng.normal(0, BLUR, 2))
    last = min(max(float(end), 0.1), scene.duration)
    window = TimeSpan(min(max(float(start), 0.0), last), last)
    text = window_text(window, WINDOW_WORDINGS[int(rng.integers(len(WINDOW_WORDINGS)))])
    if style == "direct":
        return text
    name, seconds = (
        scene.objects[question.object_index].name,
        [named_second(first) for first in pair_spans[:, 0]],
    )
    seen = seen_in_pairs(scene, question.object_index, question.kind, pair_spans)
    scan = _scan(name, question.kind, seconds, scan_words(seen))
    # An action that is over before the next pair is seen at the second it begins.
    shown = [second for second, here in zip(seconds, seen, strict=True) if here] or [int(question.window.start)]
    return f"{scan} {seen_text(shown[0], shown[-1])} {text}"
