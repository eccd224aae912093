"""The page in a real Chromium: from an upload to boxes on the very frame that is shown.

Run by `make page`. BRIDGE_STG_SCREENSHOTS names a folder for pictures of what is tested.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.service import RunningService

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or set CHROMIUM"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]

# The bounding box, in pixels of the canvas, of the dots that have a colour, and the size of the canvas.
DRAWN = """(colour) => {
  const canvas = document.getElementById("overlay");
  const { width, height } = canvas;
  const dots = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const at = 4 * (y * width + x);
    const near = [0, 1, 2].every((part) => Math.abs(dots[at + part] - colour[part]) < 12);
    if (!near || dots[at + 3] < 200) continue;
    left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y);
  }
  return { left, top, right, bottom, width, height, time: Number(canvas.dataset.time) };
}"""
# The ratio of luminances of each word and the nearest background behind it.
CONTRASTS = r"""() => {
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("h1, p, label, button, .button, summary, li")]
    .filter((one) => one.checkVisibility() && one.textContent.trim() && !one.disabled)
    .map((one) => [luminance(parts(getComputedStyle(one).color)), luminance(behind(one))])
    .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}"""
AMBER = [255, 176, 0]
LINE = 3  # how wide the box of the chosen sentence is drawn
# Of an answer with two windows: a second between them, and the box in the earlier one.
GAP, SECOND_BOX = 1.0, [200.0, 60.0, 260.0, 150.0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def wide_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A clip of the size that the shipped checkpoint knows best, with two questions about it."""
    from bridge_stg.records.record import read_truth
    from bridge_stg.shapes.world.objects import SceneSettings
    from bridge_stg.shapes.world.writer import write_shapes

    folder = tmp_path_factory.mktemp("page") / "data"
    write_shapes(folder, 1, 15, SceneSettings(split="test"), workers=1)
    records = [record for record in read_truth(folder / "truth.jsonl") if record.task == "stvg"]
    return folder / records[0].video, [record.query for record in records]


def open_page(browser: Any, service: RunningService, **options: Any) -> Any:
    page = browser.new_page(**{"viewport": {"width": 1200, "height": 900}} | options)
    page.set_default_timeout(120_000)  # of a machine that is busy with other work
    page.problems = []
    page.on("pageerror", lambda problem: page.problems.append(str(problem)))
    page.on("console", lambda said: page.problems.append(said.text) if said.type == "error" else None)
    page.goto(service.address)
    page.wait_for_selector("#samples button")
    return page


def ask(page: Any, path: Path, queries: list[str]) -> list[dict[str, Any]]:
    """Upload, ask, and return what tube.json says, as the page exports it."""
    page.set_input_files("#file", str(path))
    page.wait_for_selector("#find:not([disabled])")
    page.fill("#queries", "\n".join(queries))
    page.click("#find")
    page.wait_for_selector(".card", timeout=120_000)
    return exported(page)


def exported(page: Any) -> list[dict[str, Any]]:
    page.select_option("#format", "tube")
    with page.expect_download() as download:
        page.click("#export")
    results: list[dict[str, Any]] = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    return results


def show_frame(page: Any, frame: int, fps: float) -> float:
    """Seek to the middle of a frame and wait until it has been drawn; returns its time."""
    time = (frame + 0.5) / fps
    page.evaluate("(time) => { document.getElementById('video').currentTime = time; }", time)
    page.wait_for_function(
        "([time, step]) => Math.abs(document.getElementById('overlay').dataset.time - time) <= step",
        arg=[time, 0.6 / fps],
    )
    return frame / fps


def picture(page: Any, name: str) -> None:
    folder = os.environ.get("BRIDGE_STG_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / name), full_page=True)


def box_in_tube(result: dict[str, Any], time: float) -> list[float]:
    import numpy as np

    times = [one["time"] for one in result["boxes"]]
    return [float(np.interp(time, times, [one["box"][side] for one in result["boxes"]])) for side in range(4)]


def test_the_drawn_box_is_the_one_of_tube_json(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]]
) -> None:
    page = open_page(browser, service)
    path, queries = wide_clip
    result = ask(page, path, queries[:1])[0]
    assert result["status"] == "ok"
    info, window = result["video_info"], result["window"]
    fps = float(info["fps"])
    checked = 0
    for time in (window["start"] + 0.1, (window["start"] + window["end"]) / 2, window["end"] - 0.1):
        shown = show_frame(page, int(time * fps), fps)
        drawn = page.evaluate(DRAWN, AMBER)
        assert abs(drawn["time"] - shown) < 0.5 / fps
        scale = drawn["width"] / info["width"]
        x1, _, x2, y2 = box_in_tube(result, shown)
        # The label stands on the upper edge: the other three tell.
        assert abs(drawn["left"] + LINE / 2 - x1 * scale) <= 2
        assert abs(drawn["bottom"] + 1 - LINE / 2 - y2 * scale) <= 2
        assert abs(drawn["right"] + 1 - LINE / 2 - x2 * scale) <= 2
        checked += 1
    assert checked == 3

    # Outside of the window nothing is drawn.
    outside = window["end"] + 0.3 if window["end"] + 0.5 < info["duration"] else window["start"] - 0.5
    show_frame(page, int(outside * fps), fps)
    assert page.evaluate(DRAWN, AMBER)["right"] == -1
    assert page.problems == []
    page.close()


