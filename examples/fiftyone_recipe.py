"""Grounded sentences in FiftyOne: a window as a temporal detection, the boxes frame by frame.

pip install fiftyone "bridge-stg"
python examples/fiftyone_recipe.py clip.mp4 "the red circle that moves left"
"""

from __future__ import annotations

import sys
from typing import Any

from bridge_stg import VideoGrounder
from bridge_stg.types import GroundingResult


def temporal_detections(results: list[GroundingResult]) -> list[dict[str, Any]]:
    """Label, seconds and confidence of each found window."""
    return [
        {"label": result.query, "seconds": (one.span.start, one.span.end), "confidence": one.score}
        for result in results
        for one in result.windows
    ]


def frame_boxes(results: list[GroundingResult]) -> dict[int, list[dict[str, Any]]]:
    """Frame (from 1) -> boxes as FiftyOne wants them: left, top, width, height in parts of the frame."""
    frames: dict[int, list[dict[str, Any]]] = {}
    for number, result in enumerate(results):
        if result.tube is None:
            continue
        width, height = result.info.width, result.info.height
        for frame, (x1, y1, x2, y2), score in zip(
            result.tube.frames.tolist(), result.tube.boxes.tolist(), result.tube.scores.tolist(), strict=True
        ):
            box = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
            found = {"label": result.query, "bounding_box": box, "confidence": score, "index": number}
            frames.setdefault(frame + 1, []).append(found)
    return frames


def to_sample(video: str, results: list[GroundingResult]) -> Any:
    """A FiftyOne sample with all of it."""
    import fiftyone as fo

    sample = fo.Sample(filepath=video, metadata=fo.VideoMetadata.build_for(video))
    sample["events"] = fo.TemporalDetections(
        detections=[
            fo.TemporalDetection.from_timestamps(
                one["seconds"], sample=sample, label=one["label"], confidence=one["confidence"]
            )
            for one in temporal_detections(results)
        ]
    )
    for frame, boxes in frame_boxes(results).items():
        sample.frames[frame] = fo.Frame(
            objects=fo.Detections(detections=[fo.Detection(**box) for box in boxes])
        )
    return sample


def main(video: str, queries: list[str]) -> None:
    import fiftyone as fo

    results = VideoGrounder.from_pretrained("shapes").ground(video, queries)
    dataset = fo.Dataset("bridge-stg", overwrite=True)
    dataset.add_sample(to_sample(video, results))
    fo.launch_app(dataset).wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
