"""`make real-size` on a small model: the same commands in the same order, in this process."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from support.qwen3_vocabulary import vocabulary_file
from typer.testing import CliRunner

from bridge_stg.cli import main

pytestmark = pytest.mark.skipif(vocabulary_file() is None, reason="needs the extra vocabulary")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "real_size.py"


@pytest.fixture(scope="module")
def real_size() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT), run_name="real_size")


def test_every_command_of_the_walk_does_its_part(real_size: dict[str, Any], tmp_path: Path) -> None:
    printed = []

    def run(words: Sequence[str]) -> Any:
        done = CliRunner().invoke(main.app, list(words))
        assert done.exit_code == 0, done.output
        printed.append(done.stdout)
        return real_size["Spent"](0.0, 0.0, 0.0)

    table = real_size["walk"](tmp_path, "tiny", run)
    assert list(table) == ["data", "two steps", "one more", "merge", "ground", "boxes"]

    # The second training goes on from the first one.
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3]
    assert "going on from step 2" in printed[2]

    # The rows of the real vocabulary, in the precision of the base.
    with safe_open(tmp_path / "merged" / "model.safetensors", "pt") as stored:
        kinds = {stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118 - a handle
        shape = stored.get_slice("mllm.model.language_model.embed_tokens.weight").get_shape()
    assert kinds == {"BF16"}
    assert shape[0] == 151936

    answers = [json.loads(line) for line in (tmp_path / "boxes.jsonl").read_text().splitlines()]
    assert len(answers) > 0
    assert all(answer["status"] == "ok" and answer["boxes"] for answer in answers)
    cost = real_size["boxes_cost"](tmp_path)
    assert cost["queries"] == len(answers)
    assert cost["located_frames"] > 0
    assert cost["ms"]["spatial"] > 0


def test_the_real_shape_is_that_of_the_2b(real_size: dict[str, Any]) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(real_size["mllm_config"]("2b"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_127_532_032
