"""What waits in the host's memory while a big recipe trains."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from bridge_stg.cli.runs import recipe
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.presets import qwen3_vl_config
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import build_tree
from bridge_stg.shapes.model import small_tokenizer
from bridge_stg.training.data.step_data import STEPS_AHEAD
from bridge_stg.training.data.training_clip import ClipRows, TrainingClip, collate_clips

GIB = 2**30


def nbytes(value: Any) -> int:
    """Of all tensors in a batch."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(nbytes, value))
    if dataclasses.is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in dataclasses.fields(value))
    return 0


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    """The 8B's sizes; the ids of special tokens are those of the small vocabulary."""
    tokenizer, mllm = small_tokenizer(), qwen3_vl_config("8b")
    for field, token in (
        ("image_token_id", "<|image_pad|>"),
        ("video_token_id", "<|video_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
    ):
        setattr(mllm, field, tokenizer.convert_tokens_to_ids(token))
    det = int(tokenizer.convert_tokens_to_ids("<det>"))
    return BridgeSTGProcessor(tokenizer, BridgeSTGConfig(mllm=mllm, det_token_id=det))


@pytest.mark.parametrize(
    ("name", "processes"), [("paper-8xh100", 8), ("lora-8b-1x80gb", 1), ("lora-2b-1x24gb", 1)]
)
@pytest.mark.parametrize("seconds", [27.7, 90.0])
def test_at_most_four_gibibytes_wait(
    processor: BridgeSTGProcessor, name: str, processes: int, seconds: float
) -> None:
    """Every loader process holds the steps that are ready and the one it makes."""
    data = recipe(name).data
    width, height = processor.frame_size(640, 480)
    frames = np.zeros((round(seconds * 2), height, width, 3), dtype=np.uint8)
    layout = processor.clip(processor.patch_grid(frames), np.arange(len(frames)) / 2)
    branch = processor.branch("stvg", "the red circle", "It starts.", locates=True)
    tree = build_tree(layout.input_ids, layout.positions, layout.next_position, [branch])
    used = frames[: data.num_positive + data.num_negative]
    rows = ClipRows(sentences=1)
    rows.add(np.arange(len(used)), np.tile([0.1, 0.1, 0.5, 0.5], (len(frames), 1)), True)
    rows.used_frames()
    clip = TrainingClip(tree, torch.from_numpy(frames), rows, processor.resize(used))
    one = nbytes(collate_clips([clip], processor.pad_id))
    assert one < 1.25 * frames.nbytes + used.nbytes

    assert data.records is not None
    waiting = one * data.records.clips_per_step / processes * data.workers * STEPS_AHEAD
    assert waiting < 4 * GIB
