"""What many tests share: real mp4s of moving shapes, and small checkpoints that are really loaded from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no reason to fail: what an example needs in seconds is not what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# What the taught checkpoint learned by heart about the first video, and what follows from it.
TAUGHT = {
    "the first thing": "The event starts at 1.0 seconds and ends at 3.2 seconds.",
    "the second thing": "The event starts at 2.6 seconds and ends at 2.9 seconds.",
    "the thing that never comes": "Nothing like that happens.",
    "the thing that ends before it starts": "The event starts at 3.0 seconds and ends at 1.0 seconds.",
}


@pytest.fixture(scope="session")
def shapes_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three short videos and their truth.jsonl."""
    from bridge_stg.data.shapes.writer import write_shapes

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
    from bridge_stg.training.small_model import small_config, small_tokenizer

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

    from bridge_stg.grounder import VideoGrounder

    torch.manual_seed(0)
    grounder = VideoGrounder.from_pretrained(str(small_checkpoint), device="cpu")
    batch = grounder.processor(grounder.sample(clip), list(TAUGHT), list(TAUGHT.values()))
    inputs = {
        name: batch[name]
        for name in ("input_ids", "position_ids", "attention_mask", "labels", "slot_mask", "bridge_mask")
    }
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
            inputs["attention_mask"],
            slot_mask=inputs["slot_mask"],
            vision=vision,
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
