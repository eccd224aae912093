"""Which token lies on which object, what the probe's loss adds up, and that the stage learns and hands over."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.small_runs import TINY, build_model, curve, quiet, source_of, train
from torch.utils.flop_counter import FlopCounterMode

from bridge_stg.cli.runs import open_stage, recipe
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.spatial.tokens import token_grid
from bridge_stg.shapes.detector_probe import label_objects, owners
from bridge_stg.shapes.model import new_model
from bridge_stg.shapes.vision_probe import COLOUR_NAMES, SHAPE_NAMES, UNKNOWN
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import SceneSettings
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.settings import override
from bridge_stg.training.throughput import StepOperations


def detector(base: Path, steps: int, *more: str) -> TrainConfig:
    return override(recipe("shapes-detector"), [*TINY, f"base={base}", f"optim.steps={steps}", *more])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage before writes, with weights that have learned nothing."""
    folder = tmp_path_factory.mktemp("pretrain")
    model, processor, _ = build_model(recipe("shapes-pretrain").model_copy(update={"base": None}))
    assert isinstance(model, BridgeSTGForVideoGrounding)
    model.mllm.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    return folder


def test_the_nearest_object_owns_a_token() -> None:
    """2 x 2 and 1 x 1 tokens: the far object fills the left half, the near one sits in its upper corner."""
    grid = token_grid([(2, 2), (1, 1)], [8, 16], torch.tensor([[16.0, 16.0]]), False, 0.15, torch.device("cpu"))
    far, near, absent = [0.0, 0.0, 0.5, 1.0], [0.2, 0.2, 0.3, 0.3], [0.0, 0.0, 1.0, 1.0]
    places = torch.tensor([[far, near, absent]])
    there = torch.tensor([[True, True, False]])
    # Upper left: both boxes hold its centre. Lower left: only the far one. The right half: nothing.
    # The only token of the second level is the next to both centres, and goes to the nearer object.
    assert owners(grid, places, there).tolist() == [[1, -1, 0, -1, 1]]
    assert owners(grid, places, torch.tensor([[True, False, False]])).tolist() == [[0, -1, 0, -1, 0]]


def test_labels_are_the_boxes_of_the_scene_from_far_to_near() -> None:
    scene = make_scene(5, SceneSettings(min_objects=4, max_objects=4, max_duration=8.0))
    times = np.array([0.4, 2.6])
    places, names = label_objects(scene, times, most=6)
    box, visible = boxes(scene, times)
    order = sorted(range(4), key=lambda index: scene.objects[index].depth)
    for frame in range(2):
        for place, index in enumerate(order):
            thing = scene.objects[index]
            if visible[index, frame]:
                np.testing.assert_allclose(places[frame, place], box[index, frame], rtol=1e-6)
                found = COLOUR_NAMES[names[frame, place, 0]], SHAPE_NAMES[names[frame, place, 1]]
                assert found == (thing.colour, thing.shape)
            else:
                assert names[frame, place].tolist() == [UNKNOWN, UNKNOWN]
    assert (names[:, 4:] == UNKNOWN).all()


def test_parts_of_a_step_add_up_to_the_step(base: Path) -> None:
    config = detector(base, 2, "data.clips_per_step=5", "weights.box=5")
    model, processor, _ = build_model(config)
    source = source_of(config, processor)
    whole = source.batch(0, slice(None))
    counts = open_stage(config).counts(whole)
    weights = LossWeights(box=5.0)
    model.eval()  # without the noise of denoising
    with torch.no_grad():
        together = model(**whole.inputs(processor), weights=weights)
        parts = [
            model(**source.batch(0, slice(start, None, 2)).inputs(processor), **counts, weights=weights)
            for start in (0, 1)
        ]
    torch.testing.assert_close(together.loss, sum(part.loss for part in parts), rtol=1e-5, atol=1e-5)
    assert float(sum(part.share for part in parts)) == pytest.approx(1.0)
    for name, (right, asked) in together.correct.items():
        pairs = [part.correct[name] for part in parts]
        assert (right, asked) == tuple(map(sum, zip(*pairs, strict=True)))


def test_steps_on_the_same_frames_name_them(base: Path) -> None:
    config = detector(base, 2, "data.clips_per_step=1")
    torch.manual_seed(0)
    model, processor, _ = build_model(config)
    batch = source_of(config, processor).batch(0, slice(None))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    start = None
    for _ in range(25):
        output = model(**batch.inputs(processor))
        start = start or output.loss.item()
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert output.loss.item() < 0.6 * start
    shape, asked = output.correct["shape"]
    assert shape > 0.8 * asked


def test_the_stage_moves_what_sees_and_hands_over_a_whole_model(base: Path, tmp_path: Path) -> None:
    config = detector(base, 2)
    began, _, _ = build_model(config)
    moving = {name for name, p in began.named_parameters() if p.requires_grad}
    parts = {name.removeprefix("model.localizer.").split(".")[0] for name in moving}
    assert parts == {name for name, _ in began.model.localizer.named_children()} | {"probes", "words"}
    folder = train(config, tmp_path, quiet)
    whole = BridgeSTGForVideoGrounding.from_pretrained(folder)
    language = began.model.mllm.state_dict()
    assert all(torch.equal(value, language[name]) for name, value in whole.mllm.state_dict().items())
    (first, second) = [line for line in curve(tmp_path) if "probe" in line]
    assert {f"probe/accuracy_{name}" for name in ("colour", "shape", "nothing", "object")} <= first.keys()
    assert second["step"] == 2


def test_a_base_that_was_tuned_before_is_asked_anew(tmp_path: Path) -> None:
    """Words and detector go on from it, what asks the detector does not."""
    torch.manual_seed(5)
    tuned, processor = new_model()
    tuned.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    config = override(
        recipe("shapes-detector"), [f"base={tmp_path}", "spatial=null", "max_tokens_per_frame=null"]
    )
    begun = build_model(config)[0].model
    kept = tuned.localizer.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in begun.localizer.state_dict().items())
    assert not torch.equal(begun.bridge.queries, tuned.bridge.queries)
    assert not any(parameter.requires_grad for parameter in begun.bridge.parameters())


def test_operations_are_those_that_torch_counts(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 15%, as for the other stages."""
    monkeypatch.setattr("bridge_stg.model.cpu_linear.MIN_ROWS", sys.maxsize)  # torch does not count oneDNN's
    config = detector(base, 2, "data.clips_per_step=3")
    model, processor, _ = build_model(config)
    batch = source_of(config, processor).batch(0, slice(None))
    counted = StepOperations(model.model)(batch.work(processor))
    with FlopCounterMode(display=False) as counter:
        model(**batch.inputs(processor)).loss.backward()
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.15)
