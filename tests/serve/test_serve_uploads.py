"""What a client sends decides nothing but what is read from its content."""

from __future__ import annotations

import pytest

from bridge_stg.serve.uploads import shown_name, suffix_of


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\0\0\0\x08moov\0\0\0\0", ".mp4"),
        (b"\x1a\x45\xdf\xa3\0\0\0\0\0\0\0\0", ".mkv"),
        (b"RIFF\0\0\0\0AVI ", ".avi"),
        (b"GIF89a\0\0\0\0\0\0", ".gif"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"PK\x03\x04" + bytes(8), None),
        (b"#EXTM3U\nhttp", None),
        (b"ffconcat ver", None),
        (b"", None),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_first_bytes(head: bytes, suffix: str | None) -> None:
    assert suffix_of(head) == suffix


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a.mp4", "a.mp4"),
        ("a\n\x00\u202eb.mp4", "ab.mp4"),
        ("", "video"),
        (None, "video"),
        ("..", ".."),
    ],
)
def test_a_name_is_for_showing(given: str | None, shown: str) -> None:
    assert shown_name(given) == shown
