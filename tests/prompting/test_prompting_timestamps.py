"""The written form of a timestamp, which three files count on without asking for it.

``shapes/evidence.py`` finds the second behind the first token, ``training/data/mixture.py`` has the number of
tokens as a constant, and ``inference/cost_model.py`` counts them with expressions of its own. Whoever changes
``timestamp_text`` changes them, too.
"""

from __future__ import annotations

import pytest

from bridge_stg.inference.cost_model import scale_of
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.timestamps import timestamp_text
from bridge_stg.training.data.mixture import STAMP_TOKENS


@pytest.mark.parametrize(("second", "tenth"), [("0", "2"), ("9", "0"), ("12", "3"), ("59", "9")])
def test_the_tokens_that_others_count_on(second: str, tenth: str) -> None:
    text = timestamp_text(float(f"{second}.{tenth}"))

    # The evidence: "<", the whole second, its tenth, and the rest.
    processor = BridgeSTGProcessor.from_pretrained("shapes")
    tokens = [processor.tokenizer.decode([one]) for one in processor.plain_ids(text)]
    assert tokens == ["<", second, f".{tenth}", " seconds", ">"]

    # The cost, in the vocabulary of the shipped checkpoint and in that of Qwen3, where each digit is a token.
    assert scale_of("shapes", 1.0).count_tokens(text) == len(tokens)
    digits = scale_of("8b", 1.0).count_tokens(text)
    assert digits == len(["<", *second, ".", tenth, " seconds", ">"])

    # The mixture takes every timestamp for one of two digits.
    assert digits + (len(second) == 1) == STAMP_TOKENS
