"""Answers on a shared cache against a model that starts from nothing at every step.

A random model hides wrong positions behind the right argmax, so logits and hidden states are compared,
of a model whose weights are large enough that one wrong position shows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bridge_stg.inference.answering import (
    Answers,
    ReadClip,
    RefusalRule,
    WhereRule,
    answer,
    bridge_answers,
    read_clip,
)
from bridge_stg.inference.branch_cache import BLOCK
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.row_tower import join_projections
from bridge_stg.model.temporal_alignment import ClipLayout
from bridge_stg.shapes.model import small_config, small_tokenizer

CLOSE = 1e-4
QUERIES = ("the red circle", "what blinks to the right of the blue square?", "it")


class Scene:
    """A model, a clip it has read, and questions about it."""

    def __init__(self, queries: int = 8, eta: str = "virtual", kv_heads: int = 4) -> None:
        torch.manual_seed(3)
        tokenizer = small_tokenizer()
        config = small_config(tokenizer, num_bridge_queries=queries, eta_mode=eta)
        config.mllm.text_config.num_hidden_layers = 3
        config.mllm.text_config.num_key_value_heads = kv_heads
        self.model = BridgeSTGForVideoGrounding(config).eval()
        with torch.no_grad():
            for parameter in self.model.mllm.model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(3.0)
        self.processor = BridgeSTGProcessor(tokenizer, config)
        # Five frames: an odd number, so that the last pair repeats one.
        frames = np.random.default_rng(0).integers(0, 256, (5, 48, 72, 3), dtype=np.uint8)
        patches, grid = self.processor.patches(frames)
        self.layout: ClipLayout = self.processor.clip(grid, np.arange(5) / 2)
        with torch.no_grad():
            self.vision = self.model.encode_video(patches, torch.tensor([grid]))
        self.questions = [self.processor.question_ids("stvg", query) for query in QUERIES]

    def read(self) -> ReadClip:
        return read_clip(self.model, self.layout, self.vision)

    def from_nothing(self, text: list[int], slots: int = 0, shift: int = 0) -> Tensor:
        """Hidden states (L, D) of the clip and ``text`` in one causal pass without a cache.

        The last ``slots`` ids are places of bridging queries; ``shift`` moves the text's positions, wrongly.
        """
        ids = torch.cat([self.layout.input_ids, torch.tensor(text)])[None]
        length, clip = ids.shape[1], len(self.layout.input_ids)
        start = int(self.layout.positions.max()) + 1 + shift
        rows = torch.cat([self.layout.positions, (torch.arange(length - clip) + start).expand(3, -1)], dim=1)
        positions = torch.cat([torch.arange(length)[None], rows])[:, None]
        slot_mask = torch.zeros(1, length, dtype=torch.bool)
        slot_mask[0, length - slots :] = slots > 0
        return self.model.read(ids, positions, vision=self.vision, slot_mask=slot_mask)[0]

    def bridge_from_nothing(self, question: tuple[int, ...], ids: list[int]) -> Tensor:
        """Q_bridge (M, D) of one answered question."""
        det, slots = self.model.config.det_token_id, self.model.config.num_bridge_queries
        hidden = self.from_nothing([*question, *ids, *[det] * (1 + slots)], slots)
        return self.model.bridge(hidden[None, -max(slots, 1) :])[0]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


def logits_of(model: BridgeSTGForVideoGrounding, run: Callable[[], Answers]) -> tuple[Answers, Tensor]:
    """What ``run`` answers, and the logits (steps, S, V) from which it chose each token."""
    seen: list[Tensor] = []
    hook = model.mllm.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        answers = run()
    finally:
        hook.remove()
    return answers, torch.stack(seen)


def test_every_step_equals_a_pass_from_nothing(scene: Scene) -> None:
    clip = scene.read()
    answers, logits = logits_of(scene.model, lambda: answer(scene.model, clip, scene.questions, 0, 6))
    assert [len(ids) for ids in answers.ids] == [6, 6, 6]
    assert answers.passes == [6, 6, 6]
    for row, question in enumerate(scene.questions):
        for step in range(6):
            hidden = scene.from_nothing([*question, *answers.ids[row][:step]])[-1]
            plain = scene.model.mllm.lm_head(hidden)
            assert (logits[step, row] - plain).abs().max() < CLOSE
            assert int(plain.argmax()) == answers.ids[row][step]
            log_prob = float(plain.log_softmax(-1).max())
            assert answers.log_probs[row][step] == pytest.approx(log_prob, abs=CLOSE)


def test_a_refusal_is_begun_from_its_threshold_on(scene: Scene) -> None:
    clip = scene.read()
    plain = answer(scene.model, clip, scene.questions, 0, 3)
    (first, _), (second, log_prob), *_ = plain.alternatives[1][0]
    assert [one[0][0][0] for one in plain.alternatives] == [ids[0] for ids in plain.ids]
    assert plain.ids[1][0] == first

    # Another token where it is probable enough, and none where the likeliest one is not.
    below, above = (math.exp(log_prob) * factor for factor in (0.99, 1.01))
    for token, threshold, said in ((second, below, second), (second, above, first), (first, 1.0, second)):
        found = answer(scene.model, clip, scene.questions, 0, 3, refusal=RefusalRule(token, threshold))
        assert found.ids[1][0] == said
        assert (found.ids[1] == plain.ids[1]) == (said == first)
    hidden = scene.from_nothing([*scene.questions[1], second])[-1]
    again = answer(scene.model, clip, scene.questions, 0, 3, refusal=RefusalRule(second, below))
    assert again.ids[1][1] == int(scene.model.mllm.lm_head(hidden).argmax())


def test_an_answer_asks_where_from_its_threshold_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeliest first word is called the end of the turn, the second likeliest <det>."""
    clip = scene.read()
    plain = answer(scene.model, clip, scene.questions, 0, 3)
    (first, _), (second, log_prob), (third, _), *_ = plain.alternatives[1][0]
    monkeypatch.setattr(scene.model.config, "det_token_id", second)
    assert answer(scene.model, clip, scene.questions, first, 3).asks_where[1] is False
    for factor, asks in ((0.99, True), (1.01, False)):
        rule = WhereRule(second, first, math.exp(log_prob) * factor)
        found = answer(scene.model, clip, scene.questions, first, 3, where=rule)
        assert (found.ids[1], found.asks_where[1]) == ([], asks)
    # Where neither of them is the likeliest nothing changes.
    assert WhereRule(second, third, 1e-9).choose(first, plain.alternatives[1][0]) == first
    # A <det> that is the likeliest needs the threshold as well.
    assert WhereRule(first, third, 1.0).choose(first, plain.alternatives[1][0]) == third


