"""The baselines: what they learn from, that their parts add up, and that they answer like the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.small_runs import bridge, build_model, curve, quiet, source_of, train
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.losses.frame_boxes import frame_box_loss
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.frame_queries import FrameQueries
from bridge_stg.model.token_tree import IGNORE
from bridge_stg.prompting.written_boxes import boxes_text, read_boxes

VIDEO = ["data.image_share=0", "data.mix.located=2", "data.clips_per_step=2"]


@given(
    st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 999), st.integers(0, 999), st.integers(1, 1000)),
        max_size=6,
    )
)
def test_written_boxes_are_read_again(numbers: list[tuple[int, int, int, int]]) -> None:
    boxes = [
        (tenth / 10, (x / 1000, y / 1000, min(x + size, 1000) / 1000, min(y + size, 1000) / 1000))
        for tenth, x, y, size in numbers
    ]
    assert read_boxes(f"It starts at 1.0 seconds. {boxes_text(boxes)}") == boxes


def test_the_parallel_loss_by_hand() -> None:
    """Centres 0.1 apart, sizes equal: L1 0.1; overlap 0.3 of union 0.5, hull the union: 1 - GIoU 0.4."""
    boxes = torch.tensor([[0.5, 0.5, 0.4, 1.0], [0.1, 0.1, 0.1, 0.1]])
    targets = torch.tensor([[0.6, 0.5, 0.4, 1.0], [float("nan")] * 4])
    losses = frame_box_loss(boxes, targets, torch.tensor([True, False]), LossWeights(box=5, giou=2), 2)
    assert float(losses.box) == pytest.approx(0.1 / 2)
    assert float(losses.giou) == pytest.approx(0.4 / 2)
    assert float(losses.total) == pytest.approx(5 * 0.05 + 2 * 0.2)


def test_frame_queries_count_their_places() -> None:
    """Two runs of 3 and 2 places in one row: the k-th place of a run is frame k, whatever stands before it."""
    queries = FrameQueries(8)
    with torch.no_grad():
        queries.number.weight.normal_()
    mask = torch.tensor([[False, True, True, True, False, True, True, False]])
    made = queries.insert_queries(torch.zeros(1, 8, 8), mask)[0]
    assert torch.equal(made[1:3], made[5:7])
    assert not torch.allclose(made[1], made[2])
    assert not made[~mask[0]].any()


def test_what_a_parallel_model_learns_from(small_checkpoint: Path) -> None:
    config = bridge(small_checkpoint, 1, "objective=parallel", *VIDEO)
    model, processor, _ = build_model(config)
    batch = source_of(config, processor).batch(0, slice(None))
    inputs = batch.inputs(processor)
    assert "spatial_pixel_values" not in inputs
    # A query for each frame of the clip after every located sentence; every row is one of them.
    frames = [len(clip) for clip in batch.frames]
    places = inputs["slot_mask"].sum(1).tolist()
    assert all(place % count == 0 for place, count in zip(places, frames, strict=True))
    assert int(inputs["row_frame"].max()) < sum(places)
    assert bool(inputs["has_target"].all())
    model.eval()
    with torch.no_grad():
        output = model(**inputs)
    assert output.bridge.shape == (sum(places), 4)
    assert bool(torch.isfinite(output.loss))


def test_an_entangled_model_learns_boxes_as_words(small_checkpoint: Path) -> None:
    config = bridge(small_checkpoint, 1, "objective=entangled", "model.answer=direct", *VIDEO)
    _, processor, _ = build_model(config)
    batch = source_of(config, processor).batch(0, slice(None))
    assert batch.located is None
    words = processor.tokenizer.decode(batch.trees.labels[batch.trees.labels != IGNORE])
    found = read_boxes(words)
    assert len(found) > 3
    times = {second for second, _ in found}
    assert times <= set(np.arange(0, 40, 0.5).round(1).tolist())


@pytest.mark.parametrize("objective", ["entangled", "parallel"])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_baseline_is_trained_and_answers_like_the_rest(
    small_checkpoint: Path, clip: Path, shapes_data: Path, tmp_path: Path, objective: str, tune: str
) -> None:
    run = tmp_path / "run"
    folder = train(
        bridge(small_checkpoint, 2, f"objective={objective}", f"tune={tune}", *VIDEO, "optim.accumulate=2"),
        run,
        quiet,
    )
    assert ("video/box" in curve(run)[0]) == (objective == "parallel")
    if tune == "lora":
        done = CliRunner().invoke(main.app, ["merge", str(run), "--out", str(tmp_path / "merged")])
        assert done.exit_code == 0, done.output
        folder = tmp_path / "merged"
    assert json.loads((folder / "config.json").read_text())["objective"] == objective
    grounder = VideoGrounder.from_pretrained(str(folder), device="cpu")
    result = grounder.ground(clip, "the red circle", window=(1.0, 2.5), max_answer_tokens=20)
    assert result.tube is not None
    assert result.tube.times.tolist() == [1.0, 1.48, 2.0, 2.48]
    assert result.tube.boxes.shape == (4, 4)
    with pytest.raises(InputError, match="spatial decoder"):
        grounder.ground(clip, "the red circle", window=(1.0, 2.5), box_fps=5.0, max_answer_tokens=20)
    # Its weights go back into the paper's model, and what that has more is new.
    back = build_model(bridge(folder, 1)).model
    assert len(back.bridge.queries) == 8
