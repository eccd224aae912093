"""Which model is this? Hashes of norms and biases: they are small, and every training moves them.

Values are hashed as bfloat16, so that a hash does not depend on the precision the model is held in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor, nn

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding


def base_fingerprint(model: BridgeSTGForVideoGrounding, state: dict[str, Tensor] | None = None) -> str:
    """The hash of the Qwen3-VL inside, with or without adapters; it stands in ``adapter.json``.

    Args:
        state: all weights by name where the model itself holds only a share of them.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.mllm.named_parameters()):
        if parameter.ndim == 1:
            # Names differ once the projections are wrapped; norms and biases keep their order and their values.
            digest.update(_bytes(parameter if state is None else state[f"mllm.{name}"]))
            digest.update(name.replace(".base_layer", "").encode())
    return digest.hexdigest()


def fingerprint_of(model: nn.Module, names: Collection[str]) -> str:
    """The hash of the parameters ``names``; it stands in a run's state. "" if none is a norm or a bias."""
    digest, found = hashlib.sha256(), False
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and name in names:
            digest.update(name.encode() + _bytes(parameter))
            found = True

    return digest.hexdigest() if found else ""


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().bfloat16().view(torch.int16).numpy().tobytes()
