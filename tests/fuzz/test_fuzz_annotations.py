"""Damaged annotation files of every reader: a record, a counted reason, or one line; never a traceback."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import test_source_charades_sta as charades_sta
import test_source_clevrer as clevrer
import test_source_custom as custom
import test_source_got10k as got10k
import test_source_hcstvg as hcstvg
import test_source_nextqa as nextqa
import test_source_refcoco as refcoco
import test_source_revos as revos
import test_source_video_mme as video_mme
import test_source_vidstg as vidstg
from fuzz.mutations import ROUNDS, SEED, mutate
from PIL import Image
from support.built_folder import write, write_video

from bridge_stg.curation.annotations import labelstudio
from bridge_stg.curation.annotations.drawn_tubes import DrawnTube, DrawnVideo
from bridge_stg.curation.annotations.ground_results import read_results
from bridge_stg.curation.datasets.registry import SOURCES
from bridge_stg.curation.reading.folder import DataFolder
from bridge_stg.curation.reading.request import Request
from bridge_stg.errors import DataError
from bridge_stg.records.store import SCHEMA, to_row
from bridge_stg.types import TimeSpan, Tube, VideoInfo

pytestmark = pytest.mark.slow

BOXES = {frame: (float(frame), 5.0, frame + 20.0, 30.0) for frame in range(3, 8)}


def jsonl(root: Path) -> str:
    lines = [custom.LINE, custom.LINE | custom.FACTS | {"window": [1, 6], "interpolate": True, "id": "mine"}]
    write(root / "a.jsonl", "\n".join(map(json.dumps, lines)))
    return "a.jsonl"


def csv(root: Path) -> str:
    rows = "video,query,frame,x1,y1,x2,y2,start,end\na.mp4,car,3,0,0,5,5,0.1,0.5\na.mp4,car,4,0,0,5,6,0.1,0.5\n"
    write(root / "a.csv", rows)
    return "a.csv"


def cvat(root: Path) -> str:
    write(root / "a.xml", custom.CVAT)
    return "a.xml"


def mot(root: Path) -> str:
    write(root / "s" / "seqinfo.ini", "[Sequence]\nname=s\nimDir=img1\nframeRate=2\nseqLength=3\nimWidth=64\n")
    write(root / "s" / "video.ini", "[Video]\nframeRate=5/2\n")
    write(root / "s" / "gt" / "gt.txt", "1,1,1,1,10,10,1,1,1\n3,1,2,1,10,10,1,1,1\n2,2,2,1,10,10,1,1,1\n")
    write(root / "s" / "gt" / "queries.txt", "1\tthe first\n")
    write(root / "s" / "gt" / "labels.txt", "the other\n")
    (root / "s" / "img1").mkdir()
    for number in (1, 2, 3):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / "s" / "img1" / f"{number:06d}.png")
    return "s/*.ini s/gt/*.txt"


def label_studio(root: Path) -> str:
    from fractions import Fraction

    video = DrawnVideo("a.mp4", Fraction(24), 16, 64, 48, (DrawnTube("the car", BOXES),))
    labelstudio.write([video], root / "a.json")
    return "a.json"


def of_charades(root: Path) -> str:
    write_video(root / "Charades_v1_480/AB1CD.mp4", 80, 10)
    write(root / "charades_sta_train.txt", charades_sta.LINES)
    return "charades_sta_train.txt"


def of_clevrer(root: Path) -> str:
    clevrer.folder(root, clevrer.COUNT, clevrer.BLAME, clevrer.NEXT)
    return "train.json"


def of_got10k(root: Path) -> str:
    got10k.folder(root, got10k.NAME)
    return "train/list.txt train/*/*.label train/*/*.txt train/*/*.ini"


def of_hcstvg(root: Path) -> str:
    write(root / "train.json", {hcstvg.V1: hcstvg.first(), hcstvg.V2: hcstvg.SECOND})
    return "train.json"


def of_nextqa(root: Path) -> str:
    write_video(root / "NExTVideo/1164/1234567890.mp4", 20, 10)
    write(root / "dataset/nextqa/map_vid_vidorID.json", {"1234567890": "1164/1234567890", "55": "1/55"})
    nextqa.table(root, nextqa.WHY, nextqa.WHERE).joinpath("dataset/nextqa/val.csv").rename(
        root / "dataset/nextqa/train.csv"
    )
    return "dataset/nextqa/*"


def of_refcoco(root: Path) -> str:
    refcoco.folder(root)
    return "refcoco/*"


def of_refcoco_parquet(root: Path) -> str:
    refcoco.mirror(root, "train-0.parquet")
    return "data/*.parquet"


def of_revos(root: Path) -> str:
    revos.folder(root, {revos.VIDEO: revos.META})
    return "*.json"


def of_video_mme(root: Path) -> str:
    write_video(root / "data/-bC_123xyz0.mp4", 20, 10)
    video_mme.table(root, video_mme.ROW)
    return "videomme/*.parquet"


def of_vidstg(root: Path) -> str:
    vidstg.folder(root, [vidstg.row((0, 40), (5, 20))], split="train")
    return "VidSTG-Dataset/annotations/*.json vidor/annotation/*/*/*.json"


# Name of the reader -> (data set, annotation format, what writes a good folder and says which files to damage).
READERS: dict[str, tuple[str, str | None, Callable[[Path], str]]] = {
    "jsonl": ("custom", "jsonl", jsonl),
    "csv": ("custom", "csv", csv),
    "cvat": ("custom", "cvat", cvat),
    "mot": ("custom", "mot", mot),
    "labelstudio": ("custom", "labelstudio", label_studio),
    "charades-sta": ("charades-sta", None, of_charades),
    "clevrer": ("clevrer", None, of_clevrer),
    "got10k": ("got10k", None, of_got10k),
    "hcstvg-v1": ("hcstvg-v1", None, of_hcstvg),
    "nextqa": ("nextqa", None, of_nextqa),
    "refcoco": ("refcoco", None, of_refcoco),
    "refcoco-parquet": ("refcoco", None, of_refcoco_parquet),
    "revos": ("revos", None, of_revos),
    "video-mme": ("video-mme", None, of_video_mme),
    "vidstg": ("vidstg", None, of_vidstg),
}


@pytest.mark.parametrize("reader", READERS)
def test_damaged_annotations(tmp_path: Path, reader: str) -> None:
    name, annotation_format, make = READERS[reader]
    root = tmp_path / "data"
    if name == "custom":
        write_video(root / "a.mp4", 20, 30)
        write_video(root / "clips" / "a.mp4", 20, 30)
    files = [path for pattern in make(root).split() for path in sorted(root.glob(pattern))]
    good = {path: path.read_bytes() for path in files}
    split = "train" if "train" in SOURCES[name].splits else SOURCES[name].splits[0]
    check = reader != "hcstvg-v1"

    def read() -> Counter[str]:
        """What became of the items; every record must fit into a store."""
        request = Request(DataFolder(root), split, check, annotation_format=annotation_format)
        outcomes = list(SOURCES[name].read(request))
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        pa.Table.from_pylist([to_row(record) for record in records], schema=SCHEMA)
        return Counter("record" if outcome.unusable is None else "reason" for outcome in outcomes)

    assert read()["record"] > 0, "the good folder is read"
    seen: Counter[str] = Counter()
    draw = random.Random(f"{SEED}/{reader}")
    for number in range(ROUNDS):
        path = draw.choice(files)
        damaged = mutate(good[path], draw)
        path.write_bytes(damaged)
        try:
            seen.update(read())
        except DataError as problem:
            seen["line"] += bool(str(problem).strip())
        except BaseException:
            print(f"seed {SEED}, {reader}, round {number}: {path.name}: {damaged[:2000]!r}")
            raise
        path.write_bytes(good[path])
    print(f"seed {SEED}, {reader}: {dict(seen)}")
    assert seen["line"] + seen["reason"] > 0


def test_damaged_results(tmp_path: Path) -> None:
    """``tube.json``, which is written here and edited elsewhere."""
    from fractions import Fraction

    from bridge_stg.types import GroundingResult

    info = VideoInfo("a.mp4", 200, 100, Fraction(30), 10.0, 300)
    corners = np.array([[10.0, 20, 40, 50], [25, 20, 55, 50]])
    tube = Tube(np.array([0.5, 1.0]), np.array([15, 30]), corners, np.array([0.5, 1.0]))
    result = GroundingResult(
        "a.mp4", "the car", "ok", "", info, 2.0, "shapes", window=TimeSpan(0.4, 1.2), tube=tube
    )
    content = json.dumps([result.to_json()]).encode()
    path = tmp_path / "tube.json"
    draw = random.Random(f"{SEED}/results")
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        damaged = mutate(content, draw)
        path.write_bytes(damaged)
        try:
            seen["read"] += len(read_results(path))
        except DataError:
            seen["line"] += 1
        except BaseException:
            print(f"seed {SEED}, results, round {number}: {damaged[:2000]!r}")
            raise
    print(f"seed {SEED}, results: {dict(seen)}")
    assert min(seen.values()) > 0
