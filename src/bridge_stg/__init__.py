"""Bridge-STG: when and where does this sentence happen in this video?

>>> from bridge_stg import VideoGrounder                                              # doctest: +SKIP
>>> VideoGrounder.from_pretrained("shapes").ground("clip.mp4", "the red circle")      # doctest: +SKIP

The Auto classes of transformers know Bridge-STG once a model class is imported from here; importing the package
alone loads neither transformers nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge_stg.inference.grounder import VideoGrounder as VideoGrounder
    from bridge_stg.model.configuration import BridgeSTGConfig as BridgeSTGConfig
    from bridge_stg.model.modeling import BridgeSTGForVideoGrounding as BridgeSTGForVideoGrounding
    from bridge_stg.model.processing import BridgeSTGProcessor as BridgeSTGProcessor
    from bridge_stg.zero_shot.grounder import ZeroShotGrounder as ZeroShotGrounder

# Public name -> the module that defines it, looked up on first use: importing the package loads no torch.
_EXPORTS = {
    "BridgeSTGConfig": "bridge_stg.model.configuration",
    "BridgeSTGForVideoGrounding": "bridge_stg.model.modeling",
    "BridgeSTGProcessor": "bridge_stg.model.processing",
    "VideoGrounder": "bridge_stg.inference.grounder",
    "ZeroShotGrounder": "bridge_stg.zero_shot.grounder",
}

__all__ = [
    "BridgeSTGConfig",
    "BridgeSTGForVideoGrounding",
    "BridgeSTGProcessor",
    "VideoGrounder",
    "ZeroShotGrounder",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bridge-stg")
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
