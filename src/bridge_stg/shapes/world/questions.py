"""Questions about a scene with their answers: the five tasks of the multi-task tuning, in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bridge_stg.metrics.overlap import box_iou
from bridge_stg.prompting.given_box import GivenBox, given_text
from bridge_stg.records.record import QueryType
from bridge_stg.shapes.world.describing import (
    RELATIONS,
    Appearance,
    Candidate,
    Description,
    Relation,
    Timeline,
    looks_of,
)
from bridge_stg.shapes.world.motion import DIM_OPACITY, boxes, poses
from bridge_stg.shapes.world.objects import BASE_FORM, COLOURS, DIRECTIONS, ING_FORM, SHAPES, Scene
from bridge_stg.types import Task, TimeSpan

LETTERS = "ABCD"
# Questions with a relation that are kept per object, action and look, so that they do not swamp the others.
RELATIONS_PER_LOOK = 2
# Frames of a scene that are asked about as images.
REC_TIMES = 3

_SIDE = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}


@dataclass(frozen=True)
class WorldQuestion:
    """A question about one scene.

    ``window`` is in seconds: the visible part of the action (stvg, vtg), the whole clip (vot), None (rec, vqa).
    ``time`` is the second of the image asked about (rec) or of the given box (vot). ``answer`` is the text of
    the right choice (vqa), ``choice_letter`` its letter among ``choices``. ``kind`` is the action asked about
    (stvg, vtg), or the one that the answer rests on (vqa; None where it does not happen, and for a number).
    ``windows`` are all windows of an event that happens several times, in order of time; ``window`` is the
    first of them. ``absent`` says that nothing in the scene fits the query.
    """

    task: Task
    query: str
    qtype: QueryType
    object_index: int | None = None
    window: TimeSpan | None = None
    answer: str | None = None
    choices: tuple[str, ...] = ()
    choice_letter: str | None = None
    time: float | None = None
    kind: str | None = None
    windows: tuple[TimeSpan, ...] = ()
    absent: bool = False


def questions(scene: Scene, rng: np.random.Generator) -> list[WorldQuestion]:
    """All questions that the scene answers without doubt, in random order; deterministic by ``rng``."""
    timeline = Timeline(scene)
    grounded = _grounded(timeline, rng)
    found = [
        *grounded,
        *(replace(question, task="vtg") for question in grounded),
        *_tracking(timeline),
        *_referring(timeline, rng),
        *_choices(timeline, rng),
    ]
    return [found[position] for position in rng.permutation(len(found))]


def repeated_questions(scene: Scene, rng: np.random.Generator) -> list[WorldQuestion]:
    """Sentences that fit one object, which does it several times: all of the times are the answer."""
    timeline = Timeline(scene)
    fitting: dict[Description, list[Candidate]] = {}
    for candidate in timeline.candidates:
        for look in looks_of(scene.objects[candidate.index]):
            fitting.setdefault(Description(look, candidate.action.kind), []).append(candidate)
    found = []
    for description, candidates in fitting.items():
        windows = tuple(candidate.window for candidate in candidates if candidate.window is not None)
        doers = {candidate.index for candidate in candidates}
        # All or nothing: a time that is too short to be asked about would be right and count as wrong.
        if len(doers) > 1 or len(windows) < 2 or len(windows) < len(candidates):
            continue
        question = WorldQuestion(
            "stvg",
            sentence(scene, description, False, rng),
            "declarative",
            candidates[0].index,
            windows[0],
            kind=description.kind,
            windows=windows,
        )
        asked = sentence(scene, description, True, rng)
        found += [question, replace(question, query=asked, qtype="interrogative")]
    return [found[position] for position in rng.permutation(len(found))]


def captions(scene: Scene, start: float, end: float) -> list[str]:
    """What each visible object does in a span of at most about a second, from left to right.

    ``"red circle moves left"`` if that action covers more than half of ``[start, end)`` seconds, otherwise
    ``"red circle rests"``. An empty span (``start == end``, a single image) has no action: ``"red circle"``.
    """
    middle = np.array([(start + end) / 2])
    position, visible = boxes(scene, middle)
    centre = (position[:, 0, 0] + position[:, 0, 2]) / 2
    phrases = []
    for index in np.argsort(centre, kind="stable"):
        if not visible[index, 0]:
            continue
        item = scene.objects[index]
        phrase = item.name
        if end > start:
            phrase += f" {item.doing(start, end)}"
        phrases.append(phrase)
    return phrases


def random_sentence(scene: Scene, index: int, kind: str, rng: np.random.Generator) -> str:
    """A sentence as it might be asked about an object, true or not; the scene has two or more."""
    looks = looks_of(scene.objects[index])
    relation = None
    # As in Timeline.unique_descriptions: moves get no relation.
    if kind not in DIRECTIONS and rng.random() < 0.5:
        others = [other for other in range(len(scene.objects)) if other != index]
        relation = Relation(RELATIONS[rng.integers(len(RELATIONS))], int(rng.choice(others)))
    description = Description(looks[rng.integers(len(looks))], kind, relation)
    return sentence(scene, description, bool(rng.random() >= 0.5), rng)


def sentence(scene: Scene, description: Description, asks: bool, rng: np.random.Generator) -> str:
    """A description in words: a question if it ``asks``, else a phrase."""
    return (_interrogative if asks else _declarative)(scene, description, rng)


def _noun(look: Appearance, plain: str = "object") -> str:
    """ "red circle", "circle", "red shape" or ``plain``."""
    if look.shape is not None:
        return look.shape if look.colour is None else f"{look.colour} {look.shape}"
    return plain if look.colour is None else f"{look.colour} {'shape' if plain == 'object' else plain}"


def _tail(scene: Scene, relation: Relation | None) -> str:
    if relation is None:
        return ""
    return f" {_SIDE[relation.side]} the {scene.objects[relation.reference].name}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _declarative(scene: Scene, description: Description, rng: np.random.Generator) -> str:
    noun, tail = _noun(description.look), _tail(scene, description.relation)
    article = "the" if rng.random() < 0.7 else _article(noun)
    if rng.random() < 0.7:
        return f"{article} {noun} that {description.kind}{tail}"
    return f"{article} {noun} {ING_FORM[description.kind]}{tail}"


def _interrogative(scene: Scene, description: Description, rng: np.random.Generator) -> str:
    look, tail = description.look, _tail(scene, description.relation)
    if look == Appearance():
        subject = "what" if rng.random() < 0.5 else "which object"
    else:
        subject = f"{'which' if rng.random() < 0.7 else 'what'} {_noun(look, plain='object')}"
        if look.shape is None and rng.random() < 0.5:
            subject = subject.replace(" shape", " object")
    return f"{subject} {description.kind}{tail}?"


def _grounded(timeline: Timeline, rng: np.random.Generator) -> list[WorldQuestion]:
    """STVG: each unique description once as a phrase and once as a question."""
    plain: list[tuple[Candidate, Description]] = []
    related: dict[tuple[int, str, Appearance], list[tuple[Candidate, Description]]] = {}
    for candidate, description in timeline.unique_descriptions():
        if description.relation is None:
            plain.append((candidate, description))
        else:
            key = (candidate.index, description.kind, description.look)
            related.setdefault(key, []).append((candidate, description))

    # Of those with a relation only some.
    for group in related.values():
        plain += [group[position] for position in rng.permutation(len(group))[:RELATIONS_PER_LOOK]]

    found = []
    for candidate, description in plain:
        index, window = candidate.index, candidate.window
        phrase = _declarative(timeline.scene, description, rng)
        found.append(WorldQuestion("stvg", phrase, "declarative", index, window, kind=description.kind))
        asked = _interrogative(timeline.scene, description, rng)
        found.append(WorldQuestion("stvg", asked, "interrogative", index, window, kind=description.kind))
    return found


def _tracking(timeline: Timeline) -> list[WorldQuestion]:
    """VOT: the query holds an object's first visible box as text, and its time if that is not the start."""
    found = []
    whole = TimeSpan(0.0, timeline.scene.duration)
    for index, visible in enumerate(timeline.visible):
        seen = np.flatnonzero(visible)
        if len(seen) < float(timeline.scene.fps):
            continue
        first = int(seen[0])
        here = timeline.boxes[:, first]
        # A box that another object fills as well names neither.
        if (box_iou(here[index], np.delete(here, index, axis=0)) > 0.5).any():
            continue

        x1, y1, x2, y2 = here[index].tolist()
        time = float(timeline.times[first])
        query = given_text("track the object", GivenBox((x1, y1, x2, y2), time if first else 0.0))
        found.append(WorldQuestion("vot", query, "declarative", index, whole, time=time))
    return found


