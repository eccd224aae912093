"""Seconds that ``score`` takes: reading both files, the metrics, the bootstrap, the constant answers.

    python benchmarks/scoring.py                        # 10,000 tubes of 300 frames
    python benchmarks/scoring.py --tubes 1000 --protocol tubedetr

The files are generated in a temporary folder: a true box on every frame of ten seconds, predicted boxes at
2 fps, six questions per video. Seconds are those of the processor, all threads together: what one core needs,
also on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bridge_stg.evaluation.score import score_files
from bridge_stg.metrics.stvg import PROTOCOLS
from bridge_stg.records.prediction import read_predictions
from bridge_stg.records.record import read_truth

FPS, CLIP_FRAMES, WINDOW_START = 30, 400, 50
BOX_STEP = 15  # 2 fps
QUESTIONS_PER_VIDEO = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tubes", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="stcat")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        truth, predictions = Path(folder) / "truth.jsonl", Path(folder) / "predictions.jsonl"
        write_files(truth, predictions, arguments.tubes, arguments.frames)
        sizes = [path.stat().st_size / 1e6 for path in (truth, predictions)]

        whole = time.process_time()
        scores = score_files(truth, predictions, arguments.protocol).scores
        whole = time.process_time() - whole
        # Read a second time, to say which part of it reading is.
        reading = time.process_time()
        read_truth(truth)
        read_predictions(predictions)
        reading = time.process_time() - reading
    print(f"{arguments.tubes} tubes of {arguments.frames} frames, protocol {scores.protocol}")
    print(f"files          {sizes[0]:.0f} MB truth, {sizes[1]:.0f} MB predictions")
    print(f"score          {whole:.1f} s, of which reading is {reading:.1f} s")
    print(f"peak memory    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    print("metrics        " + ", ".join(f"{name} {value:.1f}" for name, value in scores.metrics.items()))


def write_files(truth: Path, predictions: Path, tubes: int, frames: int) -> None:
    """Boxes that drift over the frame; the prediction is a second late and a few pixels off."""
    rng = np.random.default_rng(0)
    with truth.open("w") as true_lines, predictions.open("w") as predicted_lines:
        for number in range(tubes):
            corner, drift = rng.uniform(0, 300, 2), rng.normal(0, 0.3, 2)
            low = corner + drift * np.arange(frames)[:, None]
            tube = np.concatenate([low, low + np.array([80, 60])], axis=1)
            true_lines.write(_line(truth_line(number, tube.round(2).tolist(), frames)))
            noisy = (tube[::BOX_STEP] + rng.normal(0, 4, 4)).round(3).tolist()
            predicted_lines.write(_line(answer_line(number, noisy, frames)))


def truth_line(number: int, tube: list[list[float]], frames: int) -> dict[str, Any]:
    window = [WINDOW_START, WINDOW_START + frames]
    return {
        "id": f"q{number}",
        "task": "stvg",
        "video": f"videos/{number // QUESTIONS_PER_VIDEO}.mp4",
        "fps": float(FPS),
        "frame_count": max(CLIP_FRAMES, window[1]),
        "clip": [0, max(CLIP_FRAMES, window[1])],
        "width": 640,
        "height": 360,
        "query": "what drifts?",
        "qtype": ("declarative", "interrogative")[number % 2],
        "window": window,
        "boxes": {str(frame): box for frame, box in enumerate(tube, start=WINDOW_START)},
    }


def answer_line(number: int, boxes: list[list[float]], frames: int) -> dict[str, Any]:
    start = WINDOW_START / FPS
    return {
        "id": f"q{number}",
        "status": "ok",
        "text": "",
        "windows": [{"start": start + 1, "end": start + 1 + frames / FPS}],
        "boxes": [
            {"time": round(start + step * BOX_STEP / FPS, 6), "box": box, "score": 0.9}
            for step, box in enumerate(boxes)
        ],
    }


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    main()
