"""COCO for videos: pictures with a video and a frame, boxes with an instance.

Only written. Frames count from 0 and boxes are ``left, top, width, height`` in pixels. ``images`` lists the
frames that have a box; their ``file_name`` is where a tool that cuts the video into pictures would put them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bridge_stg.curation.annotations.drawn_tubes import LABEL, DrawnTube, DrawnVideo, plain


def write(videos: Iterable[DrawnVideo], out: Path) -> list[Path]:
    """One file with all videos."""
    found: dict[str, list[dict[str, Any]]] = {"videos": [], "images": [], "tracks": [], "annotations": []}
    for number, video in enumerate(videos, start=1):
        size = {"width": video.width, "height": video.height}
        about = {"id": number, "name": video.video, **size, "fps": float(video.fps)}
        found["videos"].append(about | {"length": video.frame_count})

        # A picture for each frame that has a box in any tube.
        frames = sorted({frame for tube in video.tubes for frame in tube.boxes})
        first = len(found["images"]) + 1
        images = {frame: first + position for position, frame in enumerate(frames)}
        for frame, image in images.items():
            file = f"{video.safe_name.as_posix()}/{frame:06d}.jpg"
            found["images"].append(
                {"id": image, "video_id": number, "frame_id": frame, "file_name": file, **size}
            )

        for tube in video.tubes:
            track = len(found["tracks"]) + 1
            said = {"id": track, "video_id": number, "category_id": 1, "query": plain(tube.query)}
            found["tracks"].append(said | ({} if tube.score is None else {"score": round(tube.score, 6)}))
            shared = {"video_id": number, "category_id": 1, "instance_id": track, "track_id": track}
            for box in _boxes(tube, images):
                found["annotations"].append({"id": len(found["annotations"]) + 1, **box, **shared})

    categories = [{"id": 1, "name": LABEL, "supercategory": ""}]
    text = json.dumps({**found, "categories": categories}, separators=(",", ":")) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    return [out]


def _boxes(tube: DrawnTube, images: dict[int, int]) -> Iterator[dict[str, Any]]:
    for frame, (x1, y1, x2, y2) in sorted(tube.boxes.items()):
        width, height = round(x2 - x1, 2), round(y2 - y1, 2)
        yield {
            "image_id": images[frame],
            "bbox": [x1, y1, width, height],
            "area": round(width * height, 2),
            # Readers of the format look for a mask, and complain once per box where the field is missing.
            "segmentation": [],
            "iscrowd": 0,
        }
