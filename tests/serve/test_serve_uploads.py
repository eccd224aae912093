"""What a client sends decides nothing but what is read from its content."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request

from bridge_stg.serve.guards import Guards
from bridge_stg.serve.metrics import Metrics
from bridge_stg.serve.problems import install_handlers
from bridge_stg.serve.run import listen
from bridge_stg.serve.settings import Limits, ServiceSettings
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


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The guards around one route that reads its body, waiting for no piece of it longer than half a second."""
    app = FastAPI()
    install_handlers(app)
    app.add_middleware(
        Guards, settings=ServiceSettings(tmp_path, limits=Limits(read_timeout=0.5)), metrics=Metrics()
    )

    @app.post("/")
    async def length(request: Request) -> int:
        return len(await request.body())

    taken = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    yield taken.getsockname()
    server.should_exit = True
    thread.join()


def send_slowly(place: tuple[str, int], pieces: list[bytes], pause: float) -> tuple[int, str]:
    """Status and body: what a client is told that waits before each piece of its body."""
    length = sum(map(len, pieces))
    with socket.create_connection(place, timeout=60) as line:
        line.sendall(f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode())
        try:
            for piece in pieces:
                time.sleep(pause)
                line.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was told before it had sent everything
        answer = HTTPResponse(line)
        answer.begin()
        return answer.status, answer.read().decode()


def test_a_client_that_stops_or_trickles_is_sent_away(impatient: tuple[str, int]) -> None:
    assert send_slowly(impatient, [b"a", b"b"], pause=0.0)[1].endswith("2")
    # One pause that is too long; and a byte at a time, none of them too late.
    for pieces, pause in (([b"a"], 1.5), ([b"a"] * 30, 0.1)):
        status, body = send_slowly(impatient, pieces, pause)
        assert status == 408
        assert '"code":"too_slow"' in body
