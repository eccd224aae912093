"""Draw a grounded sentence: on one frame, on a whole video, or as a strip of frames for a page.

Every size follows from the frame: the same code is readable at 320x240 and at 1080p.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError
from bridge_stg.geometry.clock import clock_of, shown_for
from bridge_stg.geometry.spans import boxes_at, sampled_in_span
from bridge_stg.inference.lettering import BLACK, WHITE, darken, line_height, paste, text_tile, wrap
from bridge_stg.inference.time_bar import ACCENT, draw_time_bar
from bridge_stg.inference.tubes import part_of
from bridge_stg.types import GroundingResult, SampledVideo, TimeSpan
from bridge_stg.video.decode import VideoFile, open_source
from bridge_stg.video.resize import resize_frame
from bridge_stg.video.watched import WatchedFrames
from bridge_stg.video.write import VideoWriter


def draw_frame(
    frame: NDArray[np.uint8],
    box: Sequence[float] | NDArray[np.float64] | None,
    score: float | None,
    query: str,
    windows: Sequence[TimeSpan],
    time: float,
    duration: float,
) -> NDArray[np.uint8]:
    """A copy of ``frame`` with the box, the sentence above and a time bar below.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: xyxy pixels of this frame, clipped to it; None draws none.
        score: written at the box, in [0, 1].
        query: wrapped to at most two lines, then cut with an ellipsis.
        windows: the parts of the time bar to colour, seconds.
        time: where the playhead stands, seconds.
        duration: length of the time bar, seconds.

    Returns:
        (H, W, 3) uint8. Text is left out where the frame is too low for it (under 5 lines of text).
    """
    canvas = np.ascontiguousarray(frame).copy()
    height, width = canvas.shape[:2]
    font = _font_size(height, width)
    text = height >= 5 * font
    top = _header_height(query, width, font) if text else 0
    bottom = height - min(round(1.6 * font), max(height // 4, 2))
    if box is not None:
        _draw_box(canvas, box)
    header, footer = canvas[:top], canvas[bottom:]
    darken(header)
    darken(footer)
    if text:
        _draw_header(header, query, font)
    if text and box is not None and score is not None:
        _draw_score(canvas[top:bottom], score, box[0], box[1] - top, font)
    draw_time_bar(footer, windows, (time,), duration, font)
    return canvas


def write_annotated(
    result: GroundingResult,
    source: str | Path,
    out: str | Path,
    times: Sequence[float] | None = None,
    on_frame: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Path:
    """Write the source as an mp4 with the result drawn on it, one frame in memory at a time.

    Frame rate, frame times and size are those of the source (:class:`VideoWriter` pads an odd size by one
    pixel). The box is drawn inside the window only, linear between the boxes of the tube. A window so short
    that no frame appears in it is drawn on the frame nearest to its middle.

    Args:
        source: what the result was computed on; ``times`` as in :func:`sample_video`.
        out: path of the mp4, written atomically.
        on_frame: told (frames done, frames in all) after each frame.
        on_note: told what of the source is missing or may be wrong in the video; sampling may not have met it.

    Raises:
        VideoError: the source cannot be read.
        InputError: ``out`` cannot be written, or is the source itself.
    """
    out = Path(out)
    video = open_source(source, times)
    if out.exists() and out.samefile(source):
        raise InputError(f"{out}: is the source video itself; give another name")
    info = video.info
    boxes = _boxes_by_frame(result, video.times, clock_of(info).shown(np.arange(info.frames)))
    shown_until = np.append(video.times[1:], max(info.duration, float(video.times[-1]) + 1e-3))
    caption, windows = caption_of(result), windows_of(result)
    frames = WatchedFrames(video, range(len(video.times)))
    constant = info.frame_times is None
    aspect = video.pixel_aspect if isinstance(video, VideoFile) else Fraction(1)
    longest = 0.0 if constant else float((shown_until - video.times).max())
    with VideoWriter(out, info.width, info.height, info.fps, longest, pixel_aspect=aspect) as writer:
        for number, pixels in frames:
            time = float(video.times[number])
            box, score = boxes.get(number, (None, None))
            drawn = draw_frame(pixels, box, score, caption, windows, time, info.duration)
            if constant:
                # Undo the container's rounding of times (1 ms in Matroska), so that the rate stays exact.
                writer.write(drawn, float(number / info.fps))
            else:
                writer.write(drawn, time, float(shown_until[number]) - time)
            if on_frame is not None:
                on_frame(number + 1, len(video.times))

    for note in frames.notes("frames"):
        if on_note is not None:
            on_note(note)
    return out


def film_strip(result: GroundingResult, sampled: SampledVideo, count: int = 6) -> NDArray[np.uint8]:
    """A row of ``count`` evenly spaced frames under the sentence, over a time bar that marks them.

    Args:
        sampled: frames of the result's video, of any size; boxes are scaled to them.

    Returns:
        (H, W, 3) uint8, about 180 pixels per frame high.
    """
    picks = np.unique(np.linspace(0, len(sampled) - 1, min(count, len(sampled))).round().astype(int))
    height, width = sampled.frames.shape[1:3]
    scale = min(180 / height, 640 / width)
    tile_width, tile_height = max(round(width * scale), 1), max(round(height * scale), 1)

    boxes = _boxes_by_frame(result, sampled.times, shown_for(sampled))
    to_tile = np.array([tile_width / sampled.info.width, tile_height / sampled.info.height] * 2)
    font, gap, dark = 18, 6, 24

    # The tiles, side by side.
    tiles = []
    for pick in picks.tolist():
        tile = resize_frame(sampled.frames[pick], tile_width, tile_height).copy()
        if pick in boxes:
            box, score = boxes[pick]
            left, top, *_ = corners = box * to_tile
            _draw_box(tile, corners)
            if tile_height >= 5 * (font - 4):
                _draw_score(tile, score, left, top, font - 4)
        label = text_tile(f"{sampled.times[pick]:.1f} s", font - 4, WHITE)
        if tile_height >= 3 * font:
            darken(tile[-label.shape[0] - 6 :, : label.shape[1] + 8])
            paste(tile, label, 4, tile_height - label.shape[0] - 3)
        tiles.append(np.pad(tile, ((0, 0), (gap, 0), (0, 0)), constant_values=dark))

    row = np.pad(np.concatenate(tiles, axis=1), ((0, 0), (0, gap), (0, 0)), constant_values=dark)

    # The sentence above and the time bar below.
    caption = caption_of(result)
    header = np.full((_header_height(caption, row.shape[1], font), row.shape[1], 3), dark, np.uint8)
    _draw_header(header, caption, font)
    footer = np.full((2 * font, row.shape[1], 3), dark, np.uint8)
    marks = [float(sampled.times[pick]) for pick in picks]
    draw_time_bar(footer, windows_of(result), marks, sampled.info.duration, font)
    return np.concatenate([header, row, footer], axis=0)


def windows_of(result: GroundingResult) -> list[TimeSpan]:
    """All windows of a result, the best one first."""
    if result.windows:
        return [one.span for one in result.windows]
    return [] if result.window is None else [result.window]


def caption_of(result: GroundingResult) -> str:
    """The sentence, and before it that nothing was found."""
    if result.status == "ok":
        return result.query
    return ("does not happen: " if result.status == "absent" else "nothing found: ") + result.query


def _boxes_by_frame(
    result: GroundingResult, times: NDArray[np.float64], shown: NDArray[np.float64]
) -> dict[int, tuple[NDArray[np.float64], float]]:
    """Box (source pixels) and score of each frame that appears inside the window."""
    tube = result.tube
    if tube is None or len(tube) == 0:
        return {}
    found: dict[int, tuple[NDArray[np.float64], float]] = {}
    for window in windows_of(result):
        # Boxes of another window are of another moment: nothing is drawn between the two.
        part = part_of(tube, window)
        inside = sampled_in_span(times, window, shown)
        boxes = boxes_at(part.times, part.boxes, times[inside])
        scores = np.interp(times[inside], part.times, part.scores)
        found |= {int(n): (box, float(score)) for n, box, score in zip(inside, boxes, scores, strict=True)}
    return found


def _font_size(height: int, width: int) -> int:
    return int(np.clip(round(0.036 * min(height, width)), 12, 96))


def _draw_box(canvas: NDArray[np.uint8], box: Sequence[float] | NDArray[np.float64]) -> None:
    height, width = canvas.shape[:2]
    corners = np.clip(np.asarray(box, dtype=np.float64), 0, [width - 1, height - 1] * 2)
    left, top, right, bottom = corners.round().astype(int).tolist()

    # Lines lie on the corners: half of their thickness outside of the box, half inside.
    thickness = _thickness(height, width)
    outside = thickness // 2
    columns = slice(max(left - outside, 0), right - outside + thickness)
    rows = slice(max(top - outside, 0), bottom - outside + thickness)
    for y in (top, bottom):
        canvas[max(y - outside, 0) : y - outside + thickness, columns] = ACCENT
    for x in (left, right):
        canvas[rows, max(x - outside, 0) : x - outside + thickness] = ACCENT


def _thickness(height: int, width: int) -> int:
    return max(2, round(min(height, width) / 200)) if min(height, width) >= 48 else 1


def _draw_score(picture: NDArray[np.uint8], score: float, left: float, top: float, font: int) -> None:
    """On top of a box's corner, or below it where there is no room; always inside of the picture."""
    # The library's own labels take half a second per frame without OpenCV, so the score is a cached tile.
    label = text_tile(f"{score:.2f}", font, BLACK, ACCENT)
    height, width = picture.shape[:2]
    x, y = round(left), round(top) - label.shape[0]
    last_x, last_y = width - label.shape[1], height - label.shape[0]
    paste(picture, label, max(min(x, last_x), 0), max(min(y if y >= 0 else round(top), last_y), 0))


def _header_height(query: str, width: int, font: int) -> int:
    return len(wrap(query, font, width - font)) * line_height(font) + font // 2


def _draw_header(canvas: NDArray[np.uint8], query: str, font: int) -> None:
    for number, line in enumerate(wrap(query, font, canvas.shape[1] - font)):
        paste(canvas, text_tile(line, font, WHITE), font // 2, font // 4 + number * line_height(font))
