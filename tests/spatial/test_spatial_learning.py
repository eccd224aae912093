"""The decoder must learn to answer two sentences about one frame, from scratch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, paired_giou
from bridge_stg.losses.objective import spatial_loss
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.localizer import SpatialLocalizer

HEIGHT, WIDTH = 48, 64
COLOURS = torch.tensor([[1.5, -1.0, -1.0], [-1.0, 1.5, -1.0], [-1.0, -1.0, 1.5]])


def scene(frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Frames with a red and a green square apart from each other, sometimes no green one; boxes (U, 2, 4)."""
    pixels = torch.randn(frames, 3, HEIGHT, WIDTH, generator=generator) * 0.2
    boxes = torch.zeros(frames, 2, 4)
    present = torch.ones(frames, 2, dtype=torch.bool)
    present[:, 1] = torch.rand(frames, generator=generator) > 0.3
    left_is_red = torch.rand(frames, generator=generator) > 0.5
    for frame in range(frames):
        for colour in range(2):
            side = int(torch.randint(10, 21, (1,), generator=generator))
            half = WIDTH // 2
            start = 0 if (colour == 0) == bool(left_is_red[frame]) else half
            x = start + int(torch.randint(0, half - side + 1, (1,), generator=generator))
            y = int(torch.randint(0, HEIGHT - side + 1, (1,), generator=generator))
            boxes[frame, colour] = torch.tensor(
                [(x + side / 2) / WIDTH, (y + side / 2) / HEIGHT, side / WIDTH, side / HEIGHT]
            )
            if present[frame, colour]:
                pixels[frame, :, y : y + side, x : x + side] += COLOURS[colour][:, None, None]
    return pixels, boxes, present


@pytest.mark.slow
def test_two_sentences_about_one_frame_find_their_own_square() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = SpatialConfig(
        backbone_embed_dim=16,
        backbone_depths=(1, 1, 1),
        backbone_num_heads=(1, 2, 4),
        backbone_window_size=4,
        backbone_image_size=64,
        backbone_drop_path=0.0,
        backbone_out_stages=(2, 3),
        num_levels=2,
        d_model=48,
        num_heads=4,
        num_points=2,
        ffn_dim=96,
        num_encoder_layers=2,
        num_decoder_layers=2,
        topk=8,
        num_denoising=4,
        anchor_base=0.2,
    )
    model = SpatialLocalizer(config, bridge_width=16).train()
    sentences = torch.randn(2, 4, 16, generator=generator)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    steps = 300
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps)

    def rows(boxes: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        frame_index = torch.arange(len(boxes)).repeat_interleave(2)
        return frame_index, sentences.repeat(len(boxes), 1, 1), boxes.flatten(0, 1), present.flatten()

    for _ in range(steps):
        pixels, boxes, present = scene(8, generator)
        frame_index, bridge, targets, has = rows(boxes, present)
        output = model(pixels, None, frame_index, bridge, targets, has)
        losses = spatial_loss(output, targets, has, LossWeights.ovdino(), has.sum(), len(has))
        optimiser.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()

    model.eval()
    pixels, boxes, present = scene(64, torch.Generator().manual_seed(99))
    frame_index, bridge, targets, has = rows(boxes, present)
    with torch.inference_mode():
        found, scores = model(pixels, None, frame_index, bridge).best()
    iou, _ = paired_giou(found, cxcywh_to_xyxy(targets))
    assert float(iou[has].mean()) > 0.7
    assert float(scores[has].mean()) > float(scores[~has].mean()) + 0.2
