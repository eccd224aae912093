"""A Bridge-STG in another shape: what fits is kept, the rest is new, and both are listed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bridge_stg.model.bridging import bridge_of
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.spatial.localizer import localizer_of
from bridge_stg.weights.assemble import KeyReport


@torch.no_grad()
def reshape(
    model: BridgeSTGForVideoGrounding, config: BridgeSTGConfig
) -> tuple[BridgeSTGForVideoGrounding, KeyReport]:
    """``model`` as ``config`` describes it, changed in place; its Qwen3-VL stays the one that it is.

    New weights are drawn from torch's generator. Maps of the candidates go with their encoder layer, so that a
    decoder which chooses from the last layer alone keeps the map of that layer.

    Args:
        config: with the same ``mllm``.
    """
    old = _by_layer(model.bridge, model.localizer, model.config.spatial)
    bridge, localizer = bridge_of(config), localizer_of(config)
    for part in (bridge, localizer):
        if part is not None:
            # What learns is held in float32, or in what the old parts were.
            part.to(device=model.device, dtype=next((v.dtype for v in old.values()), torch.float32))

    loaded = [f"mllm.{name}" for name, _ in model.mllm.named_parameters()]
    new: list[str] = []
    found = _by_layer(bridge, localizer, config.spatial)

    for name, value in found.items():
        fits = name in old and old[name].shape == value.shape
        (loaded if fits else new).append(name)
        if fits:
            value.copy_(old[name])

    left_out = [name for name in old if name not in loaded]

    model.bridge, model.localizer, model.config = bridge, localizer, config
    model.adapt_parts()
    return model, KeyReport(tuple(loaded), tuple(new), tuple(left_out))


def _by_layer(bridge: nn.Module | None, localizer: nn.Module | None, spatial: Any) -> dict[str, Tensor]:
    """Every weight and buffer by name; maps of candidates are named by the encoder layer that they read."""
    first = spatial.num_encoder_layers - spatial.num_selecting_layers
    found: dict[str, Tensor] = {}
    for prefix, part in (("bridge", bridge), ("localizer", localizer)):
        for name, value in part.state_dict().items() if part is not None else ():
            head, _, rest = name.partition(".")
            kind, _, tail = rest.partition(".")
            if head == "selector" and kind in ("projections", "norms"):
                number, _, leaf = tail.partition(".")
                name = f"selector.{kind}.{int(number) + first}.{leaf}"
            found[f"{prefix}.{name}"] = value

    return found
