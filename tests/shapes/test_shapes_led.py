"""Attention that is taught beside the answers: what it is taught, and that it is the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from bridge_stg.errors import InputError
from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import build_tree, tree_mask
from bridge_stg.model.tree_attention import IMPLEMENTATION
from bridge_stg.prompting.templates import SCAN_HINT
from bridge_stg.shapes.bridge_stage import ShapesBridgeStage
from bridge_stg.shapes.configuration import ClipMix, Lesson, ShapesData
from bridge_stg.shapes.direct_branches import (
    AskedClip,
    absent_branches,
    choice_branches,
    direct_branches,
    found_branch,
    spot_branches,
)
from bridge_stg.shapes.drawn_clips import build_batch
from bridge_stg.shapes.drawn_frames import draw, sample_times
from bridge_stg.shapes.evidence import (
    LEADS,
    NOWHERE,
    PHASES,
    REST,
    ClipMap,
    Evidence,
    LedBranch,
    evidence_rows,
    phases,
)
from bridge_stg.shapes.grow import grow
from bridge_stg.shapes.led_model import PLACES, LedModel
from bridge_stg.shapes.model import new_model
from bridge_stg.shapes.recipes import RECIPES, shapes_quick
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import ACTIONS, SceneSettings
from bridge_stg.shapes.world.questions import questions
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.training.optimization import parameter_groups
from bridge_stg.training.settings import override

MIX = ClipMix(direct=2, named=1, absent=1, spots=1, choices=1, located_direct=1, tracked=1)


@pytest.fixture(scope="module")
def small() -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor]:
    torch.manual_seed(3)
    model, processor = new_model(answer_styles=("direct", "scan"))
    return model.eval(), processor


def drawn(processor: BridgeSTGProcessor, seed: int) -> tuple[AskedClip, torch.Tensor]:
    """A clip's questions and the ids of its tokens."""
    scene = make_scene(seed, SceneSettings(min_objects=3, max_objects=4, max_duration=7.0))
    times = sample_times(scene, 2.0)
    rng = np.random.default_rng(seed)
    frames = draw(scene, times, processor, rng)
    grid = processor.patch_grid(frames)
    layout = processor.clip(grid, times)
    known = ClipMap.of(scene, times, layout, grid, processor)
    slots = times[frame_pairs(len(times))]
    return AskedClip(scene, questions(scene, rng), times, slots, known, processor, rng), layout.input_ids


def test_the_map_of_a_clip_finds_its_seconds_and_its_objects(
    small: tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor],
) -> None:
    _, processor = small
    clip, ids = drawn(processor, 6)
    words = [processor.tokenizer.decode([ids[stamp]]) for stamp in clip.map.stamps]
    assert words == [str(int(pair.mean())) for pair in clip.pair_spans]

    video = processor.config.mllm.video_token_id
    _, visible = boxes(clip.scene, clip.times)
    for index, cells in enumerate(clip.map.cells):
        for frames, keys in zip(frame_pairs(len(clip.times)).tolist(), cells, strict=True):
            assert bool(keys) == bool(visible[index, frames].any())
            assert (ids[list(keys)] == video).all()


def test_phases_follow_the_actions() -> None:
    scene = make_scene(9, SceneSettings(min_duration=10.0))
    times = sample_times(scene, 2.0)
    slots = times[frame_pairs(len(times))]
    for index, item in enumerate(scene.objects):
        phase, doing = phases(scene, index, slots)
        for pair, (first, last) in enumerate(slots.tolist()):
            enough = 0.15 * (last - first)
            action = next(
                (a for a in item.actions if min(last, a.end) - max(first, a.start) > enough),
                None,
            )
            # Out of view nothing is seen of it.
            if doing[pair] != REST:
                assert action is not None
                assert ACTIONS[doing[pair]] == action.kind
                assert phase[pair] in (PHASES.index("begun"), PHASES.index("going_on"))
        starts = np.flatnonzero(phase == PHASES.index("begun"))
        assert len(starts) <= len(item.actions)


