"""Bridge-STG: when and where does this sentence happen in this video?

>>> from bridge_stg import VideoGrounder                                              # doctest: +SKIP
>>> VideoGrounder.from_pretrained("shapes").ground("clip.mp4", "the red circle")      # doctest: +SKIP

After ``import bridge_stg`` the Auto classes of transformers know Bridge-STG; the import itself loads neither
transformers nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bridge_stg.auto_classes import register_now, register_when_needed

if TYPE_CHECKING:
    from bridge_stg.errors import BridgeSTGError as BridgeSTGError
    from bridge_stg.errors import CheckpointError as CheckpointError
    from bridge_stg.errors import DataError as DataError
    from bridge_stg.errors import InputError as InputError
    from bridge_stg.errors import VideoError as VideoError
    from bridge_stg.inference.grounder import VideoGrounder as VideoGrounder
    from bridge_stg.inference.options import GroundOptions as GroundOptions
    from bridge_stg.model.configuration import BridgeSTGConfig as BridgeSTGConfig
    from bridge_stg.model.modeling import BridgeSTGForVideoGrounding as BridgeSTGForVideoGrounding
    from bridge_stg.model.processing import BridgeSTGProcessor as BridgeSTGProcessor
    from bridge_stg.types import GroundingResult as GroundingResult
    from bridge_stg.types import TimeSpan as TimeSpan
    from bridge_stg.types import Tube as Tube
    from bridge_stg.zero_shot.grounder import ZeroShotGrounder as ZeroShotGrounder

# Public name -> the module that defines it, looked up on first use: importing the package loads no torch.
_EXPORTS = {
    "BridgeSTGConfig": "bridge_stg.model.configuration",
    "BridgeSTGError": "bridge_stg.errors",
    "BridgeSTGForVideoGrounding": "bridge_stg.model.modeling",
    "BridgeSTGProcessor": "bridge_stg.model.processing",
    "CheckpointError": "bridge_stg.errors",
    "DataError": "bridge_stg.errors",
    "GroundOptions": "bridge_stg.inference.options",
    "GroundingResult": "bridge_stg.types",
    "InputError": "bridge_stg.errors",
    "TimeSpan": "bridge_stg.types",
    "Tube": "bridge_stg.types",
    "VideoError": "bridge_stg.errors",
    "VideoGrounder": "bridge_stg.inference.grounder",
    "ZeroShotGrounder": "bridge_stg.zero_shot.grounder",
}

__all__ = [
    "BridgeSTGConfig",
    "BridgeSTGError",
    "BridgeSTGForVideoGrounding",
    "BridgeSTGProcessor",
    "CheckpointError",
    "DataError",
    "GroundOptions",
    "GroundingResult",
    "InputError",
    "TimeSpan",
    "Tube",
    "VideoError",
    "VideoGrounder",
    "ZeroShotGrounder",
    "__version__",
]

register_when_needed()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bridge-stg")
    if name in _EXPORTS:
        if _EXPORTS[name].startswith("bridge_stg.model."):
            register_now()  # so that AutoModel.from_config knows the class whose configuration this is
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