def _referring(timeline: Timeline, rng: np.random.Generator) -> list[WorldQuestion]:
    """REC: phrases that fit exactly one object of a single image."""
    scene = timeline.scene
    found = []
    for frame in rng.integers(0, scene.frame_count, REC_TIMES):
        moment = np.array([frame])
        time = float(timeline.times[frame])

        # An object of which only a sliver shows still counts as a rival, but is not asked about.
        partly = [i for i, box in enumerate(timeline.boxes[:, frame]) if (box[2:] > box[:2]).all()]
        loose = {index: timeline.relations(index, moment, clearly=False) for index in partly}
        for index in partly:
            faint = float(poses(scene, index, timeline.times[moment]).opacity[0]) <= DIM_OPACITY
            if faint or not timeline.visible[index, frame]:
                continue
            clear = timeline.relations(index, moment, clearly=True)

            # A phrase is the look alone where no rival has it, and the look with a relation that no rival has.
            for look in looks_of(scene.objects[index])[:3]:
                rivals = [i for i in partly if i != index and look.fits(scene.objects[i])]
                phrases = [] if rivals else [f"the {_noun(look)}"]
                unique = [
                    relation
                    for relation in clear
                    if relation.reference not in rivals and not any(relation in loose[i] for i in rivals)
                ]
                if unique:
                    relation = unique[rng.integers(len(unique))]
                    phrases.append(f"the {_noun(look)}{_tail(scene, relation)}")
                found += [WorldQuestion("rec", phrase, "declarative", index, time=time) for phrase in phrases]
    return found


