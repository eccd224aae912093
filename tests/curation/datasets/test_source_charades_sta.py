"""Charades-STA: seconds to frames of the real video, windows past its end, reversed and malformed lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.built_folder import built, write, write_video

from bridge_stg.errors import DataError, InputError

LINES = """AB1CD 0.0 6.4##person opens the fridge.
AB1CD 2.3 33.0##a person sits down on the sofa.
ZZ9YX 12.5 3.0##person closes the book.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    # 8 seconds.
    write_video(root / "Charades_v1_480/AB1CD.mp4", 80, 10)
    write_video(root / "Charades_v1_480/ZZ9YX.mp4", 20, 10)
    return root


def test_windows_in_frames_and_in_the_annotated_seconds(root: Path) -> None:
    write(root / "charades_sta_train.txt", LINES)
    data = built("charades-sta", root, split="train")
    one, two = data.records.values()
    assert (one.id, one.query, one.task) == ("charades-sta/train/1", "person opens the fridge.", "vtg")
    assert (one.window, one.seconds, one.fps, one.frame_count) == ((0, 64), (0.0, 6.4), 10.0, 80)
    # The second one ends 25 s after the video does.
    assert (two.window, two.seconds) == ((23, 80), (2.3, 33.0))
    assert data.notes == {two.id: ["the window ends at 33.0 s, the video at 8.00 s; cut there"]}
    assert data.skipped == {"charades-sta/train/3": ("the window ends before it starts", "12.5 to 3.0 s")}
    assert (data.count("train", "sentences")["read"], data.count("train", "videos")["read"]) == (3, 2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("AB1CD 8.0 9.0##it is over.", "the window starts after the end of the video"),
        ("AB1CD 3.0 3.0##nothing.", "the window ends before it starts"),
        ("AB1CD 0.0##person opens the fridge.", "malformed line"),
        ("AB1CD 0.0 6.4 person opens the fridge.", "malformed line"),
        ("AB1CD 0.0 6.4##", "malformed line"),
        ("AB1CD 0.0 nan##person opens the fridge.", "malformed line"),
        ("AB1CD -1.0 6.4##person opens the fridge.", "malformed line"),
        ("XXXXX 0.0 6.4##person opens the fridge.", "no video file"),
        ("../../x 0.0 6.4##person opens the fridge.", "the path leads out of the data set's folder"),
    ],
)
def test_a_bad_line_is_left_out_with_its_number(line: str, reason: str, root: Path) -> None:
    write(root / "charades_sta_test.txt", f"AB1CD 0.0 6.4##a##b\n{line}\n")
    data = built("charades-sta", root, split="test")
    assert {name: why for name, (why, _) in data.skipped.items()} == {"charades-sta/test/2": reason}
    # A "##" of the sentence belongs to the sentence.
    assert data.only.query == "a##b"


def test_a_window_shorter_than_a_frame_keeps_one(root: Path) -> None:
    write(root / "charades_sta_test.txt", "AB1CD 2.51 2.54##blink.\nAB1CD 7.96 7.99##blink at the end.\n")
    windows = [record.window for record in built("charades-sta", root, split="test").records.values()]
    assert windows == [(25, 26), (79, 80)]


def test_line_ends_of_another_system_and_a_byte_order_mark(root: Path) -> None:
    (root / "charades_sta_test.txt").write_bytes(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode())
    assert built("charades-sta", root, split="test").records["charades-sta/test/1"].query.endswith("fridge.")


def test_a_half_downloaded_video_is_a_reason(root: Path) -> None:
    path = root / "Charades_v1_480/ZZ9YX.mp4"
    path.write_bytes(path.read_bytes()[:100])
    write(root / "charades_sta_test.txt", "ZZ9YX 0.0 1.0##x.\nAB1CD 0.0 1.0##x.\n")
    data = built("charades-sta", root, split="test")
    assert data.skipped["charades-sta/test/1"][0] == "the video cannot be opened"


def test_it_cannot_be_built_without_videos(root: Path) -> None:
    write(root / "charades_sta_train.txt", LINES)
    with pytest.raises(InputError, match="how long and how fast"):
        built("charades-sta", root, annotations_only=True)
    (root / "Charades_v1_480").rename(root / "elsewhere")
    with pytest.raises(DataError, match="Charades_v1_480"):
        built("charades-sta", root, split="train")


def test_a_picture_with_the_name_of_the_sentences(root: Path) -> None:
    (root / "charades_sta_test.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="text file"):
        built("charades-sta", root, split="test")
