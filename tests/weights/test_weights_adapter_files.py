"""What LoRA tuning saves is small, and comes back, merged or not, as the model that was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_runs import bridge, quiet, source_of, train
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import CheckpointError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, adapter_parameters
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.weights.adapter_files import load_adapters, save_adapters
from bridge_stg.weights.fingerprint import base_fingerprint

FILES = ["adapter.safetensors", "bridge.safetensors", "spatial.safetensors"]


@pytest.fixture(scope="module")
def run_folder(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps with a rate that shows in every output."""
    out = tmp_path_factory.mktemp("lora") / "run"
    config = bridge(
        small_checkpoint, 2, "tune=lora", "optim.lr=0.01", "optim.spatial_lr=0.01", "data.image_share=0"
    )
    train(config, out, quiet)
    return out


def merge(*words: object) -> Any:
    return CliRunner().invoke(main.app, ["merge", *(str(word) for word in words)])


def outputs(model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor) -> dict[str, torch.Tensor]:
    config = bridge(Path("unused"), 2, "data.image_share=0", "data.mix.located=2")
    batch = source_of(config, processor).batch(0, slice(None)).inputs(processor)
    with torch.inference_mode():
        found = model.eval()(**{name: batch[name] for name in batch if name not in ("targets", "has_target")})
    return {"logits": found.logits, "bridge": found.bridge, "boxes": found.spatial.boxes}


def test_only_what_was_learned_is_saved(run_folder: Path, small_checkpoint: Path) -> None:
    folder = run_folder / "checkpoint"
    assert sorted(file.name for file in folder.glob("*.safetensors")) == FILES
    assert {file.stat().st_mode for file in folder.iterdir()} == {(folder / "config.json").stat().st_mode}
    adapter = load_file(folder / "adapter.safetensors")
    assert all(".lora_" in name or ".trainable_tokens_" in name for name in adapter)
    assert not [name for name in adapter if ".visual." in name]
    # Of the embedding, one row.
    rows = [value for name, value in adapter.items() if ".trainable_tokens_" in name]
    assert [value.shape for value in rows] == [(1, 128)]
    about = json.loads((folder / "adapter.json").read_text())
    assert (about["base"], about["rank"], about["alpha"]) == (str(small_checkpoint), 8, 32)
    # The base was not touched.
    base = load_file(small_checkpoint / "model.safetensors")
    assert sum(value.numel() for value in adapter.values()) < 0.02 * sum(
        value.numel() for value in base.values()
    )


def test_adapters_and_the_merged_folder_give_equal_outputs(
    run_folder: Path, small_checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deployed"
    done = merge(run_folder, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"wrote {out}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["deployed"]
    model, processor = load_adapters(run_folder / "checkpoint")
    assert adapter_parameters(model)
    merged = BridgeSTGForVideoGrounding.from_pretrained(out)
    assert not adapter_parameters(merged)
    ours, theirs = outputs(model, processor), outputs(merged, BridgeSTGProcessor.from_pretrained(out))
    base = outputs(BridgeSTGForVideoGrounding.from_pretrained(small_checkpoint), processor)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-5)
        assert float((value - base[name]).abs().max()) > 1e-3, f"{name} did not learn, so nothing was compared"
    # What was saved is what was trained.
    state = load_file(run_folder / "state" / "model.safetensors")
    parameters = dict(model.named_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in state.items())
    result = VideoGrounder.from_pretrained(str(out), device="cpu").ground(clip, "the red circle")
    assert result.checkpoint == str(out)


def test_a_moved_base_is_named_and_another_one_is_refused(
    run_folder: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    folder, moved = tmp_path / "adapter", tmp_path / "moved"
    shutil.copytree(run_folder / "checkpoint", folder)
    shutil.copytree(small_checkpoint, moved)
    about = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps(about | {"base": str(tmp_path / "gone")}))
    done = merge(folder, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "--base" in done.stderr
    assert merge(folder, "--out", tmp_path / "out", "--base", moved).exit_code == 0
    weights = load_file(moved / "model.safetensors")
    weights["mllm.model.language_model.norm.weight"] += 0.1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    done = merge(folder, "--out", tmp_path / "other", "--base", moved)
    assert done.exit_code == 2
    assert " base" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda folder: (folder / "bridge.safetensors").unlink(), "bridge.safetensors: cannot be read"),
        (lambda folder: (folder / "spatial.safetensors").write_bytes(b"x" * 20), "cannot be read"),
        (
            lambda folder: save_file({"mllm.a": torch.ones(1)}, folder / "adapter.safetensors"),
            "keys too many or too few",
        ),
        (lambda folder: (folder / "adapter.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "adapter.json").write_text('{"schema": "x"}'), "schema 'x'"),
        (lambda folder: (folder / "adapter.json").unlink(), "holds no adapter.json"),
    ],
)
def test_a_damaged_folder_is_said(run_folder: Path, tmp_path: Path, change: Any, part: str) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(run_folder / "checkpoint", folder)
    change(folder)
    with pytest.raises(CheckpointError, match=part):
        load_adapters(folder)


def test_merge_refuses(run_folder: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    cases = [
        ((tmp_path / "nothing", "--out", tmp_path / "o"), "no finished checkpoint of LoRA tuning here"),
        ((small_checkpoint, "--out", tmp_path / "o"), "a whole checkpoint already"),
        ((run_folder, "--out", tmp_path / "full"), "exists and is not an empty folder"),
    ]
    for words, part in cases:
        done = merge(*words)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert part in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_a_fingerprint_does_not_depend_on_precision_or_adapters(
    run_folder: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    plain = BridgeSTGForVideoGrounding.from_pretrained(small_checkpoint)
    model, processor = load_adapters(run_folder / "checkpoint")
    assert base_fingerprint(plain) == base_fingerprint(model) == base_fingerprint(plain.bfloat16())
    with pytest.raises(ValueError, match="adapters"):
        save_adapters(plain, processor, "base", tmp_path)
