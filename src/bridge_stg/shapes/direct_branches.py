"""Questions answered directly, in the paper's own form, with the evidence that each answer rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import IGNORE, Branch
from bridge_stg.prompting.templates import ABSENT, choices_text
from bridge_stg.shapes.branches import NAMED, seen_in_pairs, spread, style_asked, window_answer
from bridge_stg.shapes.evidence import (
    NOWHERE,
    ClipMap,
    Evidence,
    LedBranch,
    bridge_evidence,
    event_cells,
    window_evidence,
)
from bridge_stg.shapes.world.absent import absent_questions
from bridge_stg.shapes.world.describing import Appearance, Description
from bridge_stg.shapes.world.objects import Scene
from bridge_stg.shapes.world.questions import LETTERS, WorldQuestion, sentence
from bridge_stg.types import Task

TURN_END = "<|im_end|>"
SPACE = "Ġ"


@dataclass(frozen=True)
class AskedClip:
    """What can be asked about a clip; ``pair_spans`` (P, 2) are the first and last seconds of its pairs."""

    scene: Scene
    asked: list[WorldQuestion]
    times: NDArray[np.float64]
    pair_spans: NDArray[np.float64]
    map: ClipMap
    processor: BridgeSTGProcessor
    rng: np.random.Generator


def direct_branch(clip: AskedClip, question: WorldQuestion, task: Task) -> Branch:
    """A window, answered directly."""
    answer = window_answer(clip.scene, question, clip.rng, clip.pair_spans, "direct")
    style = style_asked(clip.processor, "direct")
    branch = clip.processor.branch(task, question.query, answer, False, style)
    if task == "stvg":
        # That the answer ends without <det> is learned of vtg alone.
        branch = Branch(ids=branch.ids[:-1], labels=branch.labels[:-1])
    return led_window(clip, question, branch)


def led_window(clip: AskedClip, question: WorldQuestion, branch: Branch) -> Branch:
    """A direct answer with its evidence."""
    assert question.object_index is not None
    assert question.kind is not None
    seen = seen_in_pairs(clip.scene, question.object_index, question.kind, clip.pair_spans)
    digits = _numbers(branch, clip.processor)
    evidence = window_evidence(digits, seen, question.object_index, clip.map)
    return _led(_found(clip, question.object_index, seen, branch), evidence)


def found_branch(clip: AskedClip, question: WorldQuestion, branch: Branch) -> LedBranch:
    """An answer that is given because the event is found; its bridging queries ask for the object."""
    assert question.object_index is not None
    assert question.kind is not None
    seen = seen_in_pairs(clip.scene, question.object_index, question.kind, clip.pair_spans)
    return _found(clip, question.object_index, seen, branch)


def _found(clip: AskedClip, index: int, seen: Sequence[str], branch: Branch) -> LedBranch:
    keys = event_cells(seen, index, clip.map)
    found = [Evidence(_answer_start(branch) - 1, keys, "found")] if keys else []
    return _led(branch, found + _asks_where(branch, clip, keys))


def _asks_where(branch: Branch, clip: AskedClip, keys: tuple[int, ...]) -> list[Evidence]:
    # The queries of a parallel model ask for one frame each.
    bridged = branch.reads_bridge and clip.processor.config.objective == "bridge"
    return bridge_evidence(branch, keys) if bridged else []


def _led(branch: Branch, evidence: Sequence[Evidence]) -> LedBranch:
    """A branch with more evidence than it may have had."""
    before = branch.evidence if isinstance(branch, LedBranch) else ()
    fields = {field.name: getattr(branch, field.name) for field in dataclasses.fields(Branch)}
    return LedBranch(**fields, evidence=(*before, *evidence))


def direct_branches(clip: AskedClip, count: int) -> list[Branch]:
    """Windows answered directly, asked with and without <det> to come."""
    return [
        direct_branch(clip, question, "vtg" if clip.rng.random() < 0.5 else "stvg")
        for question in spread(clip.asked, "vtg", count)
    ]


def named_branches(clip: AskedClip, count: int) -> list[Branch]:
    """The same of objects that are named in full: who is meant is then no riddle."""
    events: dict[tuple[int | None, str | None], WorldQuestion] = {}
    for question in clip.asked:
        if question.task == "vtg":
            events.setdefault((question.object_index, question.kind), question)
    found = []
    for question in list(events.values())[:count]:
        assert question.object_index is not None
        assert question.kind is not None
        item = clip.scene.objects[question.object_index]
        described = Description(Appearance(item.colour, item.shape), question.kind)
        query = sentence(clip.scene, described, bool(clip.rng.random() < 0.5), clip.rng)
        task: Task = "vtg" if clip.rng.random() < 0.5 else "stvg"
        found.append(direct_branch(clip, replace(question, query=query), task))
    return found


def absent_branches(clip: AskedClip, count: int) -> list[Branch]:
    """What does not happen, refused in either style."""
    found: list[Branch] = []
    for question in absent_questions(clip.scene, clip.rng, count):
        task = "vtg" if clip.rng.random() < 0.5 else "stvg"
        style = style_asked(clip.processor, "direct" if clip.rng.random() < 0.5 else "scan")
        branch = clip.processor.branch(task, question.query, ABSENT, locates=False, style=style)
        found.append(_led(branch, [Evidence(_answer_start(branch) - 1, (NOWHERE,), "found")]))
    return found


def choice_branches(clip: AskedClip, count: int) -> list[Branch]:
    """Multiple choice: the answer in words, and then its letter, which is read off the choices."""
    found: list[Branch] = []
    for question in spread(clip.asked, "vqa", count):
        answer = f"{question.answer} ({question.choice_letter})"
        asked = choices_text(question.query, question.choices)
        branch = clip.processor.branch("vqa", asked, answer, locates=False)
        words = clip.processor.tokenizer.convert_ids_to_tokens(list(branch.ids))
        first = _answer_start(branch)
        letters = [place for place, word in enumerate(words) if word == question.choice_letter]
        evidence = []
        listed = [place for place in letters if place < first and words[place - 1] == "("]
        said = [place for place in letters if place >= first]
        if listed and said:
            # The words of the right choice know their letter, which stands before them; it does not know them.
            evidence += _letters(words, first, said[-1] - 1, question.choice_letter)

        if question.kind is not None and question.object_index is not None:
            seen = seen_in_pairs(clip.scene, question.object_index, question.kind, clip.pair_spans)
            event = event_cells(seen, question.object_index, clip.map)
            if event:
                evidence.append(Evidence(first - 1, event, "found"))
        elif question.answer == "no":
            evidence.append(Evidence(first - 1, (NOWHERE,), "found"))
        found.append(_led(branch, evidence))
    return found


def _letters(words: Sequence[str], first: int, said: int, right: str | None) -> list[Evidence]:
    """What the words of the choices look at, and the token ``said`` before the right letter of the answer.

    The answer begins at ``first``; ``said`` looks at its words, and then knows which choice to look for.
    """
    asked = words[:first]
    opened = [place for place, word in enumerate(asked) if word == "(" and asked[place + 1] in LETTERS]
    answered = tuple(place for place in range(first, said) if words[place] != SPACE)
    found = [Evidence(said, answered, "letter", own=True)]
    for begin, end in zip(opened, [*opened[1:], asked.index(TURN_END, opened[-1])], strict=True):
        # Between the bracket that closes a letter and the space before the next one.
        inside = tuple(place for place in range(begin + 3, end) if words[place] != SPACE)
        found += [Evidence(place, (begin + 1,), "letter", own=True) for place in inside]
        if words[begin + 1] == right:
            found.append(Evidence(said, inside, "choice", own=True))
    return found


def led_spot(clip: AskedClip, question: WorldQuestion, branch: Branch) -> Branch:
    """An answer that names the object at a given box, with its evidence."""
    assert question.object_index is not None
    assert question.time is not None
    keys = clip.map.spot(question.object_index, question.time, clip.times)
    # "Here is the" come first; colour and shape are each known at the token before them.
    first = _answer_start(branch) + 3
    evidence = [Evidence(first + ahead - 1, keys, "place") for ahead in (0, 1) if keys]
    everywhere = tuple(key for cells in clip.map.cells[question.object_index] for key in cells)
    return _led(branch, evidence + _asks_where(branch, clip, everywhere))


def spot_branches(clip: AskedClip, count: int, skip: int = 0) -> list[Branch]:
    """Objects named by a box; ``skip`` questions are asked already."""
    found = []
    for question in spread(clip.asked, "vot", skip + count)[skip:]:
        assert question.object_index is not None
        answer = NAMED.format(name=clip.scene.objects[question.object_index].name)
        branch = clip.processor.branch("vot", question.query, answer, locates=False)
        found.append(led_spot(clip, question, branch))
    return found


def _answer_start(branch: Branch) -> int:
    return next(place for place, label in enumerate(branch.labels) if label != IGNORE)


def _numbers(branch: Branch, processor: BridgeSTGProcessor) -> list[int]:
    """The places of the answer's whole seconds and tenths."""
    words = processor.tokenizer.convert_ids_to_tokens(list(branch.ids))
    first = _answer_start(branch)
    return [place for place in range(first, len(words)) if words[place].isdigit() or words[place][1:].isdigit()]
