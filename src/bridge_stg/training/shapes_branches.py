"""What is asked about a generated clip and what is answered, each as a branch of its token tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bridge_stg.data.shapes.motion import boxes
from bridge_stg.data.shapes.objects import COLOURS, SHAPES, Scene
from bridge_stg.data.shapes.questions import Question, captions, questions, untrue_sentence
from bridge_stg.data.shapes.world import make_scene
from bridge_stg.geometry.spans import frame_pairs, pair_times
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import ClipLayout
from bridge_stg.model.token_layout import IGNORE, Branch
from bridge_stg.prompting.templates import WINDOW_WORDINGS, choices_text, scan_text, seen_text, window_text
from bridge_stg.prompting.timestamps import timestamp_text
from bridge_stg.training.shapes_frames import sample_times
from bridge_stg.types import TimeSpan

MOMENT = "What happens at this time? {time}"
# Says who is meant before <det>, so that the bridging queries can read it.
NAMED = "Here is the {name}."
BEFORE, AFTER = "before", "after"
# Standard deviation in seconds of the times that windows are told with. A scan leaves most of a second open for
# either end; among equally likely tenths a greedy answer says any, among blurred ones that in the middle.
BLUR = 0.25


def caption_branches(
    scene: Scene,
    times: NDArray[np.float64],
    layout: ClipLayout,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """What every object does in one frame pair, attached right after the pair."""
    pairs = frame_pairs(len(times))
    whole = np.flatnonzero(pairs[:, 0] != pairs[:, 1])  # a repeated frame shows no motion
    texts = {
        int(pair): captions(scene, float(times[pairs[pair, 0]]), float(times[pairs[pair, 1]])) for pair in whole
    }
    # Objects rest most of the time; pairs in which something happens are drawn more often.
    busy = np.array(
        [1.0 + 3.0 * sum(not text.endswith("rests") for text in texts[int(pair)]) for pair in whole]
    )
    drawn = rng.choice(whole, size=min(count, len(whole)), replace=False, p=busy / busy.sum())
    return [
        processor.caption_branch(caption_text(texts[int(pair)]), layout, int(pair)) for pair in np.sort(drawn)
    ]


def moment_branches(
    scene: Scene,
    times: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """What every object does at a given time, asked after the clip."""
    pairs, stamps = frame_pairs(len(times)), pair_times(times)
    whole = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
    found = []
    for pair in rng.permutation(whole)[:count]:
        text = caption_text(captions(scene, float(times[pairs[pair, 0]]), float(times[pairs[pair, 1]])))
        question = MOMENT.format(time=timestamp_text(float(stamps[pair])))
        found.append(processor.branch("vqa", question, text, locates=False))
    return found


def lookup_branches(
    scene: Scene,
    times: NDArray[np.float64],
    layout: ClipLayout,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Captions and moments by turns, of the objects in any order: what each does is learned, its name is given.

    In captions from left to right the next object is found by its place; what is never learned then is to find
    an object by its name, which every question needs (docs/log.md).
    """
    pairs, stamps = frame_pairs(len(times)), pair_times(times)
    whole = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
    found = []
    for number, pair in enumerate(rng.permutation(np.resize(rng.permutation(whole), count))):
        phrases = captions(scene, float(times[pairs[pair, 0]]), float(times[pairs[pair, 1]]))
        mixed = [phrases[place] for place in rng.permutation(len(phrases))]
        question = MOMENT.format(time=timestamp_text(float(stamps[pair])))
        told, other = (
            processor.caption_branch(text, layout, int(pair))
            if number % 2
            else processor.branch("vqa", question, text, locates=False)
            for text in (caption_text(mixed), caption_text([_other_name(phrase) for phrase in mixed]))
        )
        # What differs with other names is a name, and given; the rest is learned.
        learned = [ours == theirs for ours, theirs in zip(told.ids, other.ids, strict=True)]
        found.append(replace(told, labels=_only(told.labels, learned)))
    return found


def _other_name(phrase: str) -> str:
    """ "red circle moves left" with another colour and another shape."""
    colour, shape, action = phrase.split(" ", 2)
    colours = list(COLOURS)
    return f"{colours[colours.index(colour) - 1]} {SHAPES[SHAPES.index(shape) - 1]} {action}"


