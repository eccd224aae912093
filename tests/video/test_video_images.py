"""Folders of images with times, and single images, read as videos."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from support.video_files import numbered_frame, numbers, write_file

from bridge_stg.errors import InputError, VideoError
from bridge_stg.inference.drawing import write_annotated
from bridge_stg.types import GroundingResult
from bridge_stg.video.decode import open_source, probe
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.write import VideoWriter


class TestImages:
    def folder(self, tmp_path, count=12, step=0.25):
        for number in range(count):
            Image.fromarray(numbered_frame(number)).save(tmp_path / f"frame_{number}.png")
        return [number * step for number in range(count)]

    def test_folder_with_given_times(self, tmp_path):
        times = self.folder(tmp_path)
        sampled = sample_video(tmp_path, times=times)
        # Natural order: frame_2 before frame_10.
        assert numbers(sampled) == [0, 2, 4, 6, 8, 10] == sampled.source_frames.tolist()
        assert sampled.times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
        assert sampled.info.fps == 4
        assert sampled.info.duration == pytest.approx(3.0)

    def test_folder_with_uneven_times_in_a_file(self, tmp_path):
        self.folder(tmp_path, 4)
        (tmp_path / "times.txt").write_text("10.0\n10.1\n11.0\n12.0\n")
        sampled = sample_video(tmp_path, fps=1.0)
        assert sampled.info.start_time == 10.0
        assert sampled.info.fps == Fraction(3, 2)
        assert sampled.times.tolist() == pytest.approx([0.0, 1.0, 2.0])
        assert numbers(sampled) == [0, 2, 3]

    @pytest.mark.parametrize(("text_rate", "digits"), [("30", 3), ("24", 4), ("25", 2), ("73/10", 9)])
    def test_even_times_give_the_exact_rate(self, tmp_path, text_rate, digits):
        self.folder(tmp_path, 40)
        times = [round(float(n / Fraction(text_rate)), digits) for n in range(40)]
        assert probe(tmp_path, times=times).fps == Fraction(text_rate)

    @pytest.mark.parametrize(
        ("times", "rate"),
        [
            ([number / 7.3 for number in range(5)], Fraction(73, 10)),
            ([0.123456789123, 1.987654321987, 2.1], None),
            ([0.0, 100_000.0], Fraction(1, 100_000)),
            ([0.0, 0.001, 0.002], Fraction(1000)),
            ([0.0, 1.0, 30_000.0], Fraction(1, 15_000)),
            ([0.0, 1.0, 2.0, 40_000.0], None),
            ([0.0, 2600.001231, 7203.912345], None),
            ([0.0, 5000.123457], None),
        ],
        ids=[
            "16 digits",
            "uneven",
            "a day between",
            "a millisecond between",
            "a long wait",
            "a long wait at the end",
            "hours with digits",
            "one step with digits",
        ],
    )
    def test_any_times_can_be_written_as_an_mp4(self, tmp_path, times, rate):
        """The rate that a person's times make must fit into the container's 32 bits."""
        self.folder(tmp_path, len(times))
        source = open_source(tmp_path, times)
        assert rate is None or source.info.fps == rate
        assert source.info.fps == pytest.approx((len(times) - 1) / (times[-1] - times[0]), rel=1e-6)
        result = GroundingResult(str(tmp_path), "x", "no_window", "", source.info, 2.0, "")
        write_annotated(result, tmp_path, tmp_path / "w.mp4", times)
        np.testing.assert_allclose(open_source(tmp_path / "w.mp4").times, source.times, atol=6e-5)

    @pytest.mark.parametrize(("fps", "longest"), [(Fraction(2**31), 0.0), (Fraction(1), 2.0**31)])
    def test_what_no_mp4_has_room_for_is_refused(self, tmp_path, fps, longest):
        with pytest.raises(InputError, match="room") as caught:
            VideoWriter(tmp_path / "w.mp4", 64, 48, fps, longest)
        assert "\n" not in str(caught.value)

    def test_single_image(self, tmp_path):
        path = tmp_path / "one.jpg"
        Image.fromarray(numbered_frame(5)).save(path, quality=95)
        sampled = sample_video(path)
        assert (sampled.info.fps, sampled.info.duration, sampled.info.frames) == (1, 1.0, 1)
        assert sampled.times.tolist() == [0.0]
        assert numbers(sampled) == [5]

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            (None, r"times\.txt"),
            ([0.0, 1.0], "3 images .*3 times.* 2"),
            ([0.0, 1.0, 1.0], "increase"),
            ([0.0, float("nan"), 1.0], "finite"),
        ],
    )
    def test_bad_times(self, tmp_path, times, message):
        self.folder(tmp_path, 3)
        with pytest.raises(VideoError, match=message):
            sample_video(tmp_path, times=times)

    def test_images_of_two_sizes(self, tmp_path):
        times = self.folder(tmp_path, 3, 1.0)
        Image.fromarray(numbered_frame(2, 32, 32)).save(tmp_path / "frame_2.png")
        with pytest.raises(VideoError, match=r"frame_2\.png: .*32x32 .*64x48"):
            sample_video(tmp_path, times=times)

    def test_broadcast_rates_in_few_digits_are_a_hair_off(self, tmp_path):
        self.folder(tmp_path, 40)
        times = [round(float(n * Fraction(1001, 30000)), 4) for n in range(40)]
        assert probe(tmp_path, times=times).fps == pytest.approx(30000 / 1001, rel=1e-4)

    def test_files_that_are_no_pictures_are_left_out(self, tmp_path):
        self.folder(tmp_path, 3)
        (tmp_path / "._frame_0.png").write_bytes(b"what a Mac keeps beside a file")
        (tmp_path / "times.txt").write_text("\ufeff0.0\n0.5\n1.0\n", encoding="utf-8")
        assert numbers(sample_video(tmp_path)) == [0, 1, 2]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([[0, 32768, 65535]], np.uint16), [0, 128, 255]),
            (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        ],
        ids=["16 bits", "floats"],
    )
    def test_grey_of_many_bits(self, tmp_path, values, expected):
        path = tmp_path / "grey.tif"
        Image.fromarray(values).save(path)
        (frame,) = sample_video(path).frames
        assert frame[0].tolist() == [[grey] * 3 for grey in expected]

    def test_floats_that_are_no_picture_are_refused(self, tmp_path):
        Image.fromarray(np.array([[0.0, 300.0]], np.float32)).save(tmp_path / "depth.tif")
        with pytest.raises(VideoError, match="white"):
            sample_video(tmp_path / "depth.tif")

    def test_a_huge_picture_is_named_as_such(self, tmp_path, monkeypatch):
        Image.fromarray(numbered_frame(0)).save(tmp_path / "huge.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(VideoError, match="2,000"):
            sample_video(tmp_path / "huge.png")

    def test_times_for_a_video_file(self, tmp_path):
        with pytest.raises(VideoError, match="folder"):
            sample_video(write_file(tmp_path / "a.mp4"), times=[0.0])
