"""Draw the pictures of the README again: ``python docs/make_images.py demo/clip.mp4 "the sentence"``."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from bridge_stg import VideoGrounder
from bridge_stg.inference.drawing import film_strip
from bridge_stg.video.sampling import sample_video


def main(video: str, query: str) -> None:
    """Ground a sentence and write a film strip of the result to docs/images/demo.png."""
    result = VideoGrounder.from_pretrained("shapes").ground(video, query, box_fps=8.0)
    strip = film_strip(result, sample_video(video, fps=8.0), count=6)
    out = Path(__file__).parent / "images" / "demo.png"
    out.parent.mkdir(exist_ok=True)
    Image.fromarray(strip).save(out)
    print(f"wrote {out}: {result.status} {result.window}")


if __name__ == "__main__":
    main(*sys.argv[1:])
