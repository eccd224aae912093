"""Loading and merging never need a model twice: memory of a process against the size of the weights."""

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

# Private memory, looked at all the time: pages of the file that weights are mapped from can be dropped. What
# the libraries load on first use is not the model's: a small one is handled first.
SCRIPT = """
import json, sys, threading, time
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.weights.adapter_files import merge_folder

def private_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

def watch():
    while True:
        peak[0] = max(peak[0], private_mib())
        time.sleep(0.001)

def load(folder, out):
    VideoGrounder.from_pretrained(f"{folder}/base", device="cpu", dtype="bfloat16", threads=1)

def merge(folder, out):
    merge_folder(f"{folder}/run", out)

small, large, out = sys.argv[1:]
peak, found = [0.0], {}
threading.Thread(target=watch, daemon=True).start()
for work in (merge, load):
    work(small, f"{out}/small")
    before = peak[0] = private_mib()
    work(large, f"{out}/large")
    found[work.__name__] = peak[0] - before
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
    # At most the weights once, and what is being read or written; twice would be 2.
    assert max(found.values()) < 1.3 * size, (found, size)
