"""How many operations one decoding step takes, and that it says what the library's layers say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_models import tiny_mllm_config
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache, PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from bridge_stg.errors import InputError
from bridge_stg.inference.branch_cache import BranchCache
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model import cpu_linear
from bridge_stg.model.lora import add_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.row_tower import RowTower, join_projections
from bridge_stg.model.shared_keys import SharedKeys
from bridge_stg.model.tree_attention import use_tree_attention

# Of 36 layers, as the 8B has them; the library's own layers take 2,042.
MOST_OPERATIONS = 1500


class Counter(TorchDispatchMode):
    """Operations that compute: views move no number."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def tall_tower(tokenizer: PreTrainedTokenizerFast) -> Any:
    """A language tower with the shape of Qwen3-VL-8B's, and a tiny width."""
    torch.manual_seed(0)
    config = tiny_mllm_config(tokenizer, text={"num_hidden_layers": 36, "num_attention_heads": 4})
    model = Qwen3VLForConditionalGeneration(config).eval().model.language_model
    use_tree_attention(model)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("packed", [False, True])
@torch.no_grad()
def test_a_step_of_36_layers(tall_tower: Any, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight sentences, of which each brings one token, after twenty tokens of a clip."""
    if packed:
        monkeypatch.setattr(cpu_linear, "PACKED_BYTES", range(2**30))
    else:
        join_projections(tall_tower)
    cache = DynamicCache(config=tall_tower.config)
    clip_positions = torch.arange(20).expand(4, 1, -1)
    tall_tower(inputs_embeds=torch.randn(1, 20, 32), position_ids=clip_positions, past_key_values=cache)
    clip = SharedKeys(cache)
    embeds, positions = torch.randn(8, 32), torch.full((4, 1, 8), 20)

    tower = RowTower.of(tall_tower)
    assert tower is not None
    branches = [BranchCache(clip, 8, groups=4) for _ in "ab"]
    for one in branches:
        one.feed(range(8), [1] * 8)
    with Counter() as counter:
        found = tower(embeds, positions, branches[0])
    plain = tall_tower(inputs_embeds=embeds[None], position_ids=positions, pattern=branches[1])
    torch.testing.assert_close(found, plain.last_hidden_state[0], atol=1e-4, rtol=1e-4)
    assert counter.count <= MOST_OPERATIONS


@torch.no_grad()
def test_compiled_steps_equal_plain_ones(tall_tower: Any) -> None:
    """With a backend that only traces; three rows are computed as four."""
    cache = DynamicCache(config=tall_tower.config)
    clip_positions = torch.arange(20).expand(4, 1, -1)
    tall_tower(inputs_embeds=torch.randn(1, 20, 32), position_ids=clip_positions, past_key_values=cache)
    clip = SharedKeys(cache)
    towers = [RowTower.of(tall_tower, compiler) for compiler in (None, "eager")]
    branches = [BranchCache(clip, 3, groups=4) for _ in towers]
    for counts in ([1, 1, 1], [2, 1, 5]):
        embeds = torch.randn(sum(counts), 32)
        positions = torch.full((4, 1, sum(counts)), 20)
        for one in branches:
            one.feed(range(3), counts)
        plain, compiled = (tower(embeds, positions, own) for tower, own in zip(towers, branches, strict=True))
        torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)


def test_a_cpu_is_told_that_it_compiles_nothing() -> None:
    with pytest.raises(InputError) as problem:
        VideoGrounder.from_pretrained("shapes", device="cpu", compiled=True)
    assert "\n" not in str(problem.value)


def test_adapters_stay_with_the_library(make_model: Any) -> None:
    """A linear layer that is more than a product has no row tower."""
    model: BridgeSTGForVideoGrounding = make_model()
    assert RowTower.of(model.mllm.model.language_model) is not None
    add_lora(model, rank=2)
    assert RowTower.of(model.mllm.model.language_model) is None
