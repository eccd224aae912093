"""A trained small model made deeper, or given more words, without a change of what it answers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bridge_stg.errors import InputError
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding

WAVES = 8


def grow(
    model: BridgeSTGForVideoGrounding, layers: int, vocabulary: int | None = None
) -> BridgeSTGForVideoGrounding:
    """A copy with ``layers`` language layers and ``vocabulary`` rows of words.

    A new layer stands on top, is a copy of the last one, and adds nothing at first: its two output maps are
    zero. New rows are those of ``number_rows``.

    Raises:
        InputError: fewer layers or rows than the model has.
    """
    text = model.config.mllm.text_config
    had, words = text.num_hidden_layers, text.vocab_size
    rows = words if vocabulary is None else vocabulary
    if layers < had or rows < words:
        raise InputError(f"the model has {had} layers and {words} words; {layers} and {rows} are fewer")

    described = model.config.to_dict()
    described["mllm"]["text_config"] |= {"num_hidden_layers": layers, "vocab_size": rows}
    # It names a kind for each layer, and transformers makes it anew.
    described["mllm"]["text_config"].pop("layer_types", None)
    known = {name: value for name, value in described.items() if name in _fields()}
    grown = BridgeSTGForVideoGrounding(BridgeSTGConfig(**known))

    old, new = model.state_dict(), {}
    for name, value in grown.state_dict().items():
        if name in old and old[name].shape == value.shape:
            new[name] = old[name].clone()
        elif name in old:
            new[name] = torch.cat([old[name], number_rows(old[name], rows - words)])
        else:
            new[name] = _added(name, had, old)
    grown.load_state_dict(new)
    return grown


def number_rows(embedding: Tensor, count: int, first: int = 100) -> Tensor:
    """(count, D) rows for ``first`` and the numbers after it, as large as those of ``embedding`` (V, D).

    Waves of the number, mixed at random: neighbours start alike, so that what is learned of one number holds
    for those around it.
    """
    generator = torch.Generator().manual_seed(5)
    place = torch.arange(first, first + count)[:, None] / 1000
    angles = place * torch.arange(1, WAVES + 1)[None] * math.pi
    waves = torch.cat([angles.sin(), angles.cos()], dim=1) / math.sqrt(WAVES)
    mixed = waves @ torch.randn(2 * WAVES, embedding.shape[1], generator=generator)
    return (mixed * embedding.float().std()).to(embedding.dtype)


def _added(name: str, had: int, old: dict[str, Tensor]) -> Tensor:
    """A weight of a layer on top: that of the last layer, or zero where the layer writes."""
    before, after = name.split(".layers.")
    copied = old[f"{before}.layers.{had - 1}.{after.split('.', 1)[1]}"]
    return torch.zeros_like(copied) if "o_proj" in name or "down_proj" in name else copied.clone()


def _fields() -> set[str]:
    return set(BridgeSTGConfig.__dataclass_fields__)
