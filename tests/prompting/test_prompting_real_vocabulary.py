"""Prompts and answers in the real vocabulary of Qwen3, of which the small model has only a likeness.

Needs the extra ``vocabulary``: the package dashscope carries the file. The counts follow from the wordings of
``bridge_stg.prompting``; whoever changes a wording changes them here.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.qwen3_vocabulary import qwen3_tokenizer, vocabulary_file
from tokenizers import AddedToken

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.presets import qwen3_vl_config
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN
from bridge_stg.prompting.templates import (
    WINDOW_WORDINGS,
    WINDOW_WORDINGS_WITH_FRAMES,
    box_text,
    choices_text,
    window_text,
)
from bridge_stg.prompting.timestamps import timestamp_text
from bridge_stg.prompting.written_boxes import boxes_text
from bridge_stg.types import TimeSpan

pytestmark = pytest.mark.skipif(vocabulary_file() is None, reason="needs the extra vocabulary")


# task, question, tokens with what stands around it, and the words.
GOLDEN = (
    ("stvg", "A dog runs away", 16, "When and where does this happen? A dog runs away"),
    ("vtg", "A dog runs away", 14, "When does this happen? A dog runs away"),
    ("vot", box_text((0.12, 0.04, 0.48, 0.56)), 28, "Track this object. [120, 40, 480, 560]"),
    ("rec", "the dog on the left", 14, "Where is this? the dog on the left"),
    (
        *("vqa", choices_text("What does the dog do?", ("runs", "sleeps")), 19),
        "What does the dog do? (A) runs (B) sleeps",
    ),
)


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    """That of the 8B: its sizes, its ids, and <det> in the first spare row."""
    file = vocabulary_file()
    assert file is not None
    tokenizer = qwen3_tokenizer(file)
    tokenizer.add_tokens([AddedToken(DET_TOKEN, special=True, normalized=False)], special_tokens=True)
    # Its default for <det> is 151669; the processor refuses a tokenizer that says otherwise.
    return BridgeSTGProcessor(tokenizer, BridgeSTGConfig(mllm=qwen3_vl_config("8b")))


def test_the_first_spare_row_is_det(processor: BridgeSTGProcessor) -> None:
    assert processor.tokenizer.convert_tokens_to_ids(DET_TOKEN) == 151669
    ids = [
        processor.clip_tokens.vision_start,
        processor.clip_tokens.vision_end,
        processor.clip_tokens.video_pad,
    ]
    assert ids == [151652, 151653, 151656]


def test_the_golden_clip(processor: BridgeSTGProcessor) -> None:
    """46 frames of 384 x 512 at 2 fps: 23 pairs of 12 x 16 visual tokens and 6 or 7 tokens of timestamp."""
    frames = np.zeros((46, 384, 512, 3), dtype=np.uint8)
    assert processor.frame_size(512, 384) == (512, 384)
    clip = processor.clip(processor.patch_grid(frames), np.arange(46) / 2)
    ids = clip.input_ids.tolist()
    assert ids.count(151656) == 23 * 192 == 4416
    # Ten pairs begin before 10 s.
    stamps = sum(len(processor.plain_ids(timestamp_text(pair + 0.25))) for pair in range(23))
    assert stamps == 10 * 6 + 13 * 7
    assert len(ids) == 4416 + stamps + 3 + 2 == 4572
    decode = processor.tokenizer.decode
    assert decode(ids[:4]) == "<|im_start|>user\n<|vision_start|>"
    assert decode(ids[-8:]) == "<22.2 seconds><|vision_end|>"
    question = processor.question_ids("stvg", "A dog runs away")
    assert decode(question) == (
        "When and where does this happen? A dog runs away<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("task", "query", "ids", "said"),
    GOLDEN,
    ids=[task for task, *_ in GOLDEN],
)
def test_golden_prompts(processor: BridgeSTGProcessor, task: str, query: str, ids: int, said: str) -> None:
    """What follows the clip, to the letter and by its number of tokens."""
    question = processor.question_ids(task, query)
    assert processor.tokenizer.decode(question) == f"{said}<|im_end|>\n<|im_start|>assistant\n"
    assert len(question) == ids


def test_digits_are_single_tokens(processor: BridgeSTGProcessor) -> None:
    assert len(processor.plain_ids("1234567890")) == 10
    pieces = processor.tokenizer.tokenize(timestamp_text(12.25))
    assert pieces == [*"<12.2", "\u0120seconds", ">"]


def test_what_a_user_writes_stays_letters(processor: BridgeSTGProcessor) -> None:
    ids = processor.question_ids("stvg", "the <det> and <|video_pad|> sign")
    assert not {151669, 151656} & set(ids)
    assert "the <det> and <|video_pad|> sign" in processor.tokenizer.decode(ids)


def test_what_boxes_cost_as_words(processor: BridgeSTGProcessor) -> None:
    """A window of ten seconds, as in VidSTG (20.77 frames): Table 9 says 42.83 tokens against 374.76."""
    window = TimeSpan(8.4, 18.8)
    decoupled = [
        len(processor.plain_ids(window_text(window, wording, 17, 37))) + 1
        for wording in WINDOW_WORDINGS + WINDOW_WORDINGS_WITH_FRAMES
    ]
    assert decoupled == [20, 19, 35, 34, 36]
    boxes = [(8.5 + 0.5 * frame, (0.211, 0.314, 0.587, 0.902)) for frame in range(21)]
    entangled = f"{window_text(window, WINDOW_WORDINGS[0])} {boxes_text(boxes)}"
    assert len(processor.plain_ids(boxes_text(boxes[:1]))) == 26
    assert len(processor.plain_ids(entangled)) + 1 == 584
