"""Loading and merging never hold a model twice: the peak of a process against the size of the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.lora import add_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.weights.adapter_files import save_adapters

# What the libraries load on first use is not the model's: a small one is handled first. Linux alone says what
# the highest mark was and lets it be put back.
SCRIPT = """
import json, sys
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.weights.adapter_files import merge_folder

def mib(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

def load(folder, out):
    VideoGrounder.from_pretrained(f"{folder}/base", device="cpu", dtype="bfloat16", threads=1)

def merge(folder, out):
    merge_folder(f"{folder}/run", out)

small, large, out = sys.argv[1:]
found = {}
for work in (load, merge):
    work(small, f"{out}/small")
    open("/proc/self/clear_refs", "w").write("5")
    before = mib("VmRSS")
    work(large, f"{out}/large")
    found[work.__name__] = mib("VmHWM") - before
print(json.dumps(found))
"""


def write_folders(config: BridgeSTGConfig, tokenizer: object, folder: Path) -> float:
    """A base in bfloat16 and what LoRA would have learned on it; the size of the base in MiB."""
    model = BridgeSTGForVideoGrounding(config).to(torch.bfloat16)
    processor = BridgeSTGProcessor(tokenizer, config)
    model.save_pretrained(folder / "base")
    processor.save_pretrained(folder / "base")
    size = sum(parameter.nbytes for parameter in model.parameters()) / 2**20

    model.mllm.requires_grad_(False)
    add_lora(model)
    save_adapters(model, processor, str(folder / "base"), folder / "run")
    return size


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_model_is_there_twice(
    make_config: Callable[..., BridgeSTGConfig], tokenizer: object, tmp_path: Path
) -> None:
    write_folders(make_config(), tokenizer, tmp_path / "small")
    config = make_config()
    text = config.mllm.text_config
    text.hidden_size = config.mllm.vision_config.out_hidden_size = 768
    text.intermediate_size, text.num_hidden_layers = 4096, 8
    size = write_folders(config, tokenizer, tmp_path / "large")
    assert size > 130

    folders = [str(tmp_path / name) for name in ("small", "large", "out")]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *folders], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    # The weights once, and what is being read or written; twice would be 2.
    assert {name: peak / size < 1.6 for name, peak in found.items()} == {"load": True, "merge": True}
