"""Damaged configuration files of ``train``: a configuration, or one clear line; never a traceback."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from fuzz.mutations import ROUNDS, SEED, mutate, mutate_value

from bridge_stg.cli.runs import as_yaml, named_or_read
from bridge_stg.errors import InputError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize("recipe", ["shapes", "lora-2b-1x24gb"])
def test_damaged_configurations(tmp_path: Path, suffix: str, recipe: str) -> None:
    config = named_or_read(recipe, [])
    values = config.model_dump(mode="json")
    text = as_yaml(config) if suffix == ".yaml" else json.dumps(values)
    path = tmp_path / f"config{suffix}"
    path.write_text(text)
    assert named_or_read(str(path), []) == config

    seen: Counter[str] = Counter()
    draw = random.Random(f"{SEED}/{recipe}{suffix}")
    for number in range(max(ROUNDS // 8, 1)):
        # A damaged value in good syntax as often as damaged syntax; YAML reads JSON.
        damaged = mutate(text.encode(), draw)
        if draw.random() < 0.5:
            damaged = json.dumps(mutate_value(values, draw)).encode()
        path.write_bytes(damaged)
        try:
            named_or_read(str(path), [])
            seen["configuration"] += 1
        except InputError as problem:
            seen["line"] += bool(str(problem).strip())
        except BaseException:
            print(f"seed {SEED}, {recipe}{suffix}, round {number}: {damaged[:4000]!r}")
            raise
    print(f"seed {SEED}, {recipe}{suffix}: {dict(seen)}")
    assert seen["line"] > 0