def test_the_comparison_sees_one_wrong_position(scene: Scene) -> None:
    question = list(scene.questions[0])
    right, wrong = scene.from_nothing(question), scene.from_nothing(question, shift=1)
    assert (right[-1] - wrong[-1]).abs().max() > 100 * CLOSE


def test_side_by_side_equals_alone(scene: Scene) -> None:
    clip = scene.read()
    together, logits = logits_of(scene.model, lambda: answer(scene.model, clip, scene.questions, 0, 6))
    bridge = bridge_answers(scene.model, clip, together)
    for row, question in enumerate(scene.questions):
        alone, own = logits_of(scene.model, lambda q=question: answer(scene.model, clip, [q], 0, 6))
        assert alone.ids == [together.ids[row]]
        assert (own[:, 0] - logits[:, row]).abs().max() < CLOSE
        assert (bridge_answers(scene.model, clip, alone)[0] - bridge[row]).abs().max() < CLOSE


@pytest.mark.parametrize("queries", [0, 8, 16])
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_an_answer_without_det_is_bridged_all_the_same(queries: int, limit: int) -> None:
    scene = Scene(queries)
    clip = scene.read()
    answers = answer(scene.model, clip, scene.questions, 0, limit)
    assert [len(ids) for ids in answers.ids] == [limit] * 3
    assert answers.asks_where == [False] * 3
    bridge = bridge_answers(scene.model, clip, answers)
    assert bridge.shape == (3, max(queries, 1), 128)
    for row, question in enumerate(scene.questions):
        expected = scene.bridge_from_nothing(question, answers.ids[row])
        assert (bridge[row] - expected).abs().max() < CLOSE


