"""Record the tour of the README from the real page: ``python docs/make_tour.py http://127.0.0.1:8000``.

A service must be running there with the shipped checkpoint (``bridge-stg serve``), and a Chromium must be
installed (Debian's, or CHROMIUM names one). Each picture says how long it is shown, so that the tour lasts the
same on a slow machine: the video is not played, it is moved from picture to picture.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).parent / "images" / "tour.webp"
SIZE = {"width": 1080, "height": 720}
SHOWN_WIDTH = 720
QUERIES = ["which red shape spins?", "the purple star that shrinks"]
STEP = 1 / 8  # seconds of the video between two pictures


class Recorder:
    """Pictures of a page, each with the seconds that it stands."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.pictures: list[Image.Image] = []
        self.seconds: list[float] = []

    def shoot(self, seconds: float) -> None:
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        height = round(picture.height * SHOWN_WIDTH / picture.width)
        self.pictures.append(picture.resize((SHOWN_WIDTH, height), Image.Resampling.LANCZOS))
        self.seconds.append(seconds)

    def play(self, start: float, end: float) -> None:
        """The video from ``start`` to ``end`` seconds, as fast as it is."""
        time = start
        while time < end:
            self.seek(time)
            self.shoot(STEP)
            time += STEP

    def seek(self, time: float) -> None:
        self.page.evaluate("(time) => { document.getElementById('video').currentTime = time; }", time)
        self.page.wait_for_function(
            "(time) => Math.abs(document.getElementById('overlay').dataset.time - time) < 0.1", arg=time
        )

    def write(self, out: Path) -> None:
        first, *others = self.pictures
        durations = [round(1000 * seconds) for seconds in self.seconds]
        first.save(out, save_all=True, append_images=others, duration=durations, loop=0, quality=60, method=4)
        print(f"wrote {out}: {sum(durations) / 1000:.1f} s, {out.stat().st_size // 1024} KiB")


def tour(page: Any, record: Recorder) -> None:
    """A sample, two sentences, the answers, a correction."""
    page.wait_for_selector("#samples button")
    record.shoot(1.5)
    page.locator("#samples button").first.click()
    page.wait_for_selector("#find:not([disabled])")
    page.fill("#queries", "")
    record.shoot(0.8)

    # The sentences come word by word.
    text = ""
    for word in "\n".join(QUERIES).replace("\n", " \n").split(" "):
        text += word if not text or word.startswith("\n") else f" {word}"
        page.fill("#queries", text)
        record.shoot(0.2)
    record.shoot(0.6)
    page.click("#find")
    page.wait_for_selector("#progress progress")
    record.shoot(0.8)

    page.wait_for_selector(".card", timeout=300_000)
    record.shoot(1.5)
    length = page.evaluate("() => document.getElementById('video').duration")
    start = page.evaluate("() => document.getElementById('video').currentTime")
    record.play(max(start - 2, 0), min(start + 3, length - 0.2))

    # The end of the window is dragged, and the card says so.
    track, handle = (
        page.locator(".track.chosen").bounding_box(),
        page.locator(".handle.end").first.bounding_box(),
    )
    height = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, height)
    page.mouse.down()
    for _ in range(4):
        handle["x"] -= track["width"] * 0.1 / length
        page.mouse.move(handle["x"] + handle["width"] / 2, height)
        record.shoot(0.25)
    page.mouse.up()
    record.shoot(1.5)
    page.locator(".card").nth(1).click()
    record.shoot(2.5)
    page.locator("#exports").scroll_into_view_if_needed()
    page.focus("#format")
    record.shoot(2.0)


def main(address: str) -> None:
    """Write ``docs/images/tour.webp``."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(300_000)
        page.goto(address)
        record = Recorder(page)
        tour(page, record)
        browser.close()
    record.write(OUT)


if __name__ == "__main__":
    main(*sys.argv[1:])
