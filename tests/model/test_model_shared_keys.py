"""A clip's keys laid out for products against attention over the same keys as they were cached."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from bridge_stg.model.attention_parts import attend_part_plainly
from bridge_stg.model.shared_keys import MIN_TOKENS, ROWS, SharedKeys


@pytest.mark.parametrize("rows", [1, ROWS + 3])
@pytest.mark.parametrize("tokens", [9, MIN_TOKENS])
def test_attention_equals_its_definition(tokens: int, rows: int) -> None:
    cache = DynamicCache()
    keys, values = torch.randn(2, 1, 2, tokens, 8)
    cache.update(keys, values, 0)
    shared = SharedKeys(cache)
    assert shared.by_products == (tokens == MIN_TOKENS and torch.backends.mkldnn.is_available())
    assert shared.nbytes == keys.nbytes + values.nbytes

    # Scores of up to 100: only a softmax that starts from the highest one survives them.
    query = torch.randn(2, rows, 8) * 20
    out, lse = shared.attend(0, query, 0.5)
    expected_out, expected_lse = attend_part_plainly(query[None], keys, values, 0.5)
    torch.testing.assert_close(out, expected_out[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(lse, expected_lse[0], atol=1e-4, rtol=1e-5)


def test_nothing_is_kept_twice() -> None:
    """The cache that was read reads from the new places."""
    cache = DynamicCache()
    keys, values = torch.randn(2, 1, 2, MIN_TOKENS, 8)
    cache.update(keys, values, 0)
    shared = SharedKeys(cache)
    assert cache.layers[0].keys.data_ptr() == shared.layers[0][0].data_ptr()
    assert torch.equal(cache.layers[0].keys, keys)


@pytest.mark.gpu
def test_a_gpu_attends_as_the_definition_says() -> None:
    cache = DynamicCache()
    keys, values = torch.randn(2, 1, 2, MIN_TOKENS, 64, device="cuda")
    cache.update(keys, values, 0)
    query = torch.randn(2, 5, 64, device="cuda")
    out, lse = SharedKeys(cache).attend(0, query, 0.125)
    expected_out, expected_lse = attend_part_plainly(query.cpu()[None], keys.cpu(), values.cpu(), 0.125)
    torch.testing.assert_close(out.cpu(), expected_out[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(lse.cpu(), expected_lse[0], atol=1e-3, rtol=1e-3)
