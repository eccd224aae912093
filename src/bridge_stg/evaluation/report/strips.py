"""One query as a picture: frames with the boxes of truth and predictions, over one time bar per window.

The picture is drawn for a page: dark, about 740 pixels wide, large letters, so that it can still be read when a
phone shrinks it to half its size.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bridge_stg.errors import VideoError
from bridge_stg.inference.lettering import Color, load_font
from bridge_stg.inference.time_bar import TimeScale
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan
from bridge_stg.video.decode import open_source

DARK: Color = (24, 26, 30)
TRACK: Color = (70, 74, 82)
TEXT: Color = (240, 240, 240)
# Of true windows and boxes, on every page.
TRUTH_COLOR: Color = (0, 190, 130)

TILES = 6
TILE_WIDTH, TILE_HEIGHT = 240, 200
STRIP_WIDTH = 740
GAP, FONT, SMALL = 5, 23, 19
LABEL, LANE = 28, 34
MAX_NAME = 20


@dataclass(frozen=True)
class Lane:
    """Truth or a prediction as it is drawn: its own colour, its own time bar.

    ``boxes`` maps source frames to xyxy source pixels; only picked frames are looked up. ``weight`` is the
    width of its box lines; lines of width 1 have no dark rim, for boxes that should stay in the background.
    """

    name: str
    color: Color
    window: TimeSpan | None
    boxes: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    weight: int = 3

    @property
    def said(self) -> str:
        """The window in words."""
        return f"{self.window.start:.1f}-{self.window.end:.1f} s" if self.window else "no window"


def pick_frames(record: TruthRecord, windows: Sequence[TimeSpan | None], count: int = TILES) -> list[int]:
    """The source frames to show: the middle and the ends of every window first, then even steps of the clip.

    Args:
        record: whose clip the frames come from.
        windows: the true window first, then the predicted ones in the order of interest.

    Returns:
        At most ``count`` increasing frames, apart from each other by a twelfth of what the windows span.
    """
    clip = record.clock.span(*record.clip)
    known = [
        TimeSpan(max(one.start, clip.start), min(one.end, clip.end))
        for one in windows
        if one is not None and one.start < clip.end and one.end > clip.start
    ]

    wanted = [one.start + part * one.length for part in (0.5, 0.08, 0.92) for one in known]
    wanted += [clip.start + part * clip.length for part in (0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6)]
    hull = max((one.end for one in known), default=clip.end) - min(
        (one.start for one in known), default=clip.start
    )

    # What is wanted most comes first; frames close to one that is there are left out.
    apart = max(hull * record.fps / 12, 1.0)
    picked: list[int] = []
    for time in wanted:
        frame = min(max(int(record.clock.nearest(time)), record.clip[0]), record.clip[1] - 1)
        if len(picked) < count and all(abs(frame - other) >= apart for other in picked):
            picked.append(frame)
    return sorted(picked)


def read_frames(video: Path, frames: Sequence[int], record: TruthRecord) -> dict[int, NDArray[np.uint8]]:
    """Source frame -> (H, W, 3) uint8 of the frames that could be read.

    A folder of pictures gets its times from the rate that the record states.

    Raises:
        VideoError: the video cannot be read, or it holds none of the frames.
    """
    times = record.clock.times.tolist() if record.media == "frames" else None
    source = open_source(video, times)
    inside = [frame for frame in frames if frame < len(source.times)]
    found = dict(source.read(inside)) if inside else {}
    if not found:
        raise VideoError(f"{video}: holds none of the frames {list(frames)}; is it the video of this truth?")
    return found


def draw_strip(record: TruthRecord, pictures: dict[int, NDArray[np.uint8]], lanes: Sequence[Lane]) -> bytes:
    """The frames in rows, numbered, over one time bar per lane; JPEG bytes, the same for the same input.

    Args:
        record: gives the clip, the rate, and the size that boxes are measured in.
        pictures: source frame -> (H, W, 3) uint8 of any size.
        lanes: the truth first; of the others the first is drawn on top.
    """
    frames = sorted(pictures)
    tiles = [_tile(record, frame, pictures[frame], lanes, number + 1) for number, frame in enumerate(frames)]

    # As many tiles side by side as fit, the bars below them.
    columns = max(min((STRIP_WIDTH - GAP) // (tiles[0].width + GAP), len(tiles)), 1)
    rows = -(-len(tiles) // columns)
    bar = _time_bars(record, frames, lanes)
    height = GAP + rows * (tiles[0].height + GAP) + bar.height
    strip = Image.new("RGB", (STRIP_WIDTH, height), DARK)
    left = (STRIP_WIDTH - columns * (tiles[0].width + GAP) + GAP) // 2
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        strip.paste(tile, (left + column * (tile.width + GAP), GAP + row * (tile.height + GAP)))

    strip.paste(bar, (0, height - bar.height))
    out = io.BytesIO()
    strip.save(out, "JPEG", quality=88, subsampling=0)
    return out.getvalue()


def _tile(
    record: TruthRecord, frame: int, pixels: NDArray[np.uint8], lanes: Sequence[Lane], number: int
) -> Image.Image:
    """One frame with its boxes; a coloured dot for every lane whose window holds the frame."""
    height, width = pixels.shape[:2]
    scale = min(TILE_WIDTH / width, TILE_HEIGHT / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)

    to_tile = np.array([size[0] / record.width, size[1] / record.height] * 2)
    time = record.clock.time(frame)

    # The truth, which is the first lane, is drawn broad and under all others, the last lane under them.
    for lane in (lanes[0], *reversed(lanes[1:])):
        if (box := lane.boxes.get(frame)) is not None:
            _box(draw, np.asarray(box) * to_tile, size, lane)

    # Beside the picture and not on it: objects at the lower edge must stay visible.
    tile = Image.new("RGB", (size[0], size[1] + LABEL), DARK)
    tile.paste(picture, (0, 0))
    draw = ImageDraw.Draw(tile)
    label = f"{number}   {time:.1f} s"
    draw.text((4, size[1] + 20), label, fill=TEXT, font=load_font(SMALL), anchor="ls")

    inside = [lane for lane in lanes if lane.window and lane.window.start <= time < lane.window.end]
    for place, lane in enumerate(reversed(inside), start=1):
        x = size[0] - 19 * place
        draw.ellipse((x, size[1] + 6, x + 14, size[1] + 20), fill=lane.color)
    return tile


def _box(draw: ImageDraw.ImageDraw, box: NDArray[np.float64], size: tuple[int, int], lane: Lane) -> None:
    limit = np.array([size[0] - 1, size[1] - 1] * 2)
    x1, y1, x2, y2 = (round(float(value)) for value in np.clip(box, 0, limit))
    if lane.weight > 1:  # a dark rim keeps any colour visible on any picture
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0), width=lane.weight + 2)
    draw.rectangle((x1, y1, x2, y2), outline=lane.color, width=lane.weight)


def _time_bars(record: TruthRecord, frames: Sequence[int], lanes: Sequence[Lane]) -> Image.Image:
    """The legend and the windows: one row per lane, and the numbers of the shown frames above them."""
    clip = record.clock.span(*record.clip)
    names = [lane.name if len(lane.name) <= MAX_NAME else lane.name[: MAX_NAME - 1] + "..." for lane in lanes]
    left = 38 + max(int(load_font(FONT).getlength(name)) for name in names) + 14
    said = [lane.said for lane in lanes]
    right = STRIP_WIDTH - 22 - max(int(load_font(FONT).getlength(text)) for text in said)
    canvas = Image.new("RGB", (STRIP_WIDTH, 30 + LANE * len(lanes) + 30), DARK)
    draw = ImageDraw.Draw(canvas)
    scale = TimeScale(left, right, clip.start, clip.end)
    bottom = 30 + LANE * len(lanes)

    # The numbers of the shown frames, and a line down from each.
    taken = -100
    for number, frame in enumerate(frames, start=1):
        x = scale.column(record.clock.time(frame))
        draw.line((x, 28, x, bottom), fill=(150, 154, 162), width=1)
        # Frames side by side would print their numbers over each other; then only the first of them does.
        if x - taken >= 16:
            draw.text((x, 24), str(number), fill=TEXT, font=load_font(SMALL), anchor="ms")
            taken = x

    # One row for each lane: its colour, its name, its window on the track and in seconds.
    for row, (lane, name, text) in enumerate(zip(lanes, names, said, strict=True)):
        middle = 30 + LANE * row + LANE // 2
        draw.rectangle((12, middle - 8, 28, middle + 8), fill=lane.color)
        draw.text((38, middle), name, fill=TEXT, font=load_font(FONT), anchor="lm")
        draw.rectangle((left, middle - 2, right, middle + 2), fill=TRACK)
        if lane.window is not None:
            first, last = scale.columns(lane.window, least=2)
            draw.rectangle((first, middle - 10, last, middle + 10), fill=lane.color)
        draw.text((STRIP_WIDTH - 12, middle), text, fill=TEXT, font=load_font(FONT), anchor="rm")

    draw.text((left, bottom + 20), f"{clip.start:.1f} s", fill=TEXT, font=load_font(SMALL), anchor="ls")
    draw.text((right, bottom + 20), f"{clip.end:.1f} s", fill=TEXT, font=load_font(SMALL), anchor="rs")
    return canvas