def _ask(
    rng: np.random.Generator,
    query: str,
    answer: str,
    others: list[str],
    index: int | None = None,
    kind: str | None = None,
) -> WorldQuestion:
    """A vqa question with the answer and up to three others as lettered choices in random order."""
    pool = [other for other in others if other != answer]
    wrong = [pool[position] for position in rng.permutation(len(pool))[: len(LETTERS) - 1]]
    options = [answer, *wrong]
    choices = tuple(options[position] for position in rng.permutation(len(options)))
    letter = LETTERS[choices.index(answer)]
    return WorldQuestion("vqa", query, "interrogative", index, None, answer, choices, letter, kind=kind)


def _choices(timeline: Timeline, rng: np.random.Generator) -> list[WorldQuestion]:
    """VQA: colour, shape, action and number, with lettered choices."""
    scene = timeline.scene
    found = []

    # What colour and what shape is the one that does this?
    for candidate, description in timeline.unique_descriptions():
        if description.relation is not None:
            continue
        item, look, kind = scene.objects[candidate.index], description.look, description.kind
        if look.colour is None:
            query = f"what colour is the {_noun(look)} that {kind}?"
            found.append(_ask(rng, query, item.colour, list(COLOURS), candidate.index, kind))
        if look.shape is None:
            noun = "object" if look.colour is None else f"{look.colour} object"
            query = f"what shape is the {noun} that {kind}?"
            found.append(_ask(rng, query, item.shape, list(SHAPES), candidate.index, kind))

    # Does this one do that, and what does it do?
    seen = [index for index in range(len(scene.objects)) if timeline.visible[index].any()]
    for index in seen:
        item = scene.objects[index]
        done = [action.kind for action in item.actions]
        shown = [c.action.kind for c in timeline.candidates if c.index == index and c.window is not None]
        not_done = [kind for kind in scene.actions if kind not in done]

        # As many questions whose answer is no as questions whose answer is yes.
        absent = [not_done[position] for position in rng.permutation(len(not_done))[: len(shown)]]
        for kinds, answer in ((shown, "yes"), (absent, "no")):
            for kind in kinds:
                query = f"does the {item.name} {BASE_FORM[kind]}?"
                rests_on = kind if answer == "yes" else None
                found.append(_ask(rng, query, answer, ["yes", "no"], index, rests_on))
        if shown:
            kind = shown[rng.integers(len(shown))]
            found.append(_ask(rng, f"what does the {item.name} do?", kind, not_done, index, kind))

    # How many are there? Counts are over the whole clip: an object that is never visible must not be in them.
    if len(seen) == len(scene.objects):
        for shape in _present_and_one_absent(rng, SHAPES, {item.shape for item in scene.objects}):
            count = sum(item.shape == shape for item in scene.objects)
            found.append(_count(rng, f"how many {_plural(shape)} are there?", count))
        for colour in _present_and_one_absent(rng, tuple(COLOURS), {item.colour for item in scene.objects}):
            count = sum(item.colour == colour for item in scene.objects)
            found.append(_count(rng, f"how many {colour} objects are there?", count))
    return found


def _plural(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"


def _present_and_one_absent(rng: np.random.Generator, words: tuple[str, ...], present: set[str]) -> list[str]:
    absent = [word for word in words if word not in present]
    chosen = [word for word in words if word in present]
    return [*chosen, absent[rng.integers(len(absent))]] if absent else chosen


def _count(rng: np.random.Generator, query: str, count: int) -> WorldQuestion:
    near = [str(number) for number in range(9) if 0 < abs(number - count) <= 3]
    return _ask(rng, query, str(count), near)
