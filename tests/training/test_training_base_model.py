"""Runs that start from folders as the hub has them: a Qwen3-VL, a detector, nothing put together by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from support.small_runs import bridge, build_model, pretrain, quiet, train
from support.tiny_folders import save_detector, save_mllm, without_det
from transformers import Qwen3VLForConditionalGeneration
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.cli.runs import recipe
from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.model import MAX_TOKENS_PER_FRAME, small_spatial_config, small_tokenizer
from bridge_stg.training import base_model
from bridge_stg.training.base_model import lasting_name, read_base
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.record_source import AnnotatedClips
from bridge_stg.training.settings import override
from bridge_stg.types import TimeSpan
from bridge_stg.weights.adapter_files import load_adapters
from bridge_stg.weights.locate import checkpoint_folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL as published: in bfloat16, embeddings not tied, spare rows, and no <det>."""
    folder = tmp_path_factory.mktemp("qwen") / "Qwen3-VL-tiny"
    save_mllm(without_det(small_tokenizer()), folder, tied=False, spare_rows=3)
    Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector") / "mm"
    save_detector("mm-grounding-dino", folder, levels=5)
    return folder


@pytest.fixture(scope="module")
def small_paper(qwen: Path, detector: Path, shapes_data: Path) -> TrainConfig:
    """A published recipe on one tiny data set, for two steps with rates that show."""
    values = recipe("lora-2b-1x24gb").model_dump(mode="json")
    values["data"]["records"] |= {
        "sources": [{"name": "shapes", "path": "."}],
        "root": str(shapes_data),
        "clips_per_step": 2,
    }
    config = TrainConfig.model_validate(values)
    return override(
        config,
        [
            f"base={qwen}",
            f"detector={detector}",
            "max_tokens_per_frame=48",
            "data.workers=0",
            "optim.accumulate=2",
            "optim.steps=2",
            "optim.lr=0.01",
            "optim.spatial_lr=0.01",
            "optim.warmup_ratio=0",
            "log_every=1",
            "save_minutes=1e-9",
        ],
    )


