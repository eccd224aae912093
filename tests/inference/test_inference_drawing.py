"""What is drawn: where the box is, when it is there, and that text fits."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from support.video_files import write_file

from bridge_stg.errors import InputError
from bridge_stg.inference.drawing import draw_frame, film_strip, write_annotated
from bridge_stg.inference.lettering import load_font, wrap
from bridge_stg.inference.time_bar import ACCENT
from bridge_stg.types import GroundingResult, TimeSpan, Tube
from bridge_stg.video.decode import open_source, probe
from bridge_stg.video.sampling import sample_video


def grounding(
    path, window=TimeSpan(1.0, 2.0), times=(1.0, 1.5), boxes=((20, 60, 60, 100), (120, 60, 160, 100))
):
    info = probe(path)
    tube = Tube(
        np.array(times, float), np.array([round(t * float(info.fps)) for t in times]),
        np.array(boxes, float), np.full(len(times), 0.9),
    )  # fmt: skip
    return GroundingResult(
        str(path), "the red circle that moves left", "ok", "answer", info, 2.0, "shapes", window, tube
    )


def box_extent(frame, height, width):
    """x1, y1, x2, y2 of the accent-coloured pixels between the header and the time bar; None without any."""
    body = frame[int(height * 0.2) : int(height * 0.85), :width].astype(int)
    # The sources are grey, so whatever is far more red than blue was drawn.
    rows, columns = np.nonzero(body[..., 0] - body[..., 2] > 100)
    if len(rows) == 0:
        return None
    return columns.min(), rows.min() + int(height * 0.2), columns.max(), rows.max() + int(height * 0.2)


@pytest.mark.parametrize(
    ("name", "rate"),
    [("a.mp4", Fraction(30)), ("a.mkv", Fraction(30000, 1001)), ("a.mp4", Fraction(24000, 1001))],
    ids=str,
)
def test_annotated_video_keeps_rate_size_times_and_draws_inside_the_window_only(tmp_path, name, rate):
    count = 90
    path = write_file(
        tmp_path / name, stamps=range(count), rate=rate, time_base=1 / rate, size=(240, 160), b_frames=2
    )
    result = grounding(path)
    done = []
    out = write_annotated(result, path, tmp_path / "out.mp4", on_frame=lambda n, of: done.append((n, of)))
    info = probe(out)
    assert (info.fps, info.width, info.height, info.frames) == (rate, 240, 160, count)
    assert done[-1] == (count, count)
    written = open_source(out)
    np.testing.assert_allclose(written.times, np.arange(count) / float(rate), atol=1e-6)
    for number, frame in written.read(range(count)):
        time = number / float(rate)
        extent = box_extent(frame, 160, 240)
        if not 1.0 <= time < 2.0:
            assert extent is None, f"a box outside the window, at {time:.3f} s"
            continue
        assert extent is not None, f"no box inside the window, at {time:.3f} s"
        # Linear from x1 = 20 at 1.0 s to 120 at 1.5 s, then held.
        left = 20 + 100 * min((time - 1.0) / 0.5, 1.0)
        assert extent[0] == pytest.approx(left, abs=3)
        assert extent[2] == pytest.approx(left + 40, abs=3)
        assert extent[3] == pytest.approx(100, abs=3)


def test_variable_frame_times_are_kept(tmp_path):
    stamps = [0, 40, 80, 480, 520, 1220, 1920, 2620, 2640, 2660, 3000]
    path = write_file(
        tmp_path / "v.mkv", stamps=stamps, time_base=Fraction(1, 1000), rate=Fraction(25), size=(240, 160)
    )
    out = write_annotated(grounding(path), path, tmp_path / "out.mp4")
    np.testing.assert_allclose(open_source(out).times, np.array(stamps) / 1000, atol=2e-5)
    assert probe(out).duration == pytest.approx(probe(path).duration, abs=1e-3)
    with_box = [n for n, frame in open_source(out).read(range(11)) if box_extent(frame, 160, 240) is not None]
    assert with_box == [5, 6]


def test_rotated_and_odd_sources(tmp_path):
    path = write_file(tmp_path / "r.mp4", stamps=range(60), size=(96, 160), turn=90)
    out = write_annotated(grounding(path), path, tmp_path / "out.mp4")
    assert (probe(out).width, probe(out).height) == (96, 160)
    path = write_file(tmp_path / "o.mkv", stamps=range(60), size=(161, 99), pixel_format="yuv444p")
    out = write_annotated(grounding(path), path, tmp_path / "out2.mp4")
    assert (probe(out).width, probe(out).height) == (162, 100)


def test_a_window_between_two_frames_still_shows_its_box(tmp_path):
    path = write_file(
        tmp_path / "s.mp4", stamps=range(6), rate=Fraction(2), time_base=Fraction(1, 2), size=(240, 160)
    )
    out = write_annotated(grounding(path, window=TimeSpan(1.1, 1.2)), path, tmp_path / "out.mp4")
    with_box = [n for n, frame in open_source(out).read(range(6)) if box_extent(frame, 160, 240) is not None]
    assert with_box == [2]


def test_no_window_draws_no_box(tmp_path):
    path = write_file(tmp_path / "n.mp4", stamps=range(30), size=(240, 160))
    result = GroundingResult(str(path), "a query", "no_window", "hm", probe(path), 2.0, "shapes")
    out = write_annotated(result, path, tmp_path / "out.mp4")
    assert all(box_extent(frame, 160, 240) is None for _, frame in open_source(out).read(range(30)))


def test_damage_that_sampling_does_not_meet_is_noted(tmp_path):
    """Frame 5 is broken; sampled are 0 and 15, drawn are all."""
    path = write_file(tmp_path / "d.mkv", "ffv1", stamps=range(20), gop=1)
    with av.open(str(path)) as container:
        payload = bytes([packet for packet in container.demux(video=0) if packet.size][5])
    path.write_bytes(path.read_bytes().replace(payload, b"\xff" * len(payload)))
    sampled = sample_video(path)
    assert sampled.notes == ()

    met = []
    result = GroundingResult(str(path), "a query", "no_window", "hm", probe(path), 2.0, "shapes")
    write_annotated(result, path, tmp_path / "out.mp4", on_note=met.append)
    assert met == ["1 of 20 frames are damaged and were left out"]
    assert result.with_notes(met + met).notes == tuple(met)


def test_the_source_is_never_overwritten(tmp_path):
    path = write_file(tmp_path / "n.mp4")
    before = path.read_bytes()
    with pytest.raises(InputError, match="source video"):
        write_annotated(grounding(path), path, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [(320, 240), (1920, 1080), (1600, 16), (16, 1600), (8, 8), (2, 2), (1, 1)])
@pytest.mark.parametrize(
    "box", [None, (5.2, 4.1, 200.7, 130.0), (-50.0, -50.0, 9999.0, 9999.0), (3.0, 3.0, 3.0, 3.0)]
)
def test_any_frame_size(size, box):
    frame = np.full((size[1], size[0], 3), 128, np.uint8)
    drawn = draw_frame(frame, box, 0.5, "the red circle " * 40, [TimeSpan(1.0, 2.0)], 1.5, 3.0)
    assert drawn.shape == frame.shape
    assert drawn.dtype == np.uint8
    assert (frame == 128).all(), "the frame given must not change"
    assert (drawn != 128).any()


@pytest.mark.parametrize("top", [0.0, 20.0, 60.0, 150.0, 230.0])
def test_the_score_is_not_covered_by_the_sentence(top):
    """The same tile, in full brightness, wherever the box begins."""
    frame = np.full((240, 320, 3), 128, np.uint8)
    box = (100.0, top, 160.0, 239.0)
    with_score, without = (
        draw_frame(frame, box, score, "the red circle", [], 0.0, 3.0).astype(int) for score in (0.9, None)
    )
    rows, columns = np.nonzero((with_score != without).any(axis=-1))
    tile = with_score[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (tile == ACCENT).all(axis=-1).mean() > 0.3
    assert (rows.max() - rows.min(), columns.max() - columns.min()) > (8, 15)


def test_time_bar_shows_the_window_and_the_playhead():
    frame = np.zeros((240, 320, 3), np.uint8)
    bars = [
        draw_frame(frame, None, None, "q", [TimeSpan(2.0, 4.0)], time, 10.0)[222:] for time in (0.0, 5.0, 9.9)
    ]
    accent = [(np.abs(bar.astype(int) - ACCENT).max(axis=2) < 20).any(axis=0) for bar in bars]
    columns = np.flatnonzero(accent[0])
    # The track is what the first and last playheads span.
    heads = [np.flatnonzero((bar[2] == 255).all(axis=1)) for bar in bars]
    track_left, track_right = heads[0].min(), heads[2].max() / 0.99
    length = track_right - track_left
    assert (columns.min() - track_left) / length == pytest.approx(0.2, abs=0.02)
    assert (columns.max() - track_left) / length == pytest.approx(0.4, abs=0.02)
    assert (heads[1].mean() - track_left) / length == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("width", [40, 120, 310])
@pytest.mark.parametrize(
    "text", ["", "a", "the red circle that moves left", "w" * 500, "word " * 2000, "the <det> thing\nand  more"]
)
def test_query_text_fits_its_lines(text, width):
    lines = wrap(text, 12, width)
    assert len(lines) <= 2
    assert all(load_font(12).getlength(line) <= width for line in lines)
    if len(text) < 10:
        assert "".join(lines) == text
    if len(text) >= 500:
        assert lines[-1].endswith("...")


def test_film_strip(tmp_path):
    path = write_file(tmp_path / "f.mp4", stamps=range(90), size=(240, 160))
    sampled = sample_video(path, frame_size=lambda w, h: (w // 2, h // 2))
    strip = film_strip(grounding(path), sampled, count=6)
    assert strip.dtype == np.uint8
    # Six tiles of 270x180 with a gap of 6 on every side of each.
    assert strip.shape[1] == 6 * 270 + 7 * 6
    near = (np.abs(strip[40:220].astype(int) - ACCENT).max(axis=2) < 20).any(axis=0)
    tiles_with_box = [near[6 + n * 276 : 276 + n * 276].any() for n in range(6)]
    assert tiles_with_box == [False, False, True, True, False, False]
    assert film_strip(grounding(path), sampled, count=1).shape[1] == 270 + 12
