"""What the system does not let us write or read is one line that says where, why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bridge_stg.curation.reading import folder as downloads
from bridge_stg.curation.reading.plain_pickle import read_plain_pickle
from bridge_stg.curation.reading.safe_xml import read_xml
from bridge_stg.errors import DataError, InputError
from bridge_stg.files.json_lines import begin_lines, read_whole_lines
from bridge_stg.files.one_writer import only_writer
from bridge_stg.files.output_files import new_folder, write_whole
from bridge_stg.records.subtitles import read_subtitles
from bridge_stg.video.write import VideoWriter


@pytest.mark.parametrize(
    ("write", "cure"),
    [
        (lambda place: write_whole(place, "text"), "give another --out"),
        (lambda place: begin_lines(place, ["text"]), "give another --out"),
        (lambda place: only_writer(place).__enter__(), "give another --out"),
        (lambda place: new_folder(place).__enter__(), "give a folder you can write to"),
        (lambda place: VideoWriter(place, 16, 16, Fraction(25)).__enter__(), "give a folder you can write to"),
    ],
)
def test_below_a_file_nothing_is_written(write: Callable[[Path], Any], cure: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "inside.mp4"
    with pytest.raises(InputError) as caught:
        write(place)
    cause = caught.value.__cause__
    assert isinstance(cause, NotADirectoryError | FileExistsError)
    assert str(caught.value) == f"{place}: cannot be written ({cause.strerror}); {cure}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize(
    "read",
    [
        read_whole_lines,
        read_subtitles,
        read_plain_pickle,
        lambda place: read_xml(place, "annotations"),
        lambda place: downloads.read_json(place, list),
        downloads.read_lines,
    ],
)
def test_a_folder_is_not_read_as_a_file(read: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read (Is a directory)"
    assert isinstance(caught.value.__cause__, IsADirectoryError)