@pytest.fixture(scope="module")
def run_folder(small_paper: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of the command on it, and what it said."""
    folder = tmp_path_factory.mktemp("assembled")
    AcceleratorState._reset_state()
    (folder / "run.json").write_text(json.dumps(small_paper.model_dump(mode="json")))
    done = CliRunner().invoke(main.app, ["train", str(folder / "run.json"), "--out", str(folder / "run")])
    assert done.exit_code == 0, done.output
    return folder / "run", done.stdout


def test_a_published_recipe_runs_on_hub_folders(run_folder: tuple[Path, str], qwen: Path) -> None:
    out, said = run_folder
    loaded, new, left_out = (said.index(f"{word}: ") for word in ("loaded", "new", "left out"))
    assert loaded < new < left_out < said.index("optimizer group language")
    assert "<det>" in said[new:left_out]
    assert "detector" in said[left_out:]
    assert json.loads((out / "checkpoint" / "adapter.json").read_text())["base"] == str(qwen)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]


def test_adapters_on_an_assembled_base_come_back_whole_and_merged(
    run_folder: tuple[Path, str], small_paper: TrainConfig, qwen: Path, tmp_path: Path
) -> None:
    """From anywhere, without the detector, and with every number that was made up at the start."""
    folder, out = run_folder[0] / "checkpoint", tmp_path / "deployed"
    done = CliRunner().invoke(main.app, ["merge", str(run_folder[0]), "--out", str(out)])
    assert done.exit_code == 0, done.output
    torch.manual_seed(99)  # what is drawn on the way must not matter
    model, processor = load_adapters(folder)
    parameters = dict(model.named_parameters())
    state = load_file(run_folder[0] / "state" / "model.safetensors")
    assert all(torch.equal(parameters[name], value) for name, value in state.items())
    assert {name.split(".")[0] for name in state} == {"mllm", "bridge", "localizer"}
    # Everything of the model is of the base or was saved.
    saved = {name for file in folder.glob("*.safetensors") for name in load_file(file)}
    made_up = [name for name in parameters if name not in saved and not name.startswith("mllm.")]
    assert made_up == []
    base = Qwen3VLForConditionalGeneration.from_pretrained(qwen, dtype=torch.float32)
    frozen = dict(base.named_parameters())
    compared = 0
    for name, value in parameters.items():
        plain = name.removeprefix("mllm.").replace(".base_layer", "").replace("token_adapter.", "")
        if name not in saved and plain in frozen:
            rows = min(len(value), model.config.det_token_id) if "embed_tokens" in name else len(value)
            rows = min(rows, model.config.det_token_id) if "lm_head" in name else rows
            assert torch.equal(value[:rows], frozen[plain][:rows]), name
            compared += 1
    assert compared > 20
    assert model.config.max_tokens_per_frame == 48
    merged = BridgeSTGForVideoGrounding.from_pretrained(out)
    # In the precision of the base, all of it.
    assert {p.dtype for p in merged.parameters()} == {torch.bfloat16}
    merged = merged.float()
    assert merged.config.max_tokens_per_frame == 48
    batch = AnnotatedClips(small_paper, processor).batch(0)
    inputs = {
        name: value for name, value in batch.inputs(processor).items() if name not in ("targets", "has_target")
    }
    start = build_model(small_paper).model.float()
    with torch.inference_mode():
        ours, theirs, before = (one.eval()(**inputs) for one in (model, merged, start))
    for mine, other, first in (
        (ours.logits, theirs.logits, before.logits),
        (ours.bridge, theirs.bridge, before.bridge),
        (ours.spatial.boxes, theirs.spatial.boxes, before.spatial.boxes),
    ):
        # Rounded to 8 bits of mantissa, weight by weight; what was learned is more than that.
        assert float((other - mine).abs().median()) < 0.05 * float(mine.abs().mean())
        assert float((mine - first).abs().max()) > 1e-3
    assert BridgeSTGProcessor.from_pretrained(out).config.det_token_id == processor.config.det_token_id


def test_every_process_builds_the_same_model(small_paper: TrainConfig) -> None:
    """What is drawn follows the run's seed and nothing else, and what is drawn and frozen would be lost."""
    models = []
    for seed in (0, 0, 1):
        set_seed(seed)
        model, _, origin = build_model(small_paper)
        models.append((dict(model.named_parameters()), origin))
        torch.rand(5)
    (one, first), (same, second), (other, third) = models
    assert first == second == third != ""
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    drawn = {name for name, value in one.items() if not torch.equal(value, other[name])}
    assert any(name.startswith("bridge.") for name in drawn)
    assert any(".lora_A" in name for name in drawn)
    assert [name for name in drawn if not one[name].requires_grad] == []


def test_what_learns_is_float32_and_what_is_frozen_follows_the_precision(
    small_paper: TrainConfig, qwen: Path
) -> None:
    for precision, frozen in (("bf16", torch.bfloat16), ("no", torch.float32)):
        model = build_model(override(small_paper, [f"precision={precision}"])).model
        kinds = {(p.requires_grad, p.dtype) for p in model.mllm.parameters()}
        assert kinds == {(True, torch.float32), (False, frozen)}
        half = {name.split(".")[0] for name, p in model.named_parameters() if p.dtype == torch.bfloat16}
        assert half == ({"mllm"} if precision == "bf16" else set())
    # Of a model that is written as a whole, nothing is rounded.
    model = build_model(override(small_paper, ["tune=full"])).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_run_in_bfloat16_is_validated(
    small_paper: TrainConfig, shapes_data: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(small_paper.model_dump(mode="json")))
    words = ["--set", "validation.every_steps=1", "--set", f"validation.data={shapes_data}"]
    words += ["--set", "validation.videos=1", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main.app, ["train", str(tmp_path / "run.json"), *words])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("validation after step") == 2
    # Untrained answers have no window; given one, boxes come out of both precisions together.
    model, processor, _ = build_model(small_paper)
    tubes = []
    for half in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            grounder = VideoGrounder(model if half else model.float(), processor, "in training")
            result = grounder.ground(clip, "the red circle", window=TimeSpan(0.0, 2.0), max_answer_tokens=3)
        assert result.tube is not None
        tubes.append(result.tube)
    assert len(tubes[0]) == len(tubes[1]) == 4


def test_the_shape_of_the_spatial_decoder_is_chosen(
    qwen: Path, small_paper: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = override(
        small_paper, ["detector=null", "spatial=small", f"max_tokens_per_frame={MAX_TOKENS_PER_FRAME}"]
    )
    config = read_base(small).model.config
    assert config.spatial.to_dict() == small_spatial_config().to_dict()
    assert (config.max_tokens_per_frame, config.spatial_short_side) == (48, 96)
    asked: list[Any] = []

    def assemble(base: Any, detector: Any, spatial: Any, **changes: Any) -> Any:
        asked.append((detector, spatial.d_model, spatial.backbone_embed_dim, changes))
        raise CheckpointError("enough")

    monkeypatch.setattr(base_model, "assemble", assemble)  # a Swin-L takes a minute to draw
    with pytest.raises(CheckpointError, match="enough"):
        read_base(override(small, ["spatial=paper", "max_tokens_per_frame=null"]))
    assert asked == [(None, 256, 192, {"mllm_dtype": torch.bfloat16, "objective": "bridge"})]


def test_recipes_start_from_the_hub_and_shapes_stay_small() -> None:
    for name, size in (("paper-8xh100", "8B"), ("lora-8b-1x80gb", "8B"), ("lora-2b-1x24gb", "2B")):
        config = recipe(name)
        assert config.base == f"Qwen/Qwen3-VL-{size}-Instruct"
        assert "mm_grounding_dino_large" in str(config.detector)
        assert (config.spatial, config.max_tokens_per_frame) == (None, None)
    for name in ("shapes-detector", "shapes"):
        config = recipe(name)
        assert (config.detector, config.spatial) == (None, "small")
        assert config.max_tokens_per_frame == MAX_TOKENS_PER_FRAME


# --- what a base may not be


def test_a_base_that_is_none_is_one_line(
    qwen: Path,
    detector: Path,
    run_folder: tuple[Path, str],
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    adapters = run_folder[0] / "checkpoint"
    plain = ["detector=null", "spatial=small"]
    cases = [
        (["base=null"], "no base to start from is given; --set base=NAME"),
        (["base=null"], "a shipped one (shapes"),
        (
            [f"base={tmp_path / 'nowhere'}"],
            "is not a folder; --set base=NAME takes what the recipe of the stage before writes",
        ),
        ([f"base={tmp_path / 'empty'}"], "holds no config.json"),
        ([f"base={run_folder[0]}"], f"is the folder of a run; give {adapters}"),
        ([f"base={adapters}"], "holds what LoRA tuning learned"),
        ([f"base={detector}"], "holds a mm-grounding-dino model; it must be a Qwen3-VL or a Bridge-STG"),
        (["base=nobody/nothing"], "is neither a folder nor a hub id that can be read"),
        (["detector=null"], "say what that starts from: --set detector="),
        ([f"detector={qwen}"], "a detector must be one of"),
        (["detector=nobody/nothing"], "nobody/nothing: cannot be loaded as a detector"),
        ([f"base={small_checkpoint}"], "is a Bridge-STG already; --set detector=null"),
        (
            [f"base={small_checkpoint}", *plain, "max_tokens_per_frame=9"],
            "max_tokens_per_frame=null (it is 48)",
        ),
        ([f"base={small_checkpoint}", "detector=null", "spatial=paper"], "has another shape than 'paper'"),
    ]
    for settings, words in cases:
        more = [] if settings[-1].startswith("max_tokens") else ["max_tokens_per_frame=null"]
        with pytest.raises(InputError) as refused:
            train(
                bridge(qwen, 2, "spatial=null", f"detector={detector}", *more, *settings),
                tmp_path / "out",
                quiet,
            )
        assert words in str(refused.value), settings
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()
    # A Bridge-STG of the shape that a recipe says is fine.
    assert read_base(bridge(small_checkpoint, 2)).loaded


@pytest.mark.parametrize("side", [64, None])
def test_a_base_whose_decoder_reads_other_frames_is_refused(
    small_checkpoint: Path, tmp_path: Path, side: int | None
) -> None:
    """The small decoder in all but the size of its frames, which None leaves as they are sampled."""
    base = tmp_path / "base"
    shutil.copytree(small_checkpoint, base)
    values = json.loads((base / "config.json").read_text())
    assert values["spatial_short_side"] == 96
    (base / "config.json").write_text(json.dumps(values | {"spatial_short_side": side}))
    with pytest.raises(InputError) as refused:
        read_base(bridge(base, 2))
    assert str(refused.value) == (
        f"base {str(base)!r} is a Bridge-STG already; "
        "--set spatial=null (its spatial decoder reads other frames than 96 pixels)"
    )
    # What the line says to set is enough.
    assert read_base(bridge(base, 2, "spatial=null")).model.config.spatial_short_side == side


def test_a_vision_tower_of_another_size_is_refused(qwen: Path) -> None:
    with pytest.raises(CheckpointError, match="vision tower"):
        build_model(override(pretrain(2), [f"base={qwen}"]))


def test_the_vision_tower_of_a_base_is_taught_further(tmp_path: Path) -> None:
    first, _, _ = build_model(override(recipe("shapes-vision"), []))
    first.model.mllm.save_pretrained(tmp_path)
    further, _, origin = build_model(override(recipe("shapes-vision"), [f"base={tmp_path}"]))
    read, taken = (model.model.mllm.model.visual.state_dict() for model in (first, further))
    assert all(torch.equal(taken[name], value) for name, value in read.items())
    assert all(parameter.requires_grad for parameter in further.model.mllm.model.visual.parameters())
    # Another base is noticed when the run goes on.
    other, _, _ = build_model(override(recipe("shapes-vision"), []))
    torch.nn.init.ones_(other.model.mllm.model.visual.blocks[0].norm1.bias)
    other.model.mllm.save_pretrained(tmp_path / "other")
    assert build_model(override(recipe("shapes-vision"), [f"base={tmp_path / 'other'}"])).origin != origin


def test_choices_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match="detector or spatial"):
        override(recipe("shapes"), ["detector=a/b"])
    with pytest.raises(InputError, match=r"'vision' .*spatial, max_"):
        override(recipe("shapes"), ["stage=vision", "validation.every_steps=5"])
    for setting in ("detector=a/b", "spatial=small", "max_tokens_per_frame=9"):
        with pytest.raises(InputError, match="'pretrain'"):
            override(recipe("shapes-pretrain"), [setting])


# --- going on


def test_a_run_goes_on_only_with_what_it_started_from(
    run_folder: tuple[Path, str], small_paper: TrainConfig, qwen: Path, detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder[0], out)
    places = {"base": qwen, "detector": detector}
    for name, place in places.items():
        moved, other = tmp_path / f"moved-{name}", tmp_path / f"other-{name}"
        shutil.copytree(place, moved)
        heard: list[str] = []
        train(override(small_paper, [f"{name}={moved}"]), out, heard.append)
        assert "going on from step 2" in heard
        assert [line for line in heard if line.startswith(f"changed since the last start: {name}: ")]
        shutil.copytree(place, other)
        values = load_file(other / "model.safetensors")
        part = "layers.0.input_layernorm.weight" if name == "base" else "decoder.layer_norm.weight"
        norm = next(key for key in values if key.endswith(part))
        values[norm] = values[norm] + 0.5
        save_file(values, other / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match="other weights") as refused:
            train(override(small_paper, [f"{name}={other}"]), out, quiet)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["tune=full"], "tune: lora -> full"),
        (["model.num_bridge_queries=4"], "model.num_bridge_queries: None -> 4"),
        (["optim.steps=1"], "optim.steps is 1 and 2 are done"),
        (["tune=full", "optim.steps=1"], "tune: lora -> full; optim.steps is 1"),
    ],
)
def test_what_cannot_change_is_refused_before_anything_is_loaded(
    run_folder: tuple[Path, str], small_paper: TrainConfig, settings: list[str], words: str
) -> None:
    with pytest.raises(InputError, match="another") as refused:
        train(override(small_paper, [*settings, "base=/nowhere/at/all"]), run_folder[0], quiet)
    assert words in str(refused.value)


def test_the_shipped_checkpoint_is_a_base_by_its_name() -> None:
    model, processor, origin = build_model(override(recipe("shapes"), ["base=shapes"]))
    # How sure the base may be says nothing about what is learned from it.
    assert BridgeSTGConfig.from_pretrained(checkpoint_folder("shapes")).calibration is not None
    assert model.config.calibration is None
    assert processor.config is model.config

    shipped = BridgeSTGForVideoGrounding.from_pretrained(checkpoint_folder("shapes"))
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in shipped.state_dict().items())
    assert origin


def test_a_base_is_found_again_from_anywhere(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(qwen.parent)
    assert lasting_name(qwen.name) == str(qwen)
    assert lasting_name("Qwen/Qwen3-VL-2B-Instruct") == "Qwen/Qwen3-VL-2B-Instruct"
    assert (Path(lasting_name("shapes")) / "config.json").is_file()
