"""Files that are not videos, or only in part."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from support.video_files import number_in, write_file

from bridge_stg.errors import VideoError
from bridge_stg.types import TimeSpan
from bridge_stg.video.decode import probe
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.transport_streams import codecs_in_turn


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_file(tmp_path):
    with pytest.raises(VideoError) as error:
        probe(tmp_path / "nothing.mp4")
    assert "nothing.mp4: no such file" in one_line(error)


def test_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(VideoError) as error:
        probe(tmp_path)
    assert "no images" in one_line(error)


def test_empty_file(tmp_path):
    (tmp_path / "e.mp4").touch()
    with pytest.raises(VideoError) as error:
        probe(tmp_path / "e.mp4")
    assert "is empty" in one_line(error)


@pytest.mark.parametrize("name", ["t.mp4", "t.mkv", "t.txt", "t.gif", "t.webm"])
@pytest.mark.parametrize(
    "text", ["This is no video.\n" * 200, "x", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"]
)
def test_text_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(VideoError) as error:
        probe(tmp_path / name)
    assert "give an mp4" in one_line(error) or "no video" in one_line(error)


def test_image_file_that_is_text(tmp_path):
    (tmp_path / "t.png").write_text("no image")
    with pytest.raises(VideoError) as error:
        probe(tmp_path / "t.png")
    assert "not an image" in one_line(error)


@pytest.mark.parametrize("name", ["a.mp4", "a.mp3"])
def test_audio_only(tmp_path, name):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if name == "a.mp4" else "libmp3lame", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        for piece in av.AudioResampler("fltp", "stereo", 44100, frame_size=1024).resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError) as error:
        probe(path)
    assert "audio only" in one_line(error)


def test_video_stream_without_frames(tmp_path):
    path = tmp_path / "n.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError) as error:
        probe(path)
    assert "no video frames" in one_line(error) or "not a video that can be read" in one_line(error)


def test_a_colon_or_percent_in_the_name_is_just_a_name(tmp_path):
    plain = write_file(tmp_path / "a.mp4")
    for name in ("http:b.mp4", "b%03d.mp4", "b c'd.mp4"):
        odd = tmp_path / name
        odd.write_bytes(plain.read_bytes())
        assert probe(odd).frames == 20


class TestTruncated:
    def cut(self, path, share):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    def test_mp4_says_how_much_was_lost(self, tmp_path):
        path = write_file(
            tmp_path / "t.mp4", stamps=range(120), b_frames=2, options={"qp": "20"},
            container_options={"movflags": "faststart"},
        )  # fmt: skip
        self.cut(path, 0.6)
        sampled = sample_video(path)
        frames = sampled.info.frames
        assert 20 < frames < 110
        seconds = sampled.info.duration
        assert sampled.notes == (
            f"file is truncated: {frames} of 120 frames ({seconds:.1f} of 4.0 s) could be read",
        )
        # Every sample that is left is right, and nothing is made up after the cut.
        assert [number_in(frame) for frame in sampled.frames] == sampled.source_frames.tolist()
        assert len(sampled) == int(np.ceil(seconds * 2 - 1e-6))

    @pytest.mark.parametrize("name", ["t.mkv", "t.webm"])
    def test_matroska(self, tmp_path, name):
        codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
        path = self.cut(write_file(tmp_path / name, codec, stamps=range(120)), 0.5)
        sampled = sample_video(path)
        assert 20 < sampled.info.frames < 110
        assert len(sampled.notes) == 1
        assert sampled.notes[0].startswith(f"file is truncated: {sampled.info.frames} frames (")
        assert sampled.notes[0].endswith("of 4.0 s) could be read")
        assert [number_in(frame) for frame in sampled.frames] == sampled.source_frames.tolist()

    def test_mp4_without_its_index(self, tmp_path):
        # The index of a plain mp4 is at the end of the file.
        path = self.cut(write_file(tmp_path / "t.mp4", stamps=range(120)), 0.5)
        with pytest.raises(VideoError) as error:
            probe(path)
        assert "cut short" in one_line(error)

    def test_gif(self, tmp_path):
        path = write_file(
            tmp_path / "t.gif", "gif", stamps=range(0, 200, 10), time_base=Fraction(1, 100), pixel_format="rgb8"
        )
        whole = path.read_bytes()
        for more in (b"\0" * 3, b"\n", b"XMP", b"\0" * 5000 + b","):
            path.write_bytes(whole + more)
            assert sample_video(path).notes == ()
        path.write_bytes(whole)
        sampled = sample_video(self.cut(path, 0.6))
        assert 5 < sampled.info.frames < 20
        seconds = f"{sampled.info.duration:.1f} s"
        assert sampled.notes == (f"file is truncated: {sampled.info.frames} frames ({seconds}) could be read",)

    def test_whole_file_has_no_note(self, tmp_path):
        for name in ("w.mp4", "w.mkv", "w.mov"):
            assert sample_video(write_file(tmp_path / name, stamps=range(90), b_frames=2)).notes == ()


def test_damaged_middle_is_counted(tmp_path):
    """Bytes of one keyframe's group are overwritten: other samples stay right and the lost ones are counted."""
    path = write_file(tmp_path / "d.mkv", "ffv1", stamps=range(60), gop=1)
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][30]
        payload = bytes(packet)
    data = path.read_bytes()
    assert data.count(payload) == 1
    path.write_bytes(data.replace(payload, b"\xff" * len(payload)))
    sampled = sample_video(path)
    assert sampled.source_frames.tolist() == [0, 15, 45]
    assert sampled.notes == ("1 of 4 sampled frames are damaged and were left out",)
    assert [number_in(frame) for frame in sampled.frames] == [0, 15, 45]


