"""Peak memory grows with the frames kept, not with the source."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

CHILD = """
import json, sys, time
from bridge_stg.video.sampling import sample_video

def cap(width, height):
    scale = min((192 * 32 * 32 / (width * height)) ** 0.5, 1.0)
    return max(int(width * scale) // 32 * 32, 32), max(int(height * scale) // 32 * 32, 32)

def peak():
    # Of this program alone: what getrusage says is at least what the process had that started it.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6

start = time.perf_counter()
sampled = sample_video(sys.argv[1], 2.0, cap)
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "frames": sampled.frames.shape,
    "peak_mb": peak(),
}))
"""


@pytest.mark.slow
def test_ten_minutes_of_1080p_stay_under_one_gigabyte(tmp_path):
    path = tmp_path / "long.mp4"
    rate = 5
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "35"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.codec_context.gop_size = 50
        for number in range(600 * rate):
            pixels = np.full((1080, 1920, 3), number * 7 % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True, timeout=600
    )
    measured = json.loads(run.stdout)
    print(measured)
    assert measured["frames"] == [1200, 320, 576, 3]
    assert measured["peak_mb"] < 1000
