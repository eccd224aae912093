"""What ``import bridge_stg`` offers without loading anything."""

from __future__ import annotations

from importlib.metadata import version

import pytest

import bridge_stg


def test_version_is_the_installed_one() -> None:
    assert bridge_stg.__version__ == version("bridge-stg")


def test_public_names_are_listed() -> None:
    assert set(bridge_stg.__all__) <= set(dir(bridge_stg))
    assert set(bridge_stg._EXPORTS) == set(bridge_stg.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'VideoGrunder'"):
        bridge_stg.VideoGrunder  # noqa: B018


def test_a_lazy_name_is_the_class_itself() -> None:
    from bridge_stg.model.configuration import BridgeSTGConfig

    assert bridge_stg.BridgeSTGConfig is BridgeSTGConfig
