"""Small checkpoints as folders: with random weights, and with answers about one clip learned by heart."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import Qwen3VLForConditionalGeneration

from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.presets import qwen3_vl_config
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import build_small_tokenizer
from bridge_stg.model.tree_attention import TreePattern
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.zero_shot.answers import zero_shot_question
from bridge_stg.zero_shot.grounder import ZeroShotGrounder
from support.taught import TAUGHT, ZERO_SHOT_ANSWERS
from support.tiny_models import tiny_mllm_config


def save_small_checkpoint(folder: Path) -> None:
    """The laptop-scale model with three language layers."""
    torch.manual_seed(0)
    tokenizer = small_tokenizer()
    config = small_config(tokenizer)
    config.mllm.text_config.num_hidden_layers = 3
    BridgeSTGForVideoGrounding(config).save_pretrained(folder)
    BridgeSTGProcessor(tokenizer, config).save_pretrained(folder)


def teach_checkpoint(start: Path, clip: Path, folder: Path) -> None:
    """Teach the language model of ``start`` what TAUGHT answers about ``clip``; ``folder`` gets the result."""
    torch.manual_seed(0)
    grounder = VideoGrounder.from_pretrained(str(start), device="cpu")
    batch = grounder.processor(grounder.sample(clip), list(TAUGHT), list(TAUGHT.values()))
    inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels", "slot_mask", "bridge_mask")}
    model = grounder.model.train()
    with torch.no_grad():
        vision = model.encode_video(batch["pixel_values_videos"], batch["video_grid_thw"])

    language = [*model.mllm.model.language_model.parameters()]
    optimizer = torch.optim.AdamW(language, lr=2e-3, weight_decay=0.0)
    labelled = inputs["labels"] != -100
    for _ in range(120):
        hidden = model.read(
            inputs["input_ids"],
            inputs["position_ids"],
            vision,
            inputs["slot_mask"],
            TreePattern(batch["tree"]),
        )
        logits = model.mllm.lm_head(hidden[labelled])
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"][labelled])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.05:
            break
    assert loss < 0.05, f"the answers were not learned: loss {float(loss)}"

    model.save_pretrained(folder)
    grounder.processor.save_pretrained(folder)


def save_tiny_qwen3_vl(folder: Path) -> None:
    """The published architecture, only smaller, with the words of TAUGHT and its answers."""
    texts = [zero_shot_question(" ".join(TAUGHT), image) for image in (False, True)]
    texts += ["user", "assistant", *ZERO_SHOT_ANSWERS.values()]
    tokenizer = build_small_tokenizer(re.findall("[A-Za-z]+", " ".join(texts)))
    published = qwen3_vl_config("2b")
    text, vision = published.text_config, published.vision_config
    config = tiny_mllm_config(
        tokenizer,
        text={
            "hidden_size": 64,
            "intermediate_size": 96,
            "head_dim": 32,
            "max_position_embeddings": text.max_position_embeddings,
            "rope_parameters": text.rope_parameters | {"mrope_section": [8, 4, 4]},
        },
        vision={"patch_size": vision.patch_size, "out_hidden_size": 64},
    )

    torch.manual_seed(11)
    model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)  # so that wrong positions or pixels show in what is answered
    # As published: answers are drawn at random unless one says otherwise.
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=20, top_p=0.8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def teach_qwen3_vl(start: Path, clip: Path, folder: Path) -> None:
    """Teach the model of ``start`` ZERO_SHOT_ANSWERS about ``clip``; ``folder`` gets the result."""
    torch.manual_seed(0)
    grounder = ZeroShotGrounder.from_pretrained(str(start), device="cpu")
    sampled = grounder.sample(clip)
    inputs, grid = grounder.stock.vision_inputs(sampled, image=False)
    model = grounder.model.train()

    rows = []
    for query, said in ZERO_SHOT_ANSWERS.items():
        asked = grounder.chat.ids(zero_shot_question(query, image=False), grid, sampled.times)
        rows.append((asked, [*grounder.chat.plain_ids(said), grounder.stock.ends[-1]]))
    ids = torch.full((len(rows), max(len(asked) + len(said) for asked, said in rows)), grounder.stock.ends[-1])
    real, labelled = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (asked, said) in enumerate(rows):
        length = len(asked) + len(said)
        ids[row, :length] = torch.tensor([*asked, *said])
        real[row, :length] = 1
        labelled[row, len(asked) : length] = True
    batch = {name: value.repeat(len(rows), 1) for name, value in inputs.items()}
    batch |= {"mm_token_type_ids": 2 * (ids == model.config.video_token_id).int(), "attention_mask": real}

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(200):
        logits = model(input_ids=ids, **{name: value.clone() for name, value in batch.items()}).logits
        logits, wanted = logits[:, :-1][labelled[:, 1:]], ids[labelled]
        # All tokens right, by a margin that rounding cannot turn.
        others = logits.scatter(1, wanted[:, None], -torch.inf).amax(1)
        margin = float((logits.gather(1, wanted[:, None])[:, 0] - others).detach().min())
        if margin > 1:
            break
        # The sum, not the mean: the word that tells two answers apart weighs as much as any.
        loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum") / 40
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert margin > 1, f"the answers were not learned: margin {margin}"

    model.save_pretrained(folder)
    grounder.stock.tokenizer.save_pretrained(folder)
