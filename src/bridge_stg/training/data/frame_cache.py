"""Frames that were decoded once: read from Parquet what ``sample_video`` would read from the video.

A cache is a folder: ``cache.json`` (how the frames were read), ``index.parquet`` (where each clip is) and
``shards/*.parquet`` (a row per clip: its times, its source frames, its pictures). It holds clips, not videos:
the frames of a clip that begins at 3.3 s are those at 3.3, 3.8, ... s, which the whole video does not have.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from bridge_stg.errors import DataError
from bridge_stg.files.descriptions import read_description
from bridge_stg.types import FrameTimes, SampledVideo, TimeSpan, VideoInfo

CACHE_SCHEMA = "bridge-stg/frames/1"

KEY_FIELDS = [
    ("video", pa.string()),  # relative to the root of the cache
    ("start", pa.float64()),  # null for the whole video
    ("end", pa.float64()),
    ("times_key", pa.string()),
]
ROW_SCHEMA = pa.schema(
    [
        *KEY_FIELDS,
        ("problem", pa.string()),  # why there are no frames
        ("file_size", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.string()),
        ("duration", pa.float64()),
        ("frame_count", pa.int64()),
        ("start_time", pa.float64()),
        ("frame_times", pa.string()),  # as JSON; null at a constant rate
        ("notes", pa.list_(pa.string())),
        ("kept_width", pa.int32()),
        ("kept_height", pa.int32()),
        ("times", pa.list_(pa.float64())),
        ("source_frames", pa.list_(pa.int64())),
        ("images", pa.list_(pa.binary())),
    ]
)
INDEX_SCHEMA = pa.schema([*KEY_FIELDS, ("shard", pa.int32()), ("row", pa.int32())])

ClipKey = tuple[str, float | None, float | None, str]


def clip_key(video: str, span: TimeSpan | None, times: Sequence[float] | None) -> ClipKey:
    """What tells two clips apart; ``times`` are those of a folder of pictures."""
    ends = (None, None) if span is None else (span.start, span.end)
    name = "" if times is None else hashlib.sha256(np.asarray(times, dtype="<f8").tobytes()).hexdigest()[:16]
    return video, *ends, name


def to_row(key: ClipKey, sampled: SampledVideo, file_size: int, quality: int | None) -> dict[str, Any]:
    """A clip as one row of :data:`ROW_SCHEMA`; ``quality`` of JPEG, None for lossless."""
    info = sampled.info
    height, width = sampled.frames.shape[1:3]
    return {
        **dict(zip(("video", "start", "end", "times_key"), key, strict=True)),
        "problem": None,
        "file_size": file_size,
        "width": info.width,
        "height": info.height,
        "fps": str(info.fps),
        "duration": info.duration,
        "frame_count": info.frames,
        "start_time": info.start_time,
        "frame_times": json.dumps(info.frame_times.to_json()) if info.frame_times else None,
        "notes": list(sampled.notes),
        "kept_width": width,
        "kept_height": height,
        "times": sampled.times.tolist(),
        "source_frames": sampled.source_frames.tolist(),
        "images": [_encode(frame, quality) for frame in sampled.frames],
    }


class FrameCache:
    """The clips of a folder written by ``data extract-frames``.

    Only the index is kept in memory; it can be sent to worker processes. ``hits`` and ``misses`` count what was
    asked of this object.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open ``folder``.

        Raises:
            DataError: not a finished cache, or a file of it is missing or cut off.
        """
        self.folder = Path(folder)
        self.hits = self.misses = 0
        about = read_description(
            self.folder / "cache.json",
            CACHE_SCHEMA,
            ("fps", "root", "clips", "jpeg_quality"),
            missing="write or finish its frames with bridge-stg data extract-frames",
            cure="extract the frames again",
        )
        self.fps: float = float(about["fps"])
        self.lossless = about["jpeg_quality"] is None
        self._root = os.path.abspath(self.folder / str(about["root"]))

        try:
            rows = pq.read_table(self.folder / "index.parquet", use_threads=False).to_pydict()
        except (OSError, pa.ArrowException) as problem:
            raise DataError(f"{self.folder}: its index cannot be read; extract the frames again") from problem

        keys = zip(*(rows[name] for name, _ in KEY_FIELDS), strict=True)
        places = zip(rows["shard"], rows["row"], strict=True)
        self._places: dict[ClipKey, tuple[int, int]] = dict(zip(keys, places, strict=True))

        if len(self._places) != about["clips"]:
            raise DataError(
                f"{self.folder}: cache.json promises {about['clips']} clips, the index holds "
                f"{len(self._places)}; extract the frames again"
            )

    def __len__(self) -> int:
        return len(self._places)

    def sample(
        self,
        source: str | Path,
        fps: float = 2.0,
        frame_size: Callable[[int, int], tuple[int, int]] | None = None,
        span: TimeSpan | None = None,
        times: Sequence[float] | None = None,
    ) -> SampledVideo | None:
        """What ``sample_video`` returns for the same arguments, or None when it is not in here.

        Frames, times and source frames are equal; frames of a cache made with ``--jpeg-quality`` are not.

        Raises:
            DataError: the video is not the file that the frames were read from, or a shard cannot be read.
        """
        place = None
        if fps == self.fps:
            name = os.path.relpath(os.path.abspath(source), self._root)
            place = self._places.get(clip_key(name, span, times))
        row = self._row(*place) if place is not None else None
        if row is None or not _has_size(row, frame_size):
            self.misses += 1
            return None
        path = Path(source)

        if path.is_file() and path.stat().st_size != row["file_size"]:
            raise DataError(
                f"{path}: has {path.stat().st_size} bytes, the frames in {self.folder} were read from a file "
                f"of {row['file_size']}; extract the frames again"
            )

        self.hits += 1
        return _sampled(str(path), row, fps)

    def keeps(self, fps: float, frame_size: Callable[[int, int], tuple[int, int]]) -> bool:
        """Whether its frames (the first clip stands for all) are those of a model that reads like this."""
        first = next(iter(self._places.values()), None)
        return fps == self.fps and (first is None or _has_size(self._row(*first), frame_size))

    def _row(self, shard: int, row: int) -> dict[str, Any]:
        path = self.folder / "shards" / f"{shard:05d}.parquet"
        try:
            # Opened anew: forked processes that share an open file would move each other's place in it.
            table = pq.ParquetFile(path, memory_map=True).read_row_group(row, use_threads=False)
        except (OSError, pa.ArrowException) as problem:
            raise DataError(f"{path}: cannot be read ({problem}); extract the frames again") from problem

        found: dict[str, Any] = table.to_pylist()[0]
        return found


def _sampled(source: str, row: dict[str, Any], fps: float) -> SampledVideo:
    info = VideoInfo(
        source,
        row["width"],
        row["height"],
        Fraction(row["fps"]),
        row["duration"],
        row["frame_count"],
        row["start_time"],
        # Older caches do not have this column.
        FrameTimes.from_json(json.loads(row["frame_times"])) if row.get("frame_times") else None,
    )
    frames = np.empty((len(row["images"]), row["kept_height"], row["kept_width"], 3), dtype=np.uint8)
    for number, content in enumerate(row["images"]):
        with Image.open(io.BytesIO(content)) as image:
            frames[number] = np.asarray(image.convert("RGB"))

    return SampledVideo(
        info=info,
        frames=frames,
        times=np.array(row["times"], dtype=np.float64),
        source_frames=np.array(row["source_frames"], dtype=np.int64),
        sampled_fps=float(fps),
        notes=tuple(row["notes"]),
    )


def _has_size(row: dict[str, Any], frame_size: Callable[[int, int], tuple[int, int]] | None) -> bool:
    """Whether the frames were kept at the size that is asked for."""
    source = (row["width"], row["height"])
    wanted = source if frame_size is None else frame_size(*source)
    return bool(wanted == (row["kept_width"], row["kept_height"]))


def _encode(frame: NDArray[np.uint8], quality: int | None) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(frame)
    if quality is None:
        # Lossless WebP in its fastest way: smaller than PNG, and encoded in half the time.
        image.save(out, "WEBP", lossless=True, quality=0, method=0)
    else:
        image.save(out, "JPEG", quality=quality, subsampling=0)

    return out.getvalue()
