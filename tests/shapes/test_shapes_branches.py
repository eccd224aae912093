"""What is asked about a generated clip and what is to be answered: the branches of its token tree."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest

from bridge_stg.geometry.spans import pair_times
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import ClipLayout
from bridge_stg.model.token_tree import IGNORE
from bridge_stg.prompting.parsing import parse_window
from bridge_stg.shapes.branches import (
    contrast_branches,
    name_branches,
    retold_branches,
    scan_branches,
    scan_words,
    seen_in_pairs,
    window_answer,
)
from bridge_stg.shapes.captions import caption_branches, lookup_branches, pair_captions
from bridge_stg.shapes.drawn_frames import sample_times
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import COLOURS, ING_FORM, SHAPES, Action, Scene, SceneSettings
from bridge_stg.shapes.world.questions import WorldQuestion, questions
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.types import TimeSpan


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    tokenizer = small_tokenizer()
    return BridgeSTGProcessor(tokenizer, small_config(tokenizer))


def one_mover() -> Scene:
    """A red circle that moves left from 1.2 to 3.1 seconds and blinks from 4.2."""
    still = make_scene(5, SceneSettings(min_objects=1, max_objects=1)).objects[0]
    actions = (Action("moves left", 1.2, 3.1, 0.01), Action("blinks", 4.2, 5.7, 0.0))
    mover = dataclasses.replace(still, colour="red", shape="circle", size=0.3, x=0.6, y=0.5, actions=actions)
    return dataclasses.replace(make_scene(5), objects=(mover,))


SLOTS = np.array([[0.0, 0.5], [1.0, 1.48], [2.0, 2.5], [3.0, 3.5], [4.0, 4.0]])
LEFT = WorldQuestion("vtg", "what moves left?", "interrogative", 0, TimeSpan(1.2, 3.1), kind="moves left")


def test_an_answer_says_who_and_what_and_of_every_pair_whether_it_is_seen_and_then_when() -> None:
    answer = window_answer(one_mover(), LEFT, np.random.default_rng(0), SLOTS)
    scan, seen, window = answer.split(". ", 2)
    assert scan == "The red circle moves left: 0 before 1 begins 2 left 3 ends 4 after"
    assert seen == "It happens from 1 to 3"
    assert parse_window(answer) == parse_window(window)


def test_windows_are_told_blurred_around_the_true_one() -> None:
    rng = np.random.default_rng(0)
    told = np.array([parse_window(window_answer(one_mover(), LEFT, rng, SLOTS)) for _ in range(400)])
    assert told.mean(0) == pytest.approx((1.2, 3.1), abs=0.05)
    assert told.std(0) == pytest.approx((0.15, 0.15), abs=0.03)
    # One that begins with the clip or is short is a window still.
    early = dataclasses.replace(LEFT, window=TimeSpan(0.0, 0.1))
    for _ in range(100):
        start, end = parse_window(window_answer(one_mover(), early, rng, SLOTS)) or (1.0, 0.0)
        assert 0 <= start <= end
        assert end >= 0.1
    scene = one_mover()
    late = dataclasses.replace(LEFT, window=TimeSpan(scene.duration - 1.5, scene.duration))
    ends = [(parse_window(window_answer(scene, late, rng, SLOTS)) or (0.0, 0.0))[1] for _ in range(100)]
    assert max(ends) == round(scene.duration, 1)


def test_a_window_that_is_blurred_past_itself_is_told_from_its_earlier_time() -> None:
    """Not sorted again, half of these, whose two times are the same, would be told as empty windows."""
    rng = np.random.default_rng(0)
    moment = dataclasses.replace(LEFT, window=TimeSpan(2.0, 2.0))
    told = np.array([parse_window(window_answer(one_mover(), moment, rng, SLOTS)) for _ in range(400)])
    # The lesser and the greater of two normal values lie 0.56 standard deviations from their mean.
    assert told.mean(0) == pytest.approx((2 - 0.085, 2 + 0.085), abs=0.02)


def test_an_action_that_is_in_no_pair_is_seen_at_the_second_it_begins() -> None:
    answer = window_answer(one_mover(), LEFT, np.random.default_rng(0), SLOTS[[0, 4]])
    assert answer.startswith("The red circle moves left: 0 before 4 before. It happens from 1 to 1. ")


@pytest.mark.parametrize(
    ("seen", "read", "words"),
    [
        ("_ left left _", None, "before left left after"),
        ("begins left ends _ _", None, "begins left ends after after"),
        ("left _ left", None, "left after left"),
        ("_ _", None, "before before"),
        # What follows depends on the words that were read, the word itself on what is seen.
        ("_ _ left _", "left before before after", "before after left after"),
        ("left _ _", "after left before", "left before after"),
        ("_ _ _ _", "begins after before ends", "before after after after"),
    ],
)
def test_the_words_of_a_scan(seen: str, read: str | None, words: str) -> None:
    here = ["" if word == "_" else word for word in seen.split()]
    assert scan_words(here, read.split() if read else None) == words.split()


def test_what_is_out_of_sight_is_not_seen() -> None:
    scene = one_mover()
    assert seen_in_pairs(scene, 0, "moves left", SLOTS) == ["", "begins", "left", "ends", ""]
    gone = dataclasses.replace(scene, objects=(dataclasses.replace(scene.objects[0], x=-1.0),))
    assert seen_in_pairs(gone, 0, "moves left", SLOTS) == [""] * 5


@pytest.mark.parametrize(
    ("first", "last", "word"),
    [
        (0.7, 1.2, ""),  # ends as the action begins, at 1.2
        (0.77, 1.27, ""),  # 0.07 of 0.5 seconds: under the margin of 0.075
        (0.78, 1.28, "begins"),
        (1.12, 1.62, "begins"),
        (1.13, 1.63, "left"),  # 0.07 seconds are left open
        (1.2, 3.1, "left"),
        (2.67, 3.17, "left"),
        (2.68, 3.18, "ends"),
        (3.02, 3.52, "ends"),
        (3.03, 3.53, ""),
        (1.0, 3.6, "begins"),  # both: the first is said
        (2.0, 2.0, ""),  # one frame alone shows no action
    ],
)
def test_a_pair_that_an_action_fills_in_part_says_which_end_it_is(first: float, last: float, word: str) -> None:
    assert seen_in_pairs(one_mover(), 0, "moves left", np.array([[first, last]])) == [word]


def test_a_scan_is_read_with_random_words_and_learned_with_the_true_ones(processor: BridgeSTGProcessor) -> None:
    """No word can be copied from the one before it, and everything else of the answer stays as it is."""
    scene = one_mover()
    slots = np.stack([np.arange(6.0), np.arange(6.0) + 0.5], axis=1)
    read = []
    for seed in range(60):
        (branch,) = scan_branches([LEFT], scene, slots, 1, processor, np.random.default_rng(seed))
        text = processor.tokenizer.decode(branch.ids)
        said = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE])
        assert "The red circle moves left: 0 " in text
        opening, words = said.split(": 0")
        assert opening == "The red circle moves left"
        first, *seen, last, over = words.split()
        assert first == "before"
        assert seen == ["begins", "left", "ends"]
        assert {last, over} <= {"before", "after"}
        read.append(re.findall(r"\d ([a-z]+)", text.split(": ")[1]))
    # Each place is read as any of five words, whatever is true there.
    assert len(read[0]) == 6
    for word in ("before", "begins", "left", "ends", "after"):
        assert all(0 < place.count(word) < 30 for place in zip(*read, strict=True))


def test_a_lookup_gives_names_in_any_order_and_learns_what_they_do(processor: BridgeSTGProcessor) -> None:
    scene = make_scene(3, SceneSettings(min_objects=4, max_objects=4))
    times = sample_times(scene, 2.0)
    layout = clip_layout(processor, times)
    told = pair_captions(scene, times)
    stamps = {f"<{stamp:.1f} seconds>": pair for pair, stamp in enumerate(pair_times(times))}
    asked, orders = [], set()
    branches = lookup_branches(scene, times, layout, 2 * len(told), processor, np.random.default_rng(0))
    for number, branch in enumerate(branches):
        text = processor.tokenizer.decode(branch.ids)
        answer = text.split("<|im_start|>")[-1].removeprefix("assistant\n").removesuffix("<|im_end|>")
        if number % 2:  # attached right after its pair
            assert branch.attach is not None
            pair = layout.pair_ends.index(branch.attach)
        else:
            assert branch.attach is None
            pair = stamps[re.findall(r"<[0-9.]+ seconds>", text)[0]]
        phrases = answer.split(", ")
        assert sorted(phrases) == sorted(told[pair])
        asked.append(pair)
        orders.add(tuple(told[pair].index(phrase) for phrase in phrases))
        learned = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE])
        assert learned == ",".join(" " + phrase.split(" ", 2)[2] for phrase in phrases) + "<|im_end|>"
    assert sorted(asked) == sorted([*told, *told])
    assert len(orders) > 6


def test_captions_are_drawn_by_how_many_objects_act_in_their_pair(processor: BridgeSTGProcessor) -> None:
    """Nobody acts in the first pair, one object in the second, two in the third: 1 to 4 to 7."""
    scene = one_mover()
    mover = dataclasses.replace(scene.objects[0], actions=(Action("moves left", 1.0, 3.0, 0.01),))
    spinner = dataclasses.replace(mover, colour="blue", x=0.3, actions=(Action("spins", 2.0, 3.0, 0.2),))
    scene = dataclasses.replace(scene, objects=(mover, spinner))
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    layout = clip_layout(processor, times)
    rng = np.random.default_rng(0)
    drawn: Counter[str] = Counter()
    for _ in range(1200):
        (branch,) = caption_branches(scene, times, layout, 1, processor, rng)
        drawn[processor.tokenizer.decode(branch.ids)] += 1
    assert drawn == {
        "<|im_start|>blue circle rests, red circle rests<|im_end|>": pytest.approx(100, abs=35),
        "<|im_start|>blue circle rests, red circle moves left<|im_end|>": pytest.approx(400, abs=60),
        "<|im_start|>blue circle spins, red circle moves left<|im_end|>": pytest.approx(700, abs=60),
    }


def test_a_lookup_where_nobody_is_says_nothing(processor: BridgeSTGProcessor) -> None:
    scene = dataclasses.replace(one_mover(), objects=(dataclasses.replace(one_mover().objects[0], x=-1.0),))
    times = sample_times(scene, 2.0)
    branches = lookup_branches(
        scene, times, clip_layout(processor, times), 2, processor, np.random.default_rng(0)
    )
    for branch in branches:
        assert processor.tokenizer.decode(branch.ids).endswith("nothing<|im_end|>")
    one_frame = times[:1]
    layout = clip_layout(processor, one_frame)
    assert lookup_branches(scene, one_frame, layout, 2, processor, np.random.default_rng(0)) == []


def clip_layout(processor: BridgeSTGProcessor, times: np.ndarray) -> ClipLayout:
    frames = np.zeros((len(times), 96, 96, 3), dtype=np.uint8)
    return processor.clip(processor.patches(frames)[1], times)


def test_a_contrast_judges_an_object_by_what_another_one_does(processor: BridgeSTGProcessor) -> None:
    """Whoever is told about, the words are what that object does; the name is given, not learned."""
    scene = make_scene(1, SceneSettings(min_objects=4, max_objects=4))
    slots = np.stack([np.arange(0.0, scene.duration), np.arange(0.0, scene.duration) + 0.5], axis=1)
    _, visible = boxes(scene, slots.mean(axis=1))
    told, never_do_it, words = set(), 0, set()
    for branch in contrast_branches(scene, slots, 40, processor, np.random.default_rng(1)):
        question, answer = processor.tokenizer.decode(branch.ids).split("assistant\n")
        match = re.match(r"The (\w+ \w+) ([a-z ]+): 0 ", answer)
        assert match is not None
        name, kind = match.groups()
        assert any(word in question for word in (kind, ING_FORM[kind]))
        index = [item.name for item in scene.objects].index(name)
        item = scene.objects[index]
        # Of the question's noun all that it says is true of the object; a relation stands after the action.
        noun = re.split(f"{kind}|{ING_FORM[kind]}", question)[0]
        assert all(item.colour == colour for colour in COLOURS if colour in noun)
        assert all(item.shape == shape for shape in SHAPES if f" {shape}" in noun)
        others = [other for other in scene.objects if other is not item]
        assert any(action.kind == kind for other in others for action in other.actions)
        said = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE]).split()
        for word, shown, (first, last) in zip(said, visible[index], slots.tolist(), strict=True):
            filled = {
                action: (min(last, action.end) - max(first, action.start)) / (last - first)
                for action in item.actions
                if action.kind == kind and shown
            }
            share = max(filled.values(), default=0.0)
            if share <= 0.15:
                assert word in ("before", "after")
            elif share >= 0.85:
                assert word == kind.split()[-1]
            else:
                begins = next(action.start > first for action in filled if filled[action] == share)
                assert word == ("begins" if begins else "ends")
            words.add(word)
        read = re.findall(r"\d+ ([a-z]+)", answer)
        assert len(read) == len(said)
        assert read != said
        told.add(name)
        never_do_it += all(action.kind != kind for action in item.actions)
    assert told == {item.name for item in scene.objects}
    assert never_do_it > 20
    assert {"before", "begins", "ends", "after"} < words
    alone = make_scene(3, SceneSettings(min_objects=1, max_objects=1))
    assert contrast_branches(alone, slots, 3, processor, np.random.default_rng(1)) == []


def test_a_contrast_judges_those_that_look_like_the_actor_twice_as_often(processor: BridgeSTGProcessor) -> None:
    """Only the red circle acts; two objects share its colour or its shape, one neither."""
    actor = one_mover().objects[0]
    still = dataclasses.replace(actor, actions=())
    looks = [("red", "square"), ("blue", "circle"), ("blue", "square")]
    others = [dataclasses.replace(still, colour=colour, shape=shape) for colour, shape in looks]
    scene = dataclasses.replace(one_mover(), objects=(others[0], actor, *others[1:]))
    judged: Counter[str] = Counter()
    for branch in contrast_branches(scene, SLOTS[:1], 1500, processor, np.random.default_rng(0)):
        answer = processor.tokenizer.decode(branch.ids).split("assistant\n")[1]
        judged[" ".join(answer.split()[1:3])] += 1
    assert judged == {
        "red square": pytest.approx(600, abs=50),
        "blue circle": pytest.approx(600, abs=50),
        "blue square": pytest.approx(300, abs=40),
    }


def test_names_are_how_the_answers_of_other_questions_begin(processor: BridgeSTGProcessor) -> None:
    scene = make_scene(3, SceneSettings(min_objects=4, max_objects=4))
    asked = questions(scene, np.random.default_rng(0))
    branches = name_branches(asked, scene, 1, 3, processor)
    slots = np.array([[0.0, 0.5]])
    (first,) = scan_branches(asked, scene, slots, 1, processor, np.random.default_rng(0))
    texts = [processor.tokenizer.decode(branch.ids) for branch in [first, *branches]]
    assert len({text.split(" Answer")[0].split(":")[0] for text in texts}) == 4
    for branch, text in zip(branches, texts[1:], strict=True):
        learned = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE])
        question = next(item for item in asked if item.query in text and item.task == "vtg")
        assert text.endswith(learned)
        assert learned == f"The {scene.objects[question.object_index].name} {question.kind}:"


def test_a_retold_scan_is_read_and_only_its_window_learned(processor: BridgeSTGProcessor) -> None:
    branches = retold_branches(4, processor, np.random.default_rng(2))
    assert len(branches) == 4
    for branch in branches:
        assert branch.attach == 0
        text = processor.tokenizer.decode(branch.ids)
        learned = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE])
        assert re.search(r"The [a-z ]+: 0 ", text)
        assert learned == text[text.index(" It happens from ") :]
        assert parse_window(learned) == parse_window(text) is not None