@pytest.mark.parametrize("eta", ["append", "none", "native"])
def test_other_layouts_of_the_clip(eta: str) -> None:
    scene = Scene(eta=eta)
    clip = scene.read()
    answers = answer(scene.model, clip, scene.questions, 0, 3)
    bridge = bridge_answers(scene.model, clip, answers)
    for row, question in enumerate(scene.questions):
        expected = scene.bridge_from_nothing(question, answers.ids[row])
        assert (bridge[row] - expected).abs().max() < CLOSE


def test_rows_that_end_early_and_late(scene: Scene) -> None:
    """One answer ends with <det>, one with its turn, one at the limit: none of them disturbs another."""
    clip = scene.read()
    free = answer(scene.model, clip, scene.questions, 0, 8).ids
    # By construction: what row 0 says third now means <det>, what row 1 says sixth ends the turn.
    det, turn_end = free[0][2], free[1][5]
    ends = [next((step for step, token in enumerate(ids) if token in (det, turn_end)), 8) for ids in free]
    assert len(set(ends)) > 1, "the seed gives answers that all end at once; the test needs another"
    config = scene.model.config
    before, config.det_token_id = config.det_token_id, det
    try:
        answers = answer(scene.model, clip, scene.questions, turn_end, 8)
        assert answers.ids == [ids[:end] for ids, end in zip(free, ends, strict=True)]
        said = [ids[end] if end < 8 else None for ids, end in zip(free, ends, strict=True)]
        assert answers.asks_where == [token == det for token in said]
        bridge = bridge_answers(scene.model, clip, answers)
        for row, question in enumerate(scene.questions):
            expected = scene.bridge_from_nothing(question, answers.ids[row])
            assert (bridge[row] - expected).abs().max() < CLOSE
    finally:
        config.det_token_id = before


def test_the_clip_can_be_asked_again(scene: Scene) -> None:
    clip = scene.read()
    first = answer(scene.model, clip, scene.questions, 0, 4)
    bridge_answers(scene.model, clip, first)
    assert answer(scene.model, clip, scene.questions, 0, 4).ids == first.ids
    assert all(keys.shape[2] == clip.length for keys, _ in clip.keys.layers)


def test_a_clip_read_at_a_wrong_place_answers_otherwise(scene: Scene) -> None:
    """The text's position after the clip matters to the cached path too."""
    clip = scene.read()
    shifted = replace(clip, next_position=clip.next_position + 1)
    _, right = logits_of(scene.model, lambda: answer(scene.model, clip, scene.questions, 0, 1))
    _, wrong = logits_of(scene.model, lambda: answer(scene.model, shifted, scene.questions, 0, 1))
    assert (right - wrong).abs().max() > 100 * CLOSE


class Guesses:
    """Drafts what it was told, from where an answer stands, or what was predicted if nothing is left of it."""

    def __init__(self, told: list[list[int]]) -> None:
        self.told = told

    def draft(self, sentence: int, said: Sequence[int], predicted: Sequence[int]) -> list[int]:
        return self.told[sentence][len(said) :] or list(predicted)


@pytest.mark.parametrize("wrong", [None, 0, 3, 9])
def test_drafts_change_the_number_of_passes_and_nothing_else(scene: Scene, wrong: int | None) -> None:
    """Drafts that are right, and drafts of which one word is wrong; one row gets none."""
    clip = scene.read()
    plain = answer(scene.model, clip, scene.questions, 0, 12)
    told = [list(ids) for ids in plain.ids]
    told[1] = []
    if wrong is not None:
        told[0][wrong] += 1
        told[2][wrong] += 1
    drafted = answer(scene.model, clip, scene.questions, 0, 12, Guesses(told))
    assert drafted.ids == plain.ids
    for one, other in zip(drafted.log_probs, plain.log_probs, strict=True):
        assert one == pytest.approx(other, abs=CLOSE)
    # All right: one pass. One wrong word is replaced by the model's own, and the rest is drafted again.
    assert [drafted.passes[row] for row in (0, 2)] == [1 if wrong is None else 2] * 2
    assert drafted.passes[1] == 12
    bridges = [bridge_answers(scene.model, clip, answers) for answers in (plain, drafted)]
    assert (bridges[0] - bridges[1]).abs().max() < CLOSE


