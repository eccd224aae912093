"""Tiny models of the real classes: a few thousand parameters, so that every test runs the whole path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN, build_small_tokenizer
from support.tiny_folders import save_mllm
from support.tiny_models import WORDS, tiny_mllm_config, tiny_spatial_config


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_small_tokenizer(WORDS)


@pytest.fixture(scope="session")
def make_config(tokenizer: PreTrainedTokenizerFast) -> Callable[..., BridgeSTGConfig]:
    def make(tied: bool = True, **changes: Any) -> BridgeSTGConfig:
        return BridgeSTGConfig(
            **{
                "mllm": tiny_mllm_config(tokenizer, tied),
                "spatial": tiny_spatial_config(),
                "det_token_id": int(tokenizer.convert_tokens_to_ids(DET_TOKEN)),
                "num_bridge_queries": 4,
                "max_tokens_per_frame": 12,
            }
            | changes
        )

    return make


@pytest.fixture(scope="session")
def make_model(make_config: Callable[..., BridgeSTGConfig]) -> Callable[..., BridgeSTGForVideoGrounding]:
    """A model in eval mode with weights large enough that wrong positions show in the outputs."""

    def make(seed: int = 0, **changes: Any) -> BridgeSTGForVideoGrounding:
        torch.manual_seed(seed)
        model = BridgeSTGForVideoGrounding(make_config(**changes)).eval()
        with torch.no_grad():
            for parameter in model.mllm.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4.0)
        return model

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., BridgeSTGForVideoGrounding]) -> BridgeSTGForVideoGrounding:
    """Shared: tests must not change it."""
    return make_model()


@pytest.fixture(scope="session")
def processor(
    tokenizer: PreTrainedTokenizerFast, make_config: Callable[..., BridgeSTGConfig]
) -> BridgeSTGProcessor:
    return BridgeSTGProcessor(tokenizer, make_config())


@pytest.fixture(scope="session")
def mllm_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_mllm(tokenizer, tmp_path_factory.mktemp("mllm"))
