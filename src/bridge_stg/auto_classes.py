"""The Auto classes of transformers know Bridge-STG after ``import bridge_stg``, which itself loads none of it.

Whatever an Auto class loads, it asks for the configuration class of the model type first. So one entry in that
table is enough: the first question about it imports the classes of Bridge-STG, which register themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODEL_TYPE = "bridge_stg"
_TABLE = "transformers.models.auto.configuration_auto"
_REGISTERING = ("bridge_stg.model.configuration", "bridge_stg.model.modeling", "bridge_stg.model.processing")


class _Entries(dict[str, Any]):
    """The table's further entries; ours is there before its class is loaded."""

    def __contains__(self, key: object) -> bool:
        return key == MODEL_TYPE or super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        if key == MODEL_TYPE:
            register_now()
        return super().__getitem__(key)


class _WhenImported(MetaPathFinder):
    """Finds nothing itself: lets the others find the table's module, and adds the entry once that has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TABLE:
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec

        run = spec.loader.exec_module

        def run_and_add(module: ModuleType) -> None:
            run(module)
            _add_entry(module)

        spec.loader.exec_module = run_and_add  # type: ignore[method-assign]
        return spec


def register_when_needed() -> None:
    """Add the entry to the table, now or when transformers is imported."""
    if _TABLE in sys.modules:
        _add_entry(sys.modules[_TABLE])
    else:
        sys.meta_path.insert(0, _WhenImported())


def register_now() -> None:
    """Import the classes of Bridge-STG, which register themselves in the tables of the Auto classes."""
    for name in _REGISTERING:
        import_module(name)


def _add_entry(table: ModuleType) -> None:
    mapping = table.CONFIG_MAPPING
    # The library has no way to add a class that is not loaded; what it keeps added classes in is a dictionary.
    mapping._extra_content = _Entries(mapping._extra_content)
