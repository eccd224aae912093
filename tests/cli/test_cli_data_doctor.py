"""``bridge-stg data doctor`` as a person meets it: exit code, table, JSON and a page that stands alone."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from bridge_stg.cli.data import app
from bridge_stg.records.record import read_truth, write_truth

runner = CliRunner()


def copied(shapes: Path, folder: Path) -> Path:
    shutil.copytree(shapes, folder / "data")
    return folder / "data"


def test_sound_data(shapes_data: Path, tmp_path: Path) -> None:
    data = copied(shapes_data, tmp_path)
    done = runner.invoke(app, ["doctor", str(data), "--workers", "1", "--samples", "3"])
    assert done.exit_code == 0, done.output
    found = json.loads((data / "doctor" / "doctor.json").read_text())
    assert found["counts"]["error"] == 0
    assert found["videos_opened"] == found["videos"] == 3
    page = (data / "doctor" / "doctor.html").read_text()
    # Well-formed, and nothing is loaded from elsewhere.
    ElementTree.fromstring(page.replace("<!DOCTYPE html>\n", ""))
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<img ") == 3


def test_the_box_of_the_truth_is_drawn_where_it_is(shapes_data: Path, tmp_path: Path) -> None:
    data = copied(shapes_data, tmp_path)
    one = next(record for record in read_truth(data / "truth.jsonl") if record.task == "stvg")
    write_truth(data / "truth.jsonl", [one])
    done = runner.invoke(app, ["doctor", str(data), "--workers", "1"])
    assert done.exit_code == 0, done.output
    page = (data / "doctor" / "doctor.html").read_text()
    assert one.query in page.replace("&#x27;", "'")
    encoded = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(encoded) == 1
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded[0]))).convert("RGB")).astype(int)
    assert one.window is not None
    box = np.array(one.boxes[one.window[0]]) * (240 / one.width)  # tiles are 240 pixels wide, 5 from the edge
    middle = (round(5 + (box[1] + box[3]) / 2), round(5 + box[0]))
    around = strip[middle[0], middle[1] - 3 : middle[1] + 4]
    assert (np.abs(around - [0, 190, 130]).sum(axis=1) < 90).any(), around


def test_an_error_is_exit_code_1_and_is_named(shapes_data: Path, tmp_path: Path) -> None:
    data = copied(shapes_data, tmp_path)
    (data / "videos" / "000001.mp4").unlink()
    done = runner.invoke(app, ["doctor", str(data), "--workers", "1", "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    assert "missing video" in done.output
    assert "videos/000001.mp4" in "".join(done.output.split())
    found = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert found["videos_missing"] == 1
    assert found["kinds"] == {"missing video": 1}
    assert "No picture" in (tmp_path / "out" / "doctor.html").read_text()


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    for words in (["nowhere"], [str(tmp_path)]):
        done = runner.invoke(app, ["doctor", *words])
        assert done.exception is not None
        assert "\n" not in str(done.exception)
        assert "data build" in str(done.exception)
