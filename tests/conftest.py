"""What many tests share: real mp4s of moving shapes, and small checkpoints that are really loaded from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from support.taught import TAUGHT, ZERO_SHOT_ANSWERS

# A busy machine is no reason to fail: what an example needs in seconds is not what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures that need torch, but not in the process that hands tests to others and runs none."""
    hands_out = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if not hands_out:
        for name in ("support.model_fixtures", "support.trainer_fixtures"):
            config.pluginmanager.import_plugin(name)


@pytest.fixture(scope="session")
def shapes_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three short videos and their truth.jsonl."""
    from bridge_stg.shapes.world.writer import write_shapes

    folder = tmp_path_factory.mktemp("shapes") / "data"
    write_shapes(folder, 3, seed=5, width=96, height=72, workers=1, per_video_questions=4)
    return folder


@pytest.fixture(scope="session")
def clip(shapes_data: Path) -> Path:
    return shapes_data / "videos" / "000000.mp4"


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop-scale model, less deep, with random weights, as a folder."""
    import torch

    from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
    from bridge_stg.model.processing import BridgeSTGProcessor
    from bridge_stg.shapes.model import small_config, small_tokenizer

    torch.manual_seed(0)
    tokenizer = small_tokenizer()
    config = small_config(tokenizer)
    config.mllm.text_config.num_hidden_layers = 3
    model = BridgeSTGForVideoGrounding(config)
    folder = tmp_path_factory.mktemp("checkpoint") / "random"
    model.save_pretrained(folder)
    BridgeSTGProcessor(tokenizer, config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def taught_checkpoint(small_checkpoint: Path, clip: Path) -> Path:
    """The same model after it has learned the answers of TAUGHT about one clip by heart."""
    import torch

    from bridge_stg.inference.grounder import VideoGrounder
    from bridge_stg.model.tree_attention import TreePattern

    torch.manual_seed(0)
    grounder = VideoGrounder.from_pretrained(str(small_checkpoint), device="cpu")
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
    folder = small_checkpoint.with_name("taught")
    model.save_pretrained(folder)
    grounder.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_qwen3_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stock Qwen3-VL of a few thousand parameters with random weights, as its hub folder."""
    import re

    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from bridge_stg.model.presets import qwen3_vl_config
    from bridge_stg.model.small_tokenizer import build_small_tokenizer
    from bridge_stg.zero_shot.answers import zero_shot_question

    texts = [zero_shot_question(" ".join(TAUGHT), image) for image in (False, True)]
    texts += ["user", "assistant", *ZERO_SHOT_ANSWERS.values()]
    tokenizer = build_small_tokenizer(re.findall("[A-Za-z]+", " ".join(texts)))
    # The published architecture, only smaller.
    sizes = qwen3_vl_config("2b").to_dict()
    sizes["text_config"] |= {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "rope_parameters": sizes["text_config"]["rope_parameters"] | {"mrope_section": [8, 4, 4]},
    }
    sizes["vision_config"] |= {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "num_position_embeddings": 16,
        "out_hidden_size": 64,
        "deepstack_visual_indexes": [0],
    }
    for name in ("image", "video"):
        sizes[f"{name}_token_id"] = tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>")
    for name in ("start", "end"):
        sizes[f"vision_{name}_token_id"] = tokenizer.convert_tokens_to_ids(f"<|vision_{name}|>")
    torch.manual_seed(11)
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)  # so that wrong positions or pixels show in what is answered
    # As published: answers are drawn at random unless one says otherwise.
    model.generation_config.update(do_sample=True, temperature=0.7, top_k=20, top_p=0.8)
    folder = tmp_path_factory.mktemp("qwen3-vl") / "random"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def taught_qwen3_vl(tiny_qwen3_vl: Path, clip: Path) -> Path:
    """The same model after it has learned ZERO_SHOT_ANSWERS about one clip by heart."""
    import torch

    from bridge_stg.zero_shot.answers import zero_shot_question
    from bridge_stg.zero_shot.grounder import ZeroShotGrounder

    torch.manual_seed(0)
    grounder = ZeroShotGrounder.from_pretrained(str(tiny_qwen3_vl), device="cpu")
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
    folder = tiny_qwen3_vl.with_name("taught")
    model.save_pretrained(folder)
    grounder.stock.tokenizer.save_pretrained(folder)
    return folder


# Names of a file that starts processes, and the fixture that is one.
PROCESSES = {"subprocess", "multiprocessing", "running_service", "run_command", "start_command", "run_ranks"}
# Fixtures that teach a model, and helpers that run a training.
TEACHES = {"taught_checkpoint", "taught_qwen3_vl"}
TRAINS = {"bridge", "pretrain", "train", "run_training"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out: files that start processes, and tests that teach a model.

    Files with long tests come first, so that no process has one of them left when the others are done.
    """
    for item in items:
        names = vars(getattr(item, "module", item))
        fixtures = set(getattr(item, "fixturenames", ()))
        if PROCESSES & names.keys() or "service" in fixtures:
            item.add_marker("process")
        if TEACHES & fixtures or TRAINS & names.keys():
            item.add_marker("learning")

    slower = {item.path for item in items if any(map(item.get_closest_marker, ("process", "learning")))}
    items.sort(key=lambda item: item.path not in slower)
