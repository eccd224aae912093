"""The texts of an answer's tokens, by which its probabilities are found in its words."""

from __future__ import annotations

import pytest

from bridge_stg.inference.confidence import window_probabilities
from bridge_stg.inference.decoded_answers import token_texts
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.model import small_config, small_tokenizer

SCAN = "The größe \u7ea2\u2603 spins: 0 before 1 spins 2 after."
WINDOW = " It starts at 1.0 seconds and ends at 2.0 seconds."


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    tokenizer = small_tokenizer()
    return BridgeSTGProcessor(tokenizer, small_config(tokenizer))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_letter_of_several_tokens_is_in_the_text_of_the_last(
    processor: BridgeSTGProcessor, lost: int
) -> None:
    ids = processor.plain_ids("\u7ea2 red\u2603")
    ids = ids[: len(ids) - lost]
    texts = token_texts(processor, ids)
    assert len(texts) == len(ids)
    assert texts[:4] == ["", "", "\u7ea2", " red"]
    assert "".join(texts) == processor.tokenizer.decode(ids)
    assert texts[-1] != ""


def test_what_is_said_on_the_way_to_a_window_counts_whatever_its_letters(processor: BridgeSTGProcessor) -> None:
    ids = processor.plain_ids(SCAN + WINDOW)
    pieces = token_texts(processor, ids)
    before = len(processor.plain_ids(SCAN))
    # The last token of the scan is unsure, and the first one after it.
    log_probs = [0.0] * len(ids)
    log_probs[before - 1], log_probs[before] = -1.0, -5.0
    (found,) = window_probabilities(pieces, log_probs, SCAN, [(1.0, 2.0)])
    assert found == pytest.approx(0.36788, abs=1e-5)