def scan_branches(
    asked: list[Question],
    scene: Scene,
    slots: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Who is meant, and whether the action is to be seen in every second, each to be judged from the clip."""
    found = []
    for question in spread(asked, "vtg", count):
        assert question.object_index is not None
        assert question.kind is not None
        branch, word = _judged(
            question.query, scene, question.object_index, question.kind, slots, processor, rng
        )
        # The name and the words are learned; the seconds between them are known beforehand.
        known = word.index(True)
        labels = (*branch.labels[:known], *_only(branch.labels, word)[known:])
        found.append(replace(branch, labels=labels))
    return found


def contrast_branches(
    scene: Scene,
    slots: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Scans of one object for what another one does.

    Where only the object that acts is asked about, "something spins" is nearly always as good as "the red star
    spins", and nothing is learned about who does what (docs/log.md).
    """
    events = [(index, action.kind) for index, item in enumerate(scene.objects) for action in item.actions]
    found: list[Branch] = []
    while len(found) < count and len(scene.objects) > 1 and events:
        actor, kind = events[int(rng.integers(len(events)))]
        # Whom it is easily taken for twice as often: objects that share its colour or its shape.
        others = [index for index in range(len(scene.objects)) if index != actor]
        alike = [index for index in others if _alike(scene, index, actor)]
        told = int(rng.choice(others + alike))
        branch, word = _judged(
            untrue_sentence(scene, told, kind, rng), scene, told, kind, slots, processor, rng
        )
        found.append(replace(branch, labels=_only(branch.labels, word)))
    return found


def _alike(scene: Scene, first: int, second: int) -> bool:
    one, other = scene.objects[first], scene.objects[second]
    return one.colour == other.colour or one.shape == other.shape


def _only(labels: tuple[int, ...], kept: list[bool]) -> tuple[int, ...]:
    return tuple(label if keep else IGNORE for label, keep in zip(labels, kept, strict=True))


def _judged(
    query: str,
    scene: Scene,
    told: int,
    kind: str,
    slots: NDArray[np.float64],
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> tuple[Branch, list[bool]]:
    """A scan of the object ``told``, and which of its tokens are words of the scan.

    The model reads random words where it has to say the true ones, because a scan is easily continued from the
    words before, and then nothing is learned from the clip (docs/log.md).
    """
    name, seconds = scene.objects[told].name, [int(first + 0.25) for first in slots[:, 0]]
    seen = seen_in_pairs(scene, told, kind, slots)
    words = (BEFORE, kind.split()[-1], AFTER)
    read = [words[place] for place in rng.integers(3, size=len(seen))]
    true = scan_words(kind, seen, read)
    wrong = [words[words.index(word) - 1] for word in true]
    said, differs, shown = (
        processor.branch("vtg", query, _scan(name, kind, seconds, scan), locates=False)
        for scan in (true, wrong, read)
    )
    word = [ours != theirs for ours, theirs in zip(said.ids, differs.ids, strict=True)]
    return Branch(ids=shown.ids, labels=said.labels), word


def name_branches(
    asked: list[Question], scene: Scene, skip: int, count: int, processor: BridgeSTGProcessor
) -> list[Branch]:
    """Who is meant, as scans begin: the hardest word of an answer, at a third of a scan's tokens.

    ``skip`` questions are asked in full already.
    """
    found = []
    for question in spread(asked, "vtg", skip + count)[skip:]:
        assert question.object_index is not None
        assert question.kind is not None
        scan = _scan(scene.objects[question.object_index].name, question.kind, [0], [BEFORE])
        told = processor.branch("vtg", question.query, scan[: scan.index(":") + 1], locates=False)
        # An answer goes on here: that it ends is not learned.
        found.append(Branch(ids=told.ids[:-1], labels=told.labels[:-1]))
    return found


def _scan(name: str, kind: str, seconds: list[int], words: list[str]) -> str:
    return scan_text(name, kind, list(zip(seconds, words, strict=True)))


def seen_in_pairs(scene: Scene, index: int, kind: str, slots: NDArray[np.float64]) -> list[bool]:
    """Whether an action of an object fills more than half of each slot (P, 2) of time and is in the frame."""
    item = scene.objects[index]
    _, visible = boxes(scene, slots.mean(axis=1))
    return [
        bool(shown) and item.doing(first, last) == kind
        for (first, last), shown in zip(slots.tolist(), visible[index], strict=True)
    ]


def scan_words(kind: str, seen: list[bool], read: list[str] | None = None) -> list[str]:
    """The word of each second; "after" once the action was named in ``read``, by default the words themselves.

    The action's own word instead of a yes: it is what the model sees and what it is asked for, and the sum of
    both evidences is all that it takes to say it.
    """
    words: list[str] = []
    named = False
    for number, shown in enumerate(seen):
        words.append(kind.split()[-1] if shown else AFTER if named else BEFORE)
        named |= (words if read is None else read)[number] == kind.split()[-1]
    return words


def window_branches(
    asked: list[Question],
    scene: Scene,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
    slots: NDArray[np.float64],
) -> list[Branch]:
    """Temporal grounding: a scan and the window."""
    return [
        processor.branch("vtg", question.query, window_answer(scene, question, rng, slots), locates=False)
        for question in spread(asked, "vtg", count)
    ]


def retold_branches(count: int, processor: BridgeSTGProcessor, rng: np.random.Generator) -> list[Branch]:
    """Windows to be read off the scans of another scene, which is not shown: what a window means, in words."""
    if not count:
        return []
    scene = make_scene(int(rng.integers(2**40)))
    times = sample_times(scene, processor.config.sample_fps)
    slots = times[frame_pairs(len(times))]
    found = []
    for question in spread(questions(scene, rng), "vtg", count):
        answer = window_answer(scene, question, rng, slots)
        told = processor.branch("vtg", question.query, answer, locates=False)
        window = processor.plain_ids(answer[answer.index(".") + 1 :])
        # The scan cannot be known without the clip; what follows from it can.
        known = len(told.ids) - len(window) - 1
        labels = (*(IGNORE,) * known, *told.labels[known:])
        found.append(Branch(ids=told.ids, labels=labels, attach=0))
    return found


def choice_branches(asked: list[Question], count: int, processor: BridgeSTGProcessor) -> list[Branch]:
    """Multiple choice: the letter of the answer."""
    return [
        processor.branch(
            "vqa", choices_text(question.query, question.choices), question.choice_letter or "", False
        )
        for question in spread(asked, "vqa", count)
    ]


def spread(asked: list[Question], task: str, count: int) -> list[Question]:
    """Up to ``count`` questions of a task about different events as far as there are any."""
    pool = [question for question in asked if question.task == task]
    first: dict[object, Question] = {}
    for question in pool:
        first.setdefault((question.object_index, question.window, question.answer), question)
    chosen = list(first.values())[:count]
    rest = [question for question in pool if question not in chosen]
    return chosen + rest[: count - len(chosen)]


def window_answer(
    scene: Scene, question: Question, rng: np.random.Generator, slots: NDArray[np.float64]
) -> str:
    """A scan of the frame pairs with first and last seconds ``slots`` (P, 2), and then the window, blurred."""
    assert question.window is not None
    assert question.object_index is not None
    assert question.kind is not None
    start, end = sorted(np.array([question.window.start, question.window.end]) + rng.normal(0, BLUR, 2))
    last = min(max(float(end), 0.1), scene.duration)
    window = TimeSpan(min(max(float(start), 0.0), last), last)
    text = window_text(window, WINDOW_WORDINGS[int(rng.integers(len(WINDOW_WORDINGS)))])
    name, seconds = scene.objects[question.object_index].name, [int(first + 0.25) for first in slots[:, 0]]
    seen = seen_in_pairs(scene, question.object_index, question.kind, slots)
    scan = _scan(name, question.kind, seconds, scan_words(question.kind, seen))
    # An action that is over before it fills half of a pair is seen at the second it begins.
    shown = [second for second, here in zip(seconds, seen, strict=True) if here] or [int(question.window.start)]
    return f"{scan} {seen_text(shown[0], shown[-1])} {text}"


def caption_text(phrases: list[str]) -> str:
    """The phrases of a caption as one sentence."""
    return ", ".join(phrases) if phrases else "nothing"
