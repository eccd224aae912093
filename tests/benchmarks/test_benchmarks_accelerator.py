"""The script for an accelerator, at its tiny scale on whatever there is."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.learning
def test_the_tiny_scale_measures_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", ["accelerator.py", "--scale", "tiny", "--json"])
    runpy.run_path(str(BENCHMARKS / "accelerator.py"), run_name="__main__")
    found = json.loads(capsys.readouterr().out)

    # One sentence and four, of the same clip and answers of the same length.
    assert [(row["sentences"], row["passes"]) for row in found["answering"]] == [(1, 4), (4, 4)]
    assert {row["tokens"]["answer_steps"] for row in found["answering"]} == {4}
    for row in found["answering"]:
        assert row["sentences_per_second"] == pytest.approx(1000 / row["ms_a_sentence"])
        assert row["peak_memory_gb"] > 0
    assert found["training"]["samples_per_second"] > 0
    assert found["found"].keys() == {
        "ms_a_sentence",
        "peak_memory_gb",
        "sentences_per_second",
        "training_samples_per_second",
    }
