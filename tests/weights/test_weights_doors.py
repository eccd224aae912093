"""The Hugging Face level as other tools use it, and weights that are refused."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import bridge_stg
from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.files.shipped import SHIPPED, shipped_folder
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.stored_weights import float_dtype

AUTO = """
import sys
import bridge_stg
assert not {"torch", "transformers"} & set(sys.modules)
from transformers import AutoConfig, AutoModel, AutoProcessor
assert "bridge_stg.model.modeling" not in sys.modules
for kind in (AutoProcessor, AutoConfig, AutoModel):
    print(type(kind.from_pretrained(sys.argv[1])).__name__)
"""


def test_the_auto_classes_know_it_after_the_import(small_checkpoint: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AUTO, str(small_checkpoint)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["BridgeSTGProcessor", "BridgeSTGConfig", "BridgeSTGForVideoGrounding"]


def test_everything_that_is_exported_can_be_had() -> None:
    for name in bridge_stg.__all__:
        assert getattr(bridge_stg, name) is not None


def test_one_precision_through_saving_and_the_auto_class(small_checkpoint: Path, tmp_path: Path) -> None:
    model = BridgeSTGForVideoGrounding.from_pretrained(small_checkpoint, dtype="bfloat16")
    model.save_pretrained(tmp_path)
    for loaded in (AutoModel.from_pretrained(tmp_path), BridgeSTGForVideoGrounding.from_pretrained(tmp_path)):
        assert {value.dtype for value in loaded.parameters()} == {torch.bfloat16}
    full = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert {value.dtype for value in full.parameters()} == {torch.float32}


def test_a_processor_leaves_the_configuration_of_the_model(small_checkpoint: Path, tmp_path: Path) -> None:
    model = BridgeSTGForVideoGrounding.from_pretrained(small_checkpoint)
    processor = BridgeSTGProcessor.from_pretrained(small_checkpoint)
    model.config.longest_clip = 7.0
    model.save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_text()
    processor.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text() == before
    processor.save_pretrained(tmp_path / "alone")
    assert json.loads((tmp_path / "alone" / "config.json").read_text())["longest_clip"] is None


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_names(name: str) -> None:
    assert BridgeSTGProcessor.from_pretrained(name).config.mllm.model_type == "qwen3_vl"
    assert (shipped_folder(name) / "config.json").is_file()


@pytest.mark.parametrize("door", [VideoGrounder, BridgeSTGForVideoGrounding, BridgeSTGProcessor])
def test_a_misspelt_name_is_refused_before_the_hub_is_asked(door: Any) -> None:
    with pytest.raises(CheckpointError) as caught:
        door.from_pretrained("shaps")
    assert "(did you mean shapes?)" in str(caught.value)


@pytest.mark.parametrize("door", [VideoGrounder, BridgeSTGForVideoGrounding, BridgeSTGProcessor])
def test_a_name_that_was_shipped_once_says_what_to_give_instead(door: Any) -> None:
    with pytest.raises(CheckpointError, match=r"shapes-direct: .*\bshapes\b.*--answer direct"):
        door.from_pretrained("shapes-direct")


@pytest.fixture
def damaged(small_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_checkpoint, tmp_path / "damaged"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(damaged: Path, value: float) -> None:
    file = damaged / "model.safetensors"
    tensors = load_file(file)
    name = "bridge.queries"
    tensors[name][0, 0] = value
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=name):
        VideoGrounder.from_pretrained(damaged, device="cpu")


def test_whole_numbers_are_no_weights(damaged: Path) -> None:
    file = damaged / "model.safetensors"
    tensors = load_file(file)
    tensors["bridge.queries"] = tensors["bridge.queries"].to(torch.int8)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"bridge\.queries"):
        BridgeSTGForVideoGrounding.from_pretrained(damaged)


def test_names_of_dtypes() -> None:
    assert float_dtype("float16") == float_dtype("torch.float16") == float_dtype(torch.float16) == torch.float16
    wrong: list[Any] = ["int8", torch.int8, "bf17", 3]
    for name in wrong:
        with pytest.raises(InputError):
            float_dtype(name)


def test_a_pickled_grounder_is_its_name(small_checkpoint: Path) -> None:
    grounder = VideoGrounder.from_pretrained(small_checkpoint, device="cpu", dtype="bfloat16")
    stored = pickle.dumps(grounder)
    assert len(stored) < 1000
    opened = pickle.loads(stored)
    assert (opened.name, opened.model.dtype) == (grounder.name, torch.bfloat16)