def test_keys_and_the_timeline_move_the_video(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]]
) -> None:
    page = open_page(browser, service)
    path, queries = wide_clip
    results = ask(page, path, queries[:2])
    fps = float(results[0]["video_info"]["fps"])
    show_frame(page, 10, fps)
    page.focus("#video")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(time) => document.getElementById('overlay').dataset.time > time", arg=10.5 / fps)
    assert round(float(page.get_attribute("#overlay", "data-time")) * fps) == 11

    assert page.get_attribute(".card >> nth=0", "aria-current") == "true"
    page.keyboard.press("j")
    assert page.get_attribute(".card >> nth=1", "aria-current") == "true"
    page.keyboard.press("k")
    assert page.get_attribute(".card >> nth=0", "aria-current") == "true"

    page.keyboard.press("Space")
    page.wait_for_function("() => !document.getElementById('video').paused")
    page.keyboard.press("Space")
    assert page.evaluate("() => document.getElementById('video').paused")

    bounds = page.locator(".track >> nth=1").bounding_box()
    page.mouse.click(bounds["x"] + bounds["width"] / 4, bounds["y"] + 3)
    page.wait_for_function(
        "(time) => Math.abs(document.getElementById('video').currentTime - time) < 0.2",
        arg=results[0]["video_info"]["duration"] / 4,
    )
    picture(page, "page-desktop.png")
    assert page.problems == []
    page.close()


def test_a_window_and_a_box_are_corrected_by_dragging_and_exported(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]]
) -> None:
    page = open_page(browser, service)
    path, queries = wide_clip
    before = ask(page, path, queries[:1])[0]
    info, fps = before["video_info"], float(before["video_info"]["fps"])

    track = page.locator(".track >> nth=0").bounding_box()
    handle = page.locator(".handle.end").bounding_box()
    middle = handle["y"] + handle["height"] / 2
    wanted = before["window"]["end"] - 0.4
    page.mouse.move(handle["x"] + handle["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * wanted / info["duration"], middle, steps=4)
    page.mouse.up()
    moved = exported(page)[0]
    assert abs(moved["window"]["end"] - wanted) < 0.1
    assert moved["window"]["start"] == before["window"]["start"]

    time = show_frame(page, int((before["window"]["start"] + 0.3) * fps), fps)
    canvas = page.locator("#overlay").bounding_box()
    scale = canvas["width"] / info["width"]
    x1, y1, x2, y2 = box_in_tube(moved, time)
    start = (canvas["x"] + scale * (x1 + x2) / 2, canvas["y"] + scale * (y1 + y2) / 2)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] - 30 * scale, start[1] - 10 * scale, steps=4)
    page.mouse.up()
    corrected = exported(page)[0]
    there = next(one for one in corrected["boxes"] if one["frame"] == round(time * fps))
    left, top = min(30, x1), min(10, y1)
    wished = [x1 - left, y1 - top, x2 - left, y2 - top]
    assert all(abs(a - b) < 2 for a, b in zip(there["box"], wished, strict=True))
    assert "corrected by hand" in corrected["notes"]

    # Every other format tells the same correction.
    frame, corner = there["frame"], (round(wished[0], 2), round(wished[1], 2))
    last = max(one["frame"] for one in corrected["boxes"])
    cvat = ElementTree.fromstring(downloaded(page, "cvat", ".xml"))
    marked = {int(box.get("frame", "")): box for box in cvat.iter("box") if box.get("outside") == "0"}
    assert near((marked[frame].get("xtl"), marked[frame].get("ytl")), corner)

    (task,) = json.loads(downloaded(page, "labelstudio", ".json"))
    track = task["predictions"][0]["result"][0]["value"]["sequence"]
    key = min(track, key=lambda one: abs(one["time"] - there["time"]))
    assert near((key["x"] * info["width"] / 100, key["y"] * info["height"] / 100), corner)

    coco = json.loads(downloaded(page, "coco-vid", ".json"))
    numbers = {image["id"]: image["frame_id"] for image in coco["images"]}
    found = {numbers[one["image_id"]]: one["bbox"] for one in coco["annotations"]}
    assert near(found[frame][:2], corner)

    with zipfile.ZipFile(io.BytesIO(downloaded(page, "mot", ".zip"))) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith("gt/gt.txt")]
        rows = [line.split(",") for line in packed.read(name).decode().split()]
    places = {int(row[0]): row[2:4] for row in rows}
    assert near(places[frame + 1], corner)
    assert last + 1 in places

    assert downloaded(page, "annotated", ".mp4")[4:8] == b"ftyp"
    assert page.problems == []
    page.close()