def test_evidence_is_looked_for_at_the_token_before_the_answer(
    small: tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor],
) -> None:
    _, processor = small
    clip, _ = drawn(processor, 6)
    branches = [
        *direct_branches(clip, 3),
        *absent_branches(clip, 2),
        *spot_branches(clip, 2),
        *choice_branches(clip, 2),
    ]
    told = [branch for branch in branches if isinstance(branch, LedBranch) and branch.evidence]
    assert len(told) >= 5
    for branch in told:
        for one in branch.evidence:
            if one.lead == "letter":
                if branch.labels[one.place] == branch.ids[one.place]:
                    # Before it names a letter, the answer looks at its own words.
                    assert processor.tokenizer.decode([branch.ids[one.place + 1]]) in "ABCD"
                    assert all(branch.labels[key] == branch.ids[key] for key in one.keys)
                    continue
                # A word of a choice looks back at its letter.
                assert processor.tokenizer.decode([branch.ids[one.keys[0]]]) in "ABCD"
                assert processor.tokenizer.decode([branch.ids[one.place]]).strip() not in (
                    "",
                    "(",
                    ")",
                    *"ABCD",
                )
                continue
            following = processor.tokenizer.decode([branch.ids[one.place + 1]])
            assert branch.labels[one.place + 1] == branch.ids[one.place + 1]
            if one.lead == "edge_time":
                assert following.lstrip(".").isdigit()
            if one.lead == "found":
                refused = one.keys == (NOWHERE,)
                assert refused == (following in ("T", "This", "no"))
            if one.lead == "choice":
                assert following in "ABCD"
                asked = [processor.tokenizer.decode([branch.ids[key]]) for key in range(min(one.keys))]
                assert asked[-2] == following


def test_bridging_queries_ask_for_the_object_of_their_sentence(
    small: tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor],
) -> None:
    _, processor = small
    clip, _ = drawn(processor, 6)
    question = next(item for item in clip.asked if item.task == "stvg")
    assert question.object_index is not None
    branch = processor.branch("stvg", question.query, "Here.", locates=True)
    asks = [one for one in found_branch(clip, question, branch).evidence if one.lead == "where"]
    assert [one.place for one in asks] == list(
        range(len(branch.ids) - branch.bridge_slots - 1, len(branch.ids))
    )
    cells = {key for pair in clip.map.cells[question.object_index] for key in pair}
    assert all(one.keys and set(one.keys) <= cells for one in asks)


def test_led_attention_is_that_of_the_model(
    small: tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss against the attention of the queries and keys that the model's own attention is given."""
    model, processor = small
    data = ShapesData(
        clips_per_step=2,
        image_share=0.0,
        mix=MIX,
        curriculum=(Lesson(until=1.0, min_objects=2, max_objects=3, max_duration=6.0),),
    )
    batch = build_batch(data, 0, 1, processor, led=True)
    inputs = batch.inputs(processor)
    attend, given = ALL_ATTENTION_FUNCTIONS[IMPLEMENTATION], {}

    def spy(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
        given[module.layer_idx] = query @ key.transpose(2, 3) * module.scaling
        return attend(module, query, key, *args, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, IMPLEMENTATION, spy)
    led = LedModel(model, lead=1.0, probe=0.0)
    with torch.no_grad():
        output = led(**inputs)
        plain = model(**{name: inputs[name] for name in inputs if name not in ("evidence", "shown")})
    mask = tree_mask(inputs["tree"])
    layers = len(model.mllm.model.language_model.layers)
    found = {place: given[layers + place].masked_fill(~mask, -torch.inf).softmax(-1) for place in (-2, -1)}

    losses = []
    evidence = inputs["evidence"]
    for number, lead in enumerate(LEADS):
        layer, heads = PLACES[lead]
        rows = evidence[evidence[:, 3] == number]
        for row, place in {(int(r), int(p)) for r, p in rows[:, :2].tolist()}:
            keys = rows[(rows[:, 0] == row) & (rows[:, 1] == place), 2]
            weights = [found[layer][row, head, place, keys].sum().log() for head in heads]
            losses.append(-torch.stack(weights).mean())
    assert len(losses) > 20
    torch.testing.assert_close(output.loss - plain.loss, torch.stack(losses).mean(), rtol=1e-3, atol=1e-3)


def test_a_grown_model_answers_as_before(
    small: tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor],
) -> None:
    model, processor = small
    grown = grow(model, 8, len(processor.tokenizer) + 5).eval()
    clip, ids = drawn(processor, 6)
    tree = build_tree(ids[:40], torch.arange(40).expand(3, -1), 40, direct_branches(clip, 1))
    inputs = (tree.input_ids[None], tree.position_ids[:, None])
    with torch.no_grad():
        before, after = (one.mllm.lm_head(one.read(*inputs)) for one in (model, grown))
    torch.testing.assert_close(after[..., : before.shape[-1]], before)
    assert len(grown.mllm.model.language_model.layers) == 8
    with pytest.raises(InputError):
        grow(model, 5)


def test_evidence_counts_tokens_of_the_whole_tree() -> None:
    branches = [
        LedBranch(ids=(1, 2, 3), labels=(1, 2, 3), evidence=(Evidence(1, (4, 5), "edge"),)),
        LedBranch(ids=(1, 2), labels=(1, 2), evidence=(Evidence(1, (0,), "choice", own=True),)),
    ]
    edge, choice = LEADS.index("edge"), LEADS.index("choice")
    assert evidence_rows(branches, 10).tolist() == [[11, 4, edge], [11, 5, edge], [14, 13, choice]]


def test_a_model_of_both_styles_is_asked_for_a_scan_by_name(
    small: tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor],
) -> None:
    _, processor = small
    data = ShapesData(clips_per_step=1, image_share=0.0, mix=ClipMix(scans=2, names=1, direct=2, located=1))
    trees = build_batch(data, 0, 1, processor).trees
    texts = [
        processor.tokenizer.decode(trees.input_ids[0, trees.branch[0] == branch])
        for branch in range(int(trees.branch.max()) + 1)
    ]
    assert len(texts) == 6
    for text in texts:
        assert text.startswith(SCAN_HINT) == (":" in text)


