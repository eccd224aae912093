"""Settings: what is refused, and that every problem is said at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge_stg.cli.runs import RECIPES, recipe
from bridge_stg.errors import InputError
from bridge_stg.losses.weights import LossWeights
from bridge_stg.shapes.configuration import ClipMix, ImageMix, Lesson, ShapesData, ShapesTrainConfig
from bridge_stg.training.configuration import (
    RecordsConfig,
)
from bridge_stg.training.settings import override, resolve


def test_a_file_and_settings_are_judged_together() -> None:
    """Sections and fields that a file leaves out can be set; all that is wrong with either is said at once."""
    whole = recipe("shapes").model_dump(mode="json")
    del whole["validation"], whole["optim"]["accumulate"]
    settings = ["validation.every_steps=5", "optim.accumulate=2", "base=null", "data.seed=4"]
    found = resolve(whole, settings, "file", ShapesTrainConfig)
    assert (found.validation.every_steps, found.optim.accumulate, found.base, found.data.seed) == (
        5,
        2,
        None,
        4,
    )
    assert "validation" not in whole
    with pytest.raises(InputError) as caught:
        resolve(
            whole | {"speed": 1, "tune": "half"},
            ["optim.lr=-1", "optim.pace=1", "lr"],
            "file: bad",
            ShapesTrainConfig,
        )
    message = str(caught.value)
    assert message.startswith("file: bad: ")
    for part in ("speed", "tune", "optim.lr", "'optim.pace'", "'lr'"):
        assert part in message
    with pytest.raises(InputError, match="file: "):
        resolve(["no", "mapping"], ["optim.lr=1"], "file", ShapesTrainConfig)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_are_valid_and_survive_json(name: str) -> None:
    config = recipe(name)
    assert config.name == name
    assert type(config).model_validate(json.loads(json.dumps(config.model_dump()))) == config


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'shape'.* shapes\?.* paper-8xh100"):
        recipe("shape")


def test_settings_change_what_they_name_and_nothing_else() -> None:
    config = recipe("shapes")
    changed = override(config, ["optim.lr=5e-5", "data.mix.located=1", "tune=lora", "weights.box=0.5"])
    assert (changed.optim.lr, changed.data.mix.located, changed.tune) == (5e-5, 1, "lora")
    back = override(
        changed,
        [
            f"optim.lr={config.optim.lr}",
            f"data.mix.located={config.data.mix.located}",
            f"tune={config.tune}",
            f"weights.box={config.weights.box}",
        ],
    )
    assert back == config
    assert override(config, []) == config


def test_every_problem_is_listed_at_once() -> None:
    bad = ["optim.lr", "optim.speed=2", "data.mix=3", "optim.steps=-1", "tune=half", "a.b.c=1", "seed=1"]
    with pytest.raises(InputError) as caught:
        override(recipe("shapes"), bad)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("'optim.lr'", "'optim.speed'", "data.mix", "optim.steps", "tune", "'a.b.c'", "'seed'"):
        assert part in message


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("optim.lr=nan", "optim.lr"),
        ("optim.lr=inf", "optim.lr"),
        ("optim.clip_norm=inf", "optim.clip_norm"),
        ("validation.every_minutes=inf", "validation.every_minutes"),
        ("optim.lr=fast", "optim.lr"),
        ("optim.lr=", "optim.lr"),
        ("data.image_share=1.5", "data.image_share"),
        ("data.workers=-1", "data.workers"),
        ("data.min_duration=13", "min_duration 13.0 is above"),
        ("data.seed=-1", "data.seed"),
        ("data.seed=5000000000", "data.seed"),
        ("save_minutes=0", "save_minutes"),
        ("stage=bridges", "stage"),
        ("=3", "unknown key"),
    ],
)
def test_a_bad_value_is_an_input_error(setting: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        override(recipe("shapes"), [setting])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("steeps", "optim.steps"),
        ("warmupratio", "optim.warmup_ratio"),
        ("optm.steps", "optim.steps"),
        ("workers", "data.workers"),
        ("objectve", "objective"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_one_that_was_meant(key: str, meant: str) -> None:
    with pytest.raises(InputError) as refused:
        override(recipe("tune"), [f"{key}=3"])
    assert f"did you mean {meant}?" in str(refused.value)


def test_a_run_that_would_learn_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="num_positive and num_negative"):
        override(recipe("shapes"), ["data.num_positive=0", "data.num_negative=0"])
    assert override(recipe("shapes"), ["data.num_positive=0"]).data.num_negative == 1
    # Stages that locate nothing do not mind.
    override(recipe("shapes-pretrain"), ["data.num_positive=0", "data.num_negative=0"])
    for mix, fields, never in (
        ("mix", ClipMix.model_fields, "data.image_share=1"),
        ("image_mix", ImageMix.model_fields, "data.image_share=0"),
    ):
        shares = [f"data.{mix}.{name}=0" for name in fields]
        for name in ("shapes", "shapes-pretrain"):
            with pytest.raises(InputError, match=rf"data\.{mix}"):
                override(recipe(name), shares)
            override(recipe(name), [*shares, never])


def test_weights_are_those_of_the_objective() -> None:
    small = replace(LossWeights.ovdino(), spatial=0.4, objectness=2.0)
    assert recipe("shapes").weights == small
    assert recipe("paper-8xh100").weights == LossWeights.paper()
    changed = override(recipe("shapes"), ["weights.alignment=0", "weights.denoising_box=2"]).weights
    assert changed == replace(small, alignment=0.0, denoising_box=2.0)
    with pytest.raises(InputError, match=r"weights\.giou"):
        override(recipe("shapes"), ["weights.giou=-1"])


def lessons(*ends: float) -> list[dict[str, Any]]:
    return [{"until": end, "min_objects": 1, "max_objects": 2} for end in ends]


@pytest.mark.parametrize("ends", [(), (0.5,), (0.5, 0.2, 1.0), (0.5, 0.5, 1.0), (1.0, 0.5)])
def test_a_curriculum_covers_the_run(ends: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="end at 1"):
        ShapesData.model_validate({"curriculum": lessons(*ends), "mix": {}, "image_mix": {}})


def test_a_lesson_has_its_objects_in_order() -> None:
    with pytest.raises(ValidationError, match="less than"):
        Lesson(until=1.0, min_objects=3, max_objects=2)


def test_some_of_the_sources_can_be_chosen_by_name() -> None:
    config = recipe("paper-8xh100")
    assert config.data.records is not None
    assert config.data.records.chosen == config.data.records.sources
    fewer = override(config, ["data.records.only=got10k, vidstg"]).data.records
    assert fewer is not None
    assert [source.name for source in fewer.chosen] == ["vidstg", "got10k"]
    assert RecordsConfig.model_validate(json.loads(fewer.model_dump_json())) == fewer
    with pytest.raises(InputError, match=r"'coco'.* vidstg, "):
        override(config, ["data.records.only=vidstg,coco"])


def test_what_is_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "here").mkdir(parents=True)
    config = recipe("lora-2b-1x24gb")
    assert config.from_hub == [config.base, config.detector]
    for base in ("/nowhere", "runs/shapes/checkpoint", "owner/here", "./name", "name", "null"):
        assert override(config, [f"base={base}", "detector=null"]).from_hub == []


@pytest.mark.parametrize("stage", ["vision", "detector"])
def test_stages_that_teach_to_see_have_no_annotated_videos(stage: str) -> None:
    values = recipe(f"shapes-{stage}").model_dump()
    values["data"]["records"] = {"sources": [{"name": "a", "path": "a"}]}
    with pytest.raises(InputError, match=f"'{stage}'"):
        resolve(values, [], "run.json", ShapesTrainConfig)