def downloaded(page: Any, name: str, ending: str) -> bytes:
    """What the page exports in one format."""
    page.select_option("#format", name)
    with page.expect_download(timeout=120_000) as download:
        page.click("#export")
    assert download.value.suggested_filename.endswith(ending)
    return Path(download.value.path()).read_bytes()


def near(found: Sequence[Any], wanted: Sequence[float]) -> bool:
    """Equal up to how many digits a format keeps; MOTChallenge counts pixels from 1."""
    return all(abs(float(a) - b) < 1.1 for a, b in zip(found, wanted, strict=True))


def test_not_found_is_an_answer_that_a_person_can_overrule(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]]
) -> None:
    page = open_page(browser, service)
    # Whatever the checkpoint answers, the page is asked about an answer without a window.
    page.route("**/v1/jobs/*", lambda route: route.fulfill(json=without_window(route.fetch().json())))
    results = ask(page, *wide_clip)
    assert results[0]["status"] == "no_window"
    assert page.locator(".card.absent").count() == len(results)
    assert page.locator(".track .none").first.inner_text() == "not found"
    picture(page, "page-not-found.png")
    page.locator(".card.absent button").first.click()
    added = exported(page)[0]
    assert added["status"] == "ok"
    assert len(added["boxes"]) == 1
    page.close()


def without_window(job: dict[str, Any]) -> dict[str, Any]:
    for result in job["results"] or []:
        result.update(status="no_window", window=None, boxes=[])
    return job


def test_an_absent_event_is_said_and_does_not_hide_the_others(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]]
) -> None:
    page = open_page(browser, service)
    page.route("**/v1/jobs/*", lambda route: route.fulfill(json=first_absent(route.fetch().json())))
    path, queries = wide_clip
    results = ask(page, path, [queries[1], queries[0]])
    assert [one["status"] for one in results] == ["absent", "ok"]
    assert page.locator(".card.absent").count() == 1
    assert page.locator(".track .none").count() == 1
    # What holds for every answer is said once.
    shared = set(results[0]["notes"]).intersection(results[1]["notes"])
    cards, limits = page.inner_text("#results"), page.text_content("#limit-list")
    assert shared
    assert all(note in limits and note not in cards for note in shared)
    # The first that was found is chosen.
    assert page.get_attribute(".card >> nth=1", "aria-current") == "true"
    assert page.problems == []
    page.close()


def first_absent(job: dict[str, Any]) -> dict[str, Any]:
    for result in (job["results"] or [])[:1]:
        result.update(status="absent", window=None, windows=[], boxes=[], confidence=0.9)
    return job


def test_an_event_that_happens_twice_has_two_windows(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]]
) -> None:
    page = open_page(browser, service)
    page.route("**/v1/jobs/*", lambda route: route.fulfill(json=twice(route.fetch().json())))
    path, queries = wide_clip
    result = ask(page, path, queries[:1])[0]
    info, (best, second) = result["video_info"], result["windows"]
    fps = float(info["fps"])
    track = page.locator(".track >> nth=0").bounding_box()
    other = page.locator(".window.other").bounding_box()
    assert abs(other["x"] - track["x"] - track["width"] * second["start"] / info["duration"]) <= 2
    assert abs(other["width"] - track["width"] * (second["end"] - second["start"]) / info["duration"]) <= 2

    # A box in each window, and none between them.
    seen = []
    for time in ((best["start"] + best["end"]) / 2, (second["start"] + second["end"]) / 2, GAP):
        show_frame(page, int(time * fps), fps)
        seen.append(page.evaluate(DRAWN, AMBER))
    assert [drawn["right"] >= 0 for drawn in seen] == [True, True, False]
    scale = seen[1]["width"] / info["width"]
    assert abs(seen[1]["left"] + LINE / 2 - SECOND_BOX[0] * scale) <= 2
    picture(page, "page-two-windows.png")
    assert page.problems == []
    page.close()