def test_a_draft_beyond_the_end_of_an_answer_is_forgotten(scene: Scene) -> None:
    clip = scene.read()
    free = answer(scene.model, clip, scene.questions, 0, 8)
    turn_end = free.ids[1][5]
    expected = answer(scene.model, clip, scene.questions, turn_end, 8)
    drafted = answer(scene.model, clip, scene.questions, turn_end, 8, Guesses(free.ids))
    assert drafted.ids == expected.ids
    assert drafted.branches.lengths[1] == len(scene.questions[1]) + len(drafted.ids[1])
    bridges = [bridge_answers(scene.model, clip, answers) for answers in (expected, drafted)]
    assert (bridges[0] - bridges[1]).abs().max() < CLOSE


def test_sentences_take_the_bytes_of_their_own_tokens(scene: Scene) -> None:
    """The clip's keys and values are shared, whatever the number of sentences."""
    clip = scene.read()
    text = scene.model.config.mllm.text_config
    per_token = 2 * 4 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim
    clip_bytes = clip.keys.nbytes
    assert clip_bytes == per_token * clip.length
    for count in (1, 3):
        answers = answer(scene.model, clip, scene.questions[:count], 0, 6)
        most = max(map(len, scene.questions[:count])) + 6
        assert answers.branches.clip is clip.keys
        assert clip.keys.nbytes == clip_bytes
        assert answers.branches.nbytes <= count * per_token * (most + BLOCK)


@pytest.mark.parametrize("queries", [0, 8])
def test_few_operations_equal_the_layers_of_the_library(queries: int) -> None:
    """Answers of the row tower against those of the language model's own layers, with ragged drafts too."""
    scene = Scene(queries, kv_heads=2)
    clip = scene.read()
    assert clip.tower is not None
    plain_clip = replace(clip, tower=None)
    plain, expected = logits_of(scene.model, lambda: answer(scene.model, plain_clip, scene.questions, 0, 6))
    found, logits = logits_of(scene.model, lambda: answer(scene.model, clip, scene.questions, 0, 6))
    assert found.ids == plain.ids
    assert (logits - expected).abs().max() < CLOSE

    told = [plain.ids[0], [], plain.ids[2][:3]]
    drafted = [answer(scene.model, one, scene.questions, 0, 6, Guesses(told)) for one in (clip, plain_clip)]
    assert drafted[0].ids == drafted[1].ids == plain.ids
    bridges = [
        bridge_answers(scene.model, one, answers)
        for one, answers in zip((clip, plain_clip), drafted, strict=True)
    ]
    assert (bridges[0] - bridges[1]).abs().max() < CLOSE


def test_weights_side_by_side_answer_the_same_and_follow_what_is_learned(scene: Scene) -> None:
    """Joined projections are views: changed in place they count from the next clip on."""
    clip = scene.read()
    before = answer(scene.model, clip, scene.questions, 0, 4)
    model = copy.deepcopy(scene.model)
    join_projections(model.mllm.model.language_model)
    layer = model.mllm.model.language_model.layers[0].self_attn
    assert layer.k_proj.weight.data_ptr() == layer.q_proj.weight.data_ptr() + layer.q_proj.weight.nbytes
    joined = read_clip(model, scene.layout, scene.vision)
    assert answer(model, joined, scene.questions, 0, 4).ids == before.ids

    layer.v_proj.weight.mul_(-1.0)
    changed = read_clip(model, scene.layout, scene.vision)
    _, logits = logits_of(model, lambda: answer(model, changed, scene.questions, 0, 1))
    plain_clip = replace(changed, tower=None)
    _, expected = logits_of(model, lambda: answer(model, plain_clip, scene.questions, 0, 1))
    assert (logits - expected).abs().max() < CLOSE


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_heads_that_share_keys(kv_heads: int) -> None:
    scene = Scene(kv_heads=kv_heads)
    clip = scene.read()
    answers, logits = logits_of(scene.model, lambda: answer(scene.model, clip, scene.questions, 0, 3))
    for row, question in enumerate(scene.questions):
        hidden = scene.from_nothing([*question, *answers.ids[row][:2]])[-1]
        assert (logits[2, row] - scene.model.mllm.lm_head(hidden)).abs().max() < CLOSE
