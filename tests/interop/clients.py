"""Other people's programs, each asked what it reads or writes; prints one line of JSON.

Run by ``test_interop.py`` with the Python of another virtual environment: ``python clients.py NAME ARGUMENTS``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

# The trackers' programs were written for NumPy 1.
for name, kind in {"float": float, "int": int, "bool": bool, "asfarray": np.asarray}.items():
    if not hasattr(np, name):
        setattr(np, name, kind)


def datumaro(folder: str, kind: str, offset: str) -> Any:
    """Frame -> boxes xywh of a data set; ``offset`` is the number of its first frame."""
    import datumaro as dm

    found: dict[int, list[list[float]]] = defaultdict(list)
    for item in dm.Dataset.import_from(folder, kind):
        number = int(str(item.id).rsplit("/", 1)[-1].removeprefix("frame_")) - int(offset)
        found[number] += [box.get_bbox() for box in item.annotations if not box.attributes.get("outside")]
    return {frame: sorted(boxes) for frame, boxes in sorted(found.items()) if boxes}


def datumaro_mot(folder: str, out: str) -> Any:
    """A sequence, read and written again with its pictures."""
    import datumaro as dm

    dm.Dataset.import_from(folder, "mot_seq").export(out, "mot_seq_gt", save_media=True)
    return sorted(path.relative_to(out).as_posix() for path in Path(out).rglob("*.*"))


def pycocotools(path: str) -> Any:
    """Mean precision of the boxes against themselves, and how many there are."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(path)
    boxes = truth.loadAnns(truth.getAnnIds())
    results = [{key: box[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} for box in boxes]
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {"precision": float(evaluation.stats[0]), "boxes": len(boxes), "frames": len(truth.imgs)}


def motmetrics(path: str) -> Any:
    """Accuracy of the tracks against themselves, and how many there are."""
    import motmetrics as mm

    tracks = mm.io.loadtxt(path, fmt="mot16", min_confidence=1)
    compared = mm.utils.compare_to_groundtruth(tracks, tracks, "iou", distth=0.5)
    names = ["mota", "num_objects", "num_unique_objects"]
    row = mm.metrics.create().compute(compared, metrics=names, name="sequence").iloc[0]
    return {name: float(row[name]) for name in names}


def trackeval(sequence: str, folder: str) -> Any:
    """HOTA of the tracks against themselves; the length is that of seqinfo.ini."""
    import trackeval as te

    shutil.copytree(sequence, f"{folder}/gt/sequence")
    Path(f"{folder}/trackers/same/data").mkdir(parents=True)
    shutil.copy(f"{sequence}/gt/gt.txt", f"{folder}/trackers/same/data/sequence.txt")
    data = te.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": f"{folder}/gt",
            "TRACKERS_FOLDER": f"{folder}/trackers",
            "TRACKERS_TO_EVAL": ["same"],
            "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": {"sequence": None},
            "PRINT_CONFIG": False,
        }
    )
    quiet = (
        "PRINT_RESULTS",
        "PRINT_CONFIG",
        "OUTPUT_SUMMARY",
        "OUTPUT_DETAILED",
        "PLOT_CURVES",
        "TIME_PROGRESS",
    )
    evaluator = te.Evaluator(dict.fromkeys(quiet, False) | {"LOG_ON_ERROR": None})
    results, _ = evaluator.evaluate([data], [te.metrics.HOTA(), te.metrics.CLEAR()])
    found = results["MotChallenge2DBox"]["same"]["sequence"]["pedestrian"]
    return {
        "hota": float(np.mean(found["HOTA"]["HOTA"])),
        "boxes": int(found["CLEAR"]["CLR_TP"]),
        "frames": int(data.seq_lengths["sequence"]),
    }


def label_studio(path: str, config: str) -> Any:
    """What is wrong with each task's results under a configuration, and the frames between their keys."""
    from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface(Path(config).read_text())
    interface.validate()
    (task,) = json.loads(Path(path).read_text())
    (given,) = task["annotations"]
    errors = [
        error
        for number, region in enumerate(given["result"])
        for error in interface.validate_region(region, return_errors=True, region_index=number)
    ]
    filled = [one for one in extract_key_frames(given["result"]) if one["type"] == "videorectangle"]
    frames = [sorted({entry["frame"] for entry in one["value"]["sequence"]}) for one in filled]
    return {"errors": errors, "frames": frames, "data": task["data"]}


def label_studio_convert(path: str, config: str, out: str) -> Any:
    """The tasks, exported by the tool's own converter."""
    from label_studio_sdk.converter import Converter

    converter = Converter(Path(config).read_text(), project_dir=".", download_resources=False)
    converter.convert_to_json(path, out, is_dir=False)
    return sorted(file.name for file in Path(out).iterdir())


def label_studio_write(out: str, fps: str, width: str, height: str) -> Any:
    """A task of the tool's own importer of tracks: a box on frames 24 to 48 of 72."""
    from types import SimpleNamespace

    from label_studio_sdk.converter.imports import pathtrack

    info = SimpleNamespace(
        fps=float(fps), original_width=int(width), original_height=int(height), frame_count=72
    )
    region = pathtrack.new_region(["the car"], info, "box", "video")
    for frame, x in ((24, 0), (48, 24)):
        if region["value"]["sequence"]:
            region["value"]["sequence"][-1]["enabled"] = True
        box = SimpleNamespace(frame=frame, x=x, y=0, width=10, height=10)
        pathtrack.new_keyframe(region, box, info)
    region["value"]["duration"] = info.frame_count / info.fps
    Path(out).write_text(json.dumps([pathtrack.new_task({"video": "a.mp4"}, [region])]))
    return region["value"]["sequence"]


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answer = globals()[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(answer))