def twice(job: dict[str, Any]) -> dict[str, Any]:
    """An answer with a window before and one after GAP, whatever the checkpoint said."""
    for result in job["results"] or []:
        spans = [
            {"start": GAP + 0.5, "end": GAP + 1.5, "score": 0.9},
            {"start": 0.2, "end": GAP - 0.3, "score": 0.6},
        ]
        fps = float(result["video_info"]["fps"])
        boxes = [
            (0.2, SECOND_BOX),
            (0.6, SECOND_BOX),
            (GAP + 0.5, [20, 30, 80, 90]),
            (GAP + 1.4, [40, 30, 100, 90]),
        ]
        result.update(status="ok", window={name: spans[0][name] for name in ("start", "end")}, windows=spans)
        result["boxes"] = [
            {"time": time, "frame": round(time * fps), "box": box, "score": 0.8} for time, box in boxes
        ]
    return job


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_both_colours(browser: Any, service: RunningService, scheme: str) -> None:
    page = open_page(browser, service, color_scheme=scheme)
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 5
    # WCAG AA for text of this size.
    assert min(ratios) >= 4.5
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == (scheme == "dark")
    page.close()


def test_a_phone_and_a_dark_page(browser: Any, service: RunningService) -> None:
    page = open_page(browser, service, viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.locator("#samples button").first.click()
    page.wait_for_selector("#find:not([disabled])")
    page.click("#find")
    page.wait_for_selector(".card", timeout=120_000)
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    page.wait_for_function("() => document.getElementById('overlay').dataset.time > 0")
    picture(page, "page-phone-dark.png")

    # Everything that can be used has a name.
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, video")].filter((one) =>
          !one.getAttribute("aria-label") && !one.textContent.trim() && !one.labels?.length).length"""
    )
    assert unnamed == 0
    assert page.problems == []
    page.close()


def test_nothing_about_a_former_video_is_said_of_the_next(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]], clip: Path
) -> None:
    wide, queries = wide_clip
    page = open_page(browser, service)

    # Another video while answers are awaited: the job ends, and its answers are not shown.
    page.set_input_files("#file", str(wide))
    page.wait_for_selector("#find:not([disabled])")
    page.fill("#queries", "\n".join(queries))
    with page.expect_response(lambda answer: answer.url.endswith("/ground")) as asked:
        page.click("#find")
        page.click("#another")
    page.set_input_files("#file", str(clip))
    page.wait_for_selector("#find:not([disabled])")
    job = f"{service.address}/v1/jobs/{asked.value.json()['job']}"
    while page.request.get(job).json()["status"] in ("queued", "running"):
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)
    assert page.locator(".card").count() == 0
    assert page.is_hidden("#cancel")
    assert page.is_hidden("#problem")

    # Another video while one is sent: the one that is shown is asked about.
    page.click("#another")
    held: list[Any] = []
    page.route("**/v1/videos", lambda route: held.append(route) if not held else route.continue_())
    page.set_input_files("#file", str(wide))
    while not held:
        page.wait_for_timeout(50)
    page.click("#another")
    assert ask(page, clip, ["what moves?"])[0]["video"] == clip.name
    held[0].abort()
    page.wait_for_timeout(500)
    assert page.is_hidden("#problem")
    assert page.is_enabled("#find")
    assert page.problems == []
    page.close()


def test_a_refused_file_is_said_in_one_line_and_another_can_be_chosen(
    browser: Any, service: RunningService, wide_clip: tuple[Path, list[str]], tmp_path: Path
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video", encoding="utf-8")
    page = open_page(browser, service)
    page.set_input_files("#file", str(text))
    page.wait_for_selector("#problem:not([hidden])")
    assert "not a video" in page.inner_text("#problem")
    # Another one can be chosen at once, or the same again, and nothing speaks of answers about this one.
    assert page.is_visible("#drop")
    assert page.evaluate("document.getElementById('file').files.length") == 0
    for left in ("#unplayable", "#player", "#controls", "#timeline"):
        assert page.is_hidden(left), left
    page.set_input_files("#file", str(wide_clip[0]))
    page.wait_for_selector("#find:not([disabled])")
    assert page.is_hidden("#problem")
    page.close()
