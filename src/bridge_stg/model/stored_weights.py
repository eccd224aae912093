"""What the weights of a checkpoint must be: numbers, of a kind that the model computes with, all of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel

from bridge_stg.errors import CheckpointError, InputError

# As safetensors names them.
_FLOATS = ("F64", "F32", "F16", "BF16")
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def float_dtype(dtype: Any) -> torch.dtype:
    """A torch dtype, or its name, as the dtype of a model.

    Raises:
        InputError: not a name of one, or a kind that cannot hold weights.

    >>> float_dtype("bfloat16")
    torch.bfloat16
    """
    found = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"a dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return found


def check_stored_kinds(folder: str | Path) -> None:
    """Raise CheckpointError for stored tensors that are no floating-point numbers; others would be cast.

    A file that cannot be read is left to whoever loads it.
    """
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118 - a handle, not a dictionary
                    kind = tensors.get_slice(key).get_dtype()
                    if kind not in _FLOATS:
                        raise CheckpointError(
                            f"{file}: {key} is stored as {kind}, weights must be floating-point numbers; "
                            "quantised checkpoints cannot be read"
                        )
        except (OSError, SafetensorError):
            return


def check_finite(model: nn.Module, name: str) -> None:
    """Raise CheckpointError naming the weights that are no numbers."""
    faulty = [key for key, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if faulty:
        raise CheckpointError(
            f"{name}: {len(faulty)} weights are not finite (first: {faulty[0]}); give an intact checkpoint"
        )


def cast_parameters(model: PreTrainedModel, dtype: Any) -> None:
    """All parameters in one precision; buffers keep theirs.

    The library leaves a language model inside another model as it was stored.

    Args:
        dtype: a dtype or its name; None or "auto" for the one that the configuration was saved with.
    """
    if dtype is None or dtype == "auto":
        dtype = model.config.dtype or torch.float32
    wanted = float_dtype(dtype)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(wanted)
