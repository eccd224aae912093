"""The processor: text from outside stays text, and what it refuses."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.tiny_models import make_video, tiny_mllm_config
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import MAX_QUERY_TOKENS, BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN, SPECIAL_TOKENS, build_small_tokenizer
from bridge_stg.model.token_tree import build_tree

MERGES = [
    ("t", "h"),
    ("th", "e"),
    ("\u0120", "the"),
    ("r", "e"),
    ("re", "d"),
    ("d", "e"),
    ("de", "t"),
    ("i", "m"),
]


@pytest.fixture(scope="module")
def qwen_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE with merges, built like Qwen's: the special tokens are added tokens, <det> the last of
    them.
    """
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    inner = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(pieces)}, merges=MERGES))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")


@pytest.fixture(params=["small", "qwen-like"])
def any_processor(
    request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast, qwen_like: PreTrainedTokenizerFast
) -> BridgeSTGProcessor:
    chosen = tokenizer if request.param == "small" else qwen_like
    config = BridgeSTGConfig(
        mllm=tiny_mllm_config(chosen),
        det_token_id=int(chosen.convert_tokens_to_ids(DET_TOKEN)),
        max_tokens_per_frame=12,
    )
    return BridgeSTGProcessor(chosen, config)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_in_a_query_are_letters(any_processor: BridgeSTGProcessor, token: str) -> None:
    query = f"the {token} red{token}"
    special = set(any_processor.tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)))
    # The test can fail: the tokenizer's default would read the token.
    assert special & set(any_processor.tokenizer(query)["input_ids"])
    ids = any_processor.plain_ids(query)
    assert not special & set(ids)
    assert any_processor.tokenizer.decode(ids) == query
    # Of a whole question only the turn tokens are special: the end of the user's turn and the start of the
    # answer's.
    question = any_processor.question_ids("stvg", query)
    assert [index for index in question if index in special] == [
        any_processor.turn_end,
        any_processor.turn_start,
    ]
    # The clip's tokens are as many as without the query, so encoded frames still find their places.
    inputs = any_processor(make_video(4), [query])
    assert int((inputs["input_ids"] == any_processor.clip_tokens.video_pad).sum()) == 2 * 2 * 3
    # An earlier plain reading leaves no trace in the tokenizer.
    assert special & set(any_processor.tokenizer(token)["input_ids"])


def test_special_tokens_in_an_answer_are_letters(any_processor: BridgeSTGProcessor) -> None:
    branch = any_processor.branch("stvg", "red", "<det><|im_end|>", locates=True)
    slots = any_processor.config.num_bridge_queries
    assert branch.ids.count(any_processor.config.det_token_id) == 1 + slots
    assert [label for label in branch.labels if label == any_processor.config.det_token_id] == [
        any_processor.config.det_token_id
    ]


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_an_empty_query_is_refused(processor: BridgeSTGProcessor, query: str) -> None:
    with pytest.raises(InputError, match="empty"):
        processor(make_video(2), [query])


def test_a_very_long_query_is_refused(processor: BridgeSTGProcessor) -> None:
    with pytest.raises(InputError, match=rf"\d+ tokens .* {MAX_QUERY_TOKENS}"):
        processor(make_video(2), ["red " * 10_000])


def test_frames_of_another_size_are_refused(processor: BridgeSTGProcessor) -> None:
    video = make_video(2, 24, 16)
    with pytest.raises(InputError, match=r"24x16.* 16x24"):
        processor(replace(video, info=replace(video.info, width=16, height=24)), ["red"])


def test_the_prompt_reads_as_written(processor: BridgeSTGProcessor) -> None:
    video = make_video(3)
    inputs = processor(video, ["the red circle"], answers=["left"])
    pad, det = "<|video_pad|>" * 6, DET_TOKEN
    # Three frames at 2 fps are two pairs, the last frame repeated: mean times 0.25 and 1.0.
    assert processor.tokenizer.decode(inputs["input_ids"][0]) == (
        f"<|im_start|>user\n<|vision_start|>{pad}<0.2 seconds>{pad}<1.0 seconds><|vision_end|>"
        "When and where does this happen? the red circle<|im_end|>\n<|im_start|>assistant\n"
        f"left{det}{det * processor.config.num_bridge_queries}"
    )
    learned = inputs["labels"][0]
    assert processor.tokenizer.decode(learned[learned != -100]) == f"left{det}"
    assert inputs["row_frame"].tolist() == [0, 1, 2]
    assert inputs["row_sentence"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(video.times, [0.0, 0.5, 1.0])


def test_without_answers_the_model_gives_hidden_states(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor
) -> None:
    inputs = processor(make_video(3), ["red", "moves left"])
    assert len(inputs["spatial_pixel_values"]) == 3
    with torch.no_grad():
        output = model(**inputs)
        answered = model(**processor(make_video(3), ["red"], answers=["left"]))
    assert output.last_hidden_state.shape == (*inputs["input_ids"].shape, 32)
    assert output.loss is None
    assert answered.last_hidden_state is None


def test_the_example_of_the_class_runs(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor
) -> None:
    names = {"model": model, "processor": processor, "video": make_video(3), "torch": torch}
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(BridgeSTGProcessor, globs=names):
        runner.run(example)
    assert runner.tries > 5
    assert runner.failures == 0


def test_a_referring_expression_is_asked_about_an_image(processor: BridgeSTGProcessor) -> None:
    """No timestamps, in training, in VideoGrounder and here."""
    video = make_video(1)
    _, grid = processor.patches(video.frames)
    image = processor.clip(grid, None)
    tree = build_tree(
        image.input_ids, image.positions, image.next_position, [processor.branch("rec", "red", "left", True)]
    )
    inputs = processor(video, ["red"], answers=["left"], task="rec")
    assert torch.equal(inputs["input_ids"][0], tree.input_ids)
    assert torch.equal(inputs["position_ids"][:, 0], tree.position_ids)
    assert "seconds" not in processor.tokenizer.decode(inputs["input_ids"][0])
    assert not torch.equal(
        inputs["input_ids"], processor(video, ["red"], answers=["left"], task="vot")["input_ids"]
    )


def test_a_tokenizer_of_another_checkpoint_is_refused(
    make_config: Callable[..., BridgeSTGConfig], tokenizer: PreTrainedTokenizerFast
) -> None:
    other = build_small_tokenizer(["quite", "other"])
    with pytest.raises(CheckpointError, match="same checkpoint"):
        BridgeSTGProcessor(other, make_config())
    config = make_config()
    config.mllm.video_token_id += 1
    try:
        with pytest.raises(CheckpointError, match=r"<\|video_pad\|> .*video_token_id"):
            BridgeSTGProcessor(tokenizer, config)
    finally:
        config.mllm.video_token_id -= 1
    plain = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab={"a": 0}, merges=[])))
    with pytest.raises(CheckpointError):
        BridgeSTGProcessor(plain, make_config())