def test_after_damage_no_frame_comes_twice_or_late(tmp_path):
    """A decoder that lost its place hands out old frames again; every later reader counts on the order."""
    path = write_file(
        tmp_path / "d.mp4", stamps=range(240), gop=30, b_frames=3, options={"qp": "12"},
        container_options={"movflags": "faststart"},
    )  # fmt: skip
    whole = path.read_bytes()
    pixels = whole.index(b"mdat")
    out_of_order = 0
    for tenth in range(2, 8):
        start = pixels + (len(whole) - pixels) * tenth // 10
        path.write_bytes(whole[:start] + b"\x5a" * 300 + whole[start + 300 :])
        with av.open(str(path)) as container:
            stamps = []
            for packet in container.demux(video=0):
                with suppress(av.error.FFmpegError):
                    stamps += [frame.pts for frame in packet.decode()]
        out_of_order += stamps != sorted(stamps)
        sampled = sample_video(path, fps=30.0)
        read = sampled.source_frames.tolist()
        assert read == sorted(set(read))
        assert 200 < len(read) < 240
        assert sampled.notes == (f"{240 - len(read)} of 240 sampled frames are damaged and were left out",)
    assert out_of_order  # else nothing was to be put right


def test_frames_of_another_size_are_refused(tmp_path):
    parts = [
        write_file(tmp_path / f"{n}.ts", stamps=range(30 * n, 30 * n + 30), size=(64 + 32 * n, 48))
        for n in (0, 1)
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    with pytest.raises(VideoError, match=r"64x48 .*96x48 .*1\.\d+ s"):
        sample_video(path)


def test_a_change_of_codec_is_named(tmp_path):
    """Two recordings in one transport stream: what comes after the change is not damage."""
    parts = [
        write_file(tmp_path / f"{number}.ts", codec, stamps=range(30 * number, 30 * number + 30))
        for number, codec in enumerate(("libx264", "mpeg2video"))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    names = ("H.264", "MPEG-2")
    assert codecs_in_turn(path) == names
    assert codecs_in_turn(parts[0]) == names[:1]

    # The first part is read, and the note says why the rest is not.
    sampled = sample_video(path)
    assert sampled.source_frames.tolist() == [0, 15]
    assert [name in sampled.notes[-1] for name in names] == [True, True]
    with pytest.raises(VideoError, match=f"{names[0]} to {names[1]}"):
        sample_video(path, span=TimeSpan(1.6, 1.9))


def test_other_files_have_no_program_table(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        assert codecs_in_turn(write_file(tmp_path / name)) == ()
    (tmp_path / "short").write_bytes(b"GG")
    assert codecs_in_turn(tmp_path / "short") == ()


def test_what_no_program_can_decode_is_not_to_be_re_encoded(tmp_path):
    path = write_file(tmp_path / "d.mkv", "ffv1", stamps=range(3), gop=1)
    with av.open(str(path)) as container:
        payloads = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    for payload in payloads:
        data = data.replace(payload, b"\xff" * len(payload))
    path.write_bytes(data)
    with pytest.raises(VideoError) as caught:
        sample_video(path)
    assert "re-encode" not in str(caught.value)
    assert "copy or download it again" in str(caught.value)


def test_unknown_frame_rate_is_not_guessed(tmp_path):
    """A lone Matroska frame with no duration and no rate: nothing in the file says how long it is shown."""
    path = tmp_path / "u.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        frame = av.VideoFrame(64, 48, "yuvj420p")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        for packet in stream.encode(frame) + stream.encode(None):
            packet.duration = 0
            container.mux(packet)
    data = bytearray(path.read_bytes())
    # Void the DefaultDuration element (id 23E383, 4 bytes of value) of the track.
    at = data.index(b"\x23\xe3\x83")
    size = data[at + 3] & 0x7F
    data[at : at + 4 + size] = bytes([0xEC, 0x80 | (2 + size)]) + bytes(2 + size)
    path.write_bytes(bytes(data))
    with pytest.raises(VideoError) as error:
        probe(path)
    assert "frame rate" in one_line(error)


def pictures(path, count):
    images = [Image.fromarray(np.full((32, 48, 3), 50 * number, np.uint8)) for number in range(count)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    return path


@pytest.mark.parametrize("name", ["a.webp", "a.tif", "a.TIFF"])
def test_several_pictures_are_never_the_first_one(tmp_path, name):
    path = pictures(tmp_path / name, 4)
    with pytest.raises(VideoError, match="4 pictures"):
        probe(path)
    # Nor as one image of a folder.
    with pytest.raises(VideoError, match="4 pictures"):
        probe(tmp_path, times=[0.0])
    assert probe(pictures(tmp_path / f"one-{name}", 1)).frames == 1


def test_an_animated_png_is_a_video(tmp_path):
    sampled = sample_video(pictures(tmp_path / "a.png", 4), fps=10.0)
    assert sampled.info.frames == 4
    assert sampled.times.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert [int(frame.mean()) for frame in sampled.frames] == [0, 50, 100, 150]


def test_the_second_picture_of_a_camera_is_the_same_moment(tmp_path):
    images = [Image.new("RGB", (48, 32), color) for color in ("red", "blue")]
    images[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=images[1:])
    assert probe(tmp_path / "a.jpg").frames == 1