def test_both_styles_are_written_into_the_configuration(tmp_path: Path) -> None:
    """From the shipped checkpoint on: grown, led, and exported as an ordinary checkpoint."""
    config = override(
        RECIPES["shapes-direct"](), ["base=shapes", "layers=10", "optim.steps=1", "data.clips_per_step=1"]
    )
    stage = ShapesBridgeStage(config)
    start = stage.build(lambda line: None)
    source = stage.source(start.processor, 1, None)
    batch = source.batch(0, slice(None))
    output = start.model(**batch.inputs(start.processor), **stage.counts(batch), **stage.options(1))
    output.loss.backward()
    whole = stage.whole(start.model)

    # The spatial decoder inside learns at its own rate.
    language, spatial = parameter_groups(start.model, config, start.spatial_prefix)
    assert {id(p) for p in spatial["params"]} == {
        id(p) for p in whole.localizer.parameters() if p.requires_grad
    }
    assert (language["lr"], spatial["lr"]) == (config.optim.lr, config.optim.spatial_lr)

    assert whole.mllm.model.language_model.layers[7].self_attn.q_proj.weight.grad.abs().sum() > 0
    notes = stage.notes(output, batch, stage.counts(batch))
    assert {"video/lead_edge", "video/probe_second"} <= set(notes)

    stage.export(start.model, start.processor, tmp_path, None)
    processor = BridgeSTGProcessor.from_pretrained(tmp_path)
    assert tuple(processor.config.answer_styles) == ("scan", "direct")
    assert len(processor.plain_ids("[123, 1000]")) == 6
    again = BridgeSTGForVideoGrounding.from_pretrained(tmp_path)
    assert len(again.mllm.model.language_model.layers) == 10


def test_the_quick_series_hands_its_checkpoints_on(tmp_path: Path) -> None:
    first, *others = shapes_quick(tmp_path)
    assert first.base is None
    before = first
    for config in others:
        assert config.base == str(tmp_path / before.name / "checkpoint")
        # The language model learns on scenes of one or two objects; a detector has all.
        most = max(lesson.max_objects for lesson in config.data.curriculum)
        assert most == (6 if config.stage == "detector" else 2)
        # What was changed is checked as a file of it would be.
        assert type(config).model_validate(config.model_dump()) == config
        before = config
    assert [config.stage for config in (first, *others)] == ["vision", "pretrain", "detector", "bridge"]
