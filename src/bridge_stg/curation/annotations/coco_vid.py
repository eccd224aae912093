"""COCO for videos: pictures with a video and a frame, boxes with an instance.

Only written. Frames count from 0 and boxes are ``left, top, width, height`` in pixels. ``images`` lists the
frames that have a box; their ``file_name`` is where a tool that cuts the video into pictures would put them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bridge_stg.curation.annotations.tubes import LABEL, DrawnVideo, plain


def write(videos: Iterable[DrawnVideo], out: Path) -> list[Path]:
    """One file with all videos."""
    found: dict[str, list[dict[str, Any]]] = {"videos": [], "images": [], "tracks": [], "annotations": []}
    for number, video in enumerate(videos, start=1):
        found["videos"].append(
            {
                "id": number,
                "name": video.video,
                "width": video.width,
                "height": video.height,
                "fps": float(video.fps),
                "length": video.frame_count,
            }
        )
        frames = sorted({frame for tube in video.tubes for frame in tube.boxes})
        images = {frame: len(found["images"]) + position for position, frame in enumerate(frames, start=1)}
        for frame, image in images.items():
            found["images"].append(
                {
                    "id": image,
                    "video_id": number,
                    "frame_id": frame,
                    "file_name": f"{video.safe_name.as_posix()}/{frame:06d}.jpg",
                    "width": video.width,
                    "height": video.height,
                }
            )
        for tube in video.tubes:
            track = len(found["tracks"]) + 1
            about = {"id": track, "video_id": number, "category_id": 1, "query": plain(tube.query)}
            found["tracks"].append(about | ({} if tube.score is None else {"score": round(tube.score, 6)}))
            for frame, (x1, y1, x2, y2) in sorted(tube.boxes.items()):
                width, height = round(x2 - x1, 2), round(y2 - y1, 2)
                found["annotations"].append(
                    {
                        "id": len(found["annotations"]) + 1,
                        "image_id": images[frame],
                        "video_id": number,
                        "category_id": 1,
                        "instance_id": track,
                        "track_id": track,
                        "bbox": [x1, y1, width, height],
                        "area": round(width * height, 2),
                        "iscrowd": 0,
                    }
                )
    categories = [{"id": 1, "name": LABEL, "supercategory": ""}]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        json.dumps({**found, "categories": categories}, separators=(",", ":")) + "\n", encoding="utf-8"
    )
    return [out]
