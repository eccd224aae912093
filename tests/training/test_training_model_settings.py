"""The model section: from any base, what does not fit is new and listed, and what is trained comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.small_runs import bridge, build_model, quiet, source_of, train

from bridge_stg.cli.runs import open_stage, recipe
from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.training.settings import override
from bridge_stg.weights.adapter_files import load_adapters


@pytest.mark.parametrize(
    ("settings", "new", "left_out"),
    [
        (["eta_mode=append"], [], []),
        (["num_bridge_queries=16"], ["bridge.queries"], ["bridge.queries"]),
        (["bridge=det"], [], ["bridge.queries"]),
        (["bridge=none"], ["bridge.constants"], ["bridge.queries"]),
        (["topk=7"], [], []),
        (
            ["select_layers=last"],
            [],
            [
                f"localizer.selector.{kind}.0.{leaf}"
                for kind in ("projections", "norms")
                for leaf in ("weight", "bias")
            ],
        ),
    ],
)
def test_what_does_not_fit_is_new_and_listed(
    small_checkpoint: Path, settings: list[str], new: list[str], left_out: list[str]
) -> None:
    config = bridge(small_checkpoint, 1, *(f"model.{setting}" for setting in settings))
    heard: list[str] = []
    start = open_stage(config).build(heard.append)
    said = "\n".join(heard)
    for title, keys in (("new", new), ("left out", left_out)):
        assert not keys or f"{title}: {len(keys)} keys" in said
    base = BridgeSTGForVideoGrounding.from_pretrained(small_checkpoint)
    before = dict(base.named_parameters())
    kept = {name: p for name, p in start.model.named_parameters() if name not in new}
    if settings == ["select_layers=last"]:
        # The map of the last layer goes with its layer.
        first = start.model.localizer.selector.projections[0].weight
        assert torch.equal(first, base.localizer.selector.projections[-1].weight)
        kept = {name: p for name, p in kept.items() if ".selector." not in name}
    assert all(torch.equal(value, before[name]) for name, value in kept.items())


def test_encoder_layers_are_added_and_taken_away(small_checkpoint: Path) -> None:
    for count in (1, 4):
        model = build_model(bridge(small_checkpoint, 1, f"model.num_encoder_layers={count}")).model
        assert len(model.localizer.encoder.layers) == len(model.localizer.selector.projections) == count


def test_a_cut_bridge_hears_nothing_of_the_language_model(small_checkpoint: Path) -> None:
    """Boxes do not depend on the sentence; neither the language model nor its queries get their gradient."""
    config = bridge(small_checkpoint, 1, "model.bridge=none", "data.image_share=0")
    model, processor, _ = build_model(config)
    inputs = source_of(config, processor).batch(0, slice(None)).inputs(processor)
    del inputs["labels"]
    output = model.train()(**inputs)
    output.loss.backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert touched == {"bridge", "localizer"}
    assert bool((output.bridge == output.bridge[:1]).all())


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_changed_model_is_trained_saved_and_read_again(
    small_checkpoint: Path, clip: Path, tmp_path: Path, tune: str
) -> None:
    more = ["model.bridge=none", "model.num_encoder_layers=1", "model.eta_mode=append", f"tune={tune}"]
    folder = train(bridge(small_checkpoint, 1, *more), tmp_path, quiet)
    stored = json.loads((folder / "config.json").read_text())
    assert (stored["bridge"], stored["eta_mode"], stored["spatial"]["num_encoder_layers"]) == (
        "none",
        "append",
        1,
    )
    if tune == "lora":
        model, processor = load_adapters(folder)
        grounder = VideoGrounder(model, processor, "tuned")
    else:
        grounder = VideoGrounder.from_pretrained(str(folder), device="cpu")
    assert grounder.ground(clip, "the red circle").status in ("ok", "no_window", "empty_window", "absent")


def test_a_qwen3_vl_takes_the_section_too(tmp_path: Path) -> None:
    model, processor, _ = build_model(recipe("shapes-pretrain").model_copy(update={"base": None}))
    model.mllm.save_pretrained(tmp_path)
    processor.tokenizer.save_pretrained(tmp_path)
    settings = [
        f"base={tmp_path}",
        "model.select_layers=last",
        "model.query_budget=2",
        "model.num_bridge_queries=3",
        "model.answer=direct",
    ]
    made, _, _ = build_model(override(recipe("shapes"), settings))
    assert len(made.localizer.selector.projections) == 1
    assert made.localizer.config.query_budget == made.config.spatial.query_budget == 2
    assert len(made.bridge.queries) == 3
    assert list(made.config.answer_styles) == ["direct"]


@pytest.mark.parametrize(
    ("name", "setting", "word"),
    [
        ("shapes", "model.eta_mode=sideways", "model.eta_mode"),
        ("shapes", "model.num_bridge_querys=3", "did you mean model.num_bridge_queries?"),
        ("shapes-vision", "model.topk=3", "no choice of model.topk"),
        ("shapes", "model={bridge", "is no JSON"),
    ],
)
def test_bad_settings_are_said(name: str, setting: str, word: str) -> None:
    with pytest.raises(InputError) as caught:
        override(recipe(name), [setting])
    assert word in str(caught.value)


def test_a_section_can_be_given_as_json() -> None:
    config = override(recipe("shapes"), ['model={"bridge": "det", "topk": 5}', "data.image_share=0.5"])
    assert (config.model.bridge, config.model.topk) == ("det", 5)
    lessons = '[{"until": 1.0, "min_objects": 1, "max_objects": 2}]'
    assert len(override(recipe("shapes"), [f"data.curriculum={lessons}"]).data.curriculum) == 1
