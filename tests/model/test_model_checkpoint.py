"""Saving and loading: the same outputs, and everything that does not match is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_models import make_video
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer

from bridge_stg.errors import CheckpointError
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path


def outputs(model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor) -> list[Tensor]:
    inputs = processor(make_video(3), ["the red circle"], answers=["left"])
    with torch.no_grad():
        output = model(**inputs)
    assert output.spatial is not None
    return [output.logits, output.bridge, output.spatial.boxes, output.spatial.logits]


@pytest.mark.parametrize("tied", [True, False])
def test_loaded_through_the_auto_classes_with_the_same_outputs(
    make_model: Callable[..., BridgeSTGForVideoGrounding],
    processor: BridgeSTGProcessor,
    tmp_path: Path,
    tied: bool,
) -> None:
    model = make_model(tied=tied)
    processor = BridgeSTGProcessor(processor.tokenizer, model.config)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".json", ".safetensors"]
    before = outputs(model, processor)
    loaded = AutoModel.from_pretrained(tmp_path)
    read = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, BridgeSTGForVideoGrounding)
    assert isinstance(read, BridgeSTGProcessor)
    assert not loaded.training
    for left, right in zip(before, outputs(loaded, read), strict=True):
        assert torch.equal(left, right)
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == len(processor.tokenizer)
    assert AutoConfig.from_pretrained(tmp_path).mllm.tie_word_embeddings == tied


def test_loading_information_can_still_be_had(folder: Path) -> None:
    model, info = BridgeSTGForVideoGrounding.from_pretrained(folder, output_loading_info=True)
    assert isinstance(model, BridgeSTGForVideoGrounding)
    assert not info["missing_keys"]


def test_every_weight_has_the_dtype_that_was_asked_for(folder: Path) -> None:
    model = BridgeSTGForVideoGrounding.from_pretrained(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def refuse(folder: Path, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as refusal:
        BridgeSTGForVideoGrounding.from_pretrained(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("keep", [0, 4, 1000, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder: Path, keep: float) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    refuse(folder, "cannot be loaded as a checkpoint")


def change(folder: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "key", ["bridge.queries", "localizer.bridge_norm.weight", "mllm.model.visual.patch_embed.proj.weight"]
)
def test_a_missing_key_is_refused(folder: Path, key: str) -> None:
    change(folder, lambda tensors: tensors.__delitem__(key))
    refuse(folder, rf"1 missing keys \(first: {key}\)")


def test_an_extra_key_is_refused(folder: Path) -> None:
    change(folder, lambda tensors: tensors.update({"localizer.extra.weight": torch.zeros(2)}))
    refuse(folder, r"1 unexpected keys \(first: localizer.extra.weight\)")


@pytest.mark.parametrize("key", ["bridge.queries", "localizer.candidate_box.layers.0.weight"])
def test_a_wrong_shape_is_refused(folder: Path, key: str) -> None:
    change(folder, lambda tensors: tensors.update({key: torch.zeros(3, 3)}))
    refuse(
        folder, rf"1 wrong-shaped keys \(first: {key}, \(3, 3\) in the file, \(\d+, 32\) in the configuration"
    )


def test_folders_that_are_no_checkpoints(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    refuse(empty, "not a checkpoint folder")
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        BridgeSTGProcessor.from_pretrained(empty)
    (folder / WEIGHTS).unlink()
    refuse(folder, "cannot be loaded")
    # Pickled weights are not read, whatever they hold.
    torch.save({}, folder / "pytorch_model.bin")
    refuse(folder, "cannot be loaded")


def test_a_folder_of_another_model_is_refused(model: BridgeSTGForVideoGrounding, tmp_path: Path) -> None:
    model.config.mllm.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="qwen3_vl"):
        BridgeSTGProcessor.from_pretrained(tmp_path)
    refuse(tmp_path, "qwen3_vl|cannot be loaded")
