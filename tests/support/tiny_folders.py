"""Tiny random checkpoint folders in the hub's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3VLForConditionalGeneration,
    SwinConfig,
)

from bridge_stg.model.small_tokenizer import DET_TOKEN, SPECIAL_TOKENS
from bridge_stg.weights.detector import read_detector, spatial_config
from support.tiny_models import tiny_mllm_config

KINDS = {
    "mm-grounding-dino": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
    "grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection),
}


def swin_config(**changes: Any) -> SwinConfig:
    sizes = {
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
    }
    return SwinConfig(**sizes | changes)


def save_detector(kind: str, folder: Path, levels: int = 4, **changes: Any) -> PreTrainedModel:
    """A random detector; 5 levels means Swin's stages 1-4 and one more, as in MM-Grounding-DINO-large."""
    config_class, model_class = KINDS[kind]
    stages = [1, 2, 3, 4] if levels == 5 else [2, 3, 4]
    text = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=64
    )
    torch.manual_seed(3)
    config = config_class(
        **{
            "backbone_config": swin_config(out_indices=stages),
            "text_config": text,
            "num_feature_levels": levels,
            "d_model": 64,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "encoder_n_points": 2,
            "decoder_n_points": 2,
            "num_queries": 5,
            "dropout": 0.0,
            "decoder_bbox_embed_share": kind == "grounding-dino",
        }
        | changes
    )
    model = model_class(config).eval()
    with torch.no_grad():
        # Away from an initialisation that sets offsets and norms to constants, which would hide mistakes.
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def without_det(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A Qwen3-VL tokenizer as published: everything but <det>; what stands after it moves one row up."""
    inner = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    state = json.loads(inner.to_str())
    vocabulary = state["model"]["vocab"]
    # Special tokens may stand among the words or beside them.
    left_out = next(token["id"] for token in state["added_tokens"] if token["content"] == DET_TOKEN)
    vocabulary.pop(DET_TOKEN, None)
    state["model"]["vocab"] = {piece: row - (row > left_out) for piece, row in vocabulary.items()}
    state["added_tokens"] = [
        token | {"id": token["id"] - (token["id"] > left_out)}
        for token in state["added_tokens"]
        if token["content"] != DET_TOKEN
    ]
    bare = PreTrainedTokenizerFast(
        tokenizer_object=type(inner).from_str(json.dumps(state)),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    assert len(bare) == len(tokenizer) - 1
    assert SPECIAL_TOKENS[-1] == DET_TOKEN
    return bare


def save_mllm(tokenizer: PreTrainedTokenizerFast, folder: Path, tied: bool = True, spare_rows: int = 0) -> Path:
    torch.manual_seed(7)
    Qwen3VLForConditionalGeneration(tiny_mllm_config(tokenizer, tied, spare_rows)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fitting(folder: Path, **changes: Any) -> Any:
    spatial = spatial_config(read_detector(folder))
    return type(spatial)(**spatial.to_dict() | changes)


def save_open_vocabulary_detector(folder: Path) -> Path:
    """A random MM-Grounding-DINO with a tokenizer that has BERT's special ids and spells every word."""
    vocabulary = {f"[unused{index}]": index for index in range(1100)}
    named = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    letters = "abcdefghijklmnopqrstuvwxyz"
    named |= {letter: 1030 + index for index, letter in enumerate(letters)}
    named |= {f"##{letter}": 1060 + index for index, letter in enumerate(letters)}
    taken = set(named.values())
    vocabulary = {word: index for word, index in vocabulary.items() if index not in taken} | named

    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    text = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=1100
    )
    save_detector("mm-grounding-dino", folder, text_config=text, num_queries=20)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return folder
