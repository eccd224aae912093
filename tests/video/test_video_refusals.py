"""What cannot be read says why: the words name the true cause."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from bridge_stg.errors import VideoError
from bridge_stg.video.decode import open_source


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="pipe"):
        open_source(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("address", ["https://example.org/a.mp4", "rtsp://camera/1"])
def test_an_address_is_no_file(address: str) -> None:
    for given in (address, Path(address)):
        with pytest.raises(VideoError, match="address") as caught:
            open_source(given)
        assert str(caught.value).startswith(f"{address}: ")


def test_an_encrypted_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(10):
            pixels = noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="encrypted"):
        open_source(path)
