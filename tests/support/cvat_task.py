"""One task of images over HTTP, in the words of CVAT's API: what its own client needs to annotate it.

CVAT's server is a dozen containers. The client, its driver of auto-annotation and its models are the real ones.
"""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any

from PIL import Image

TASK, LABEL, ATTRIBUTE = 42, 7, 9


class CvatTask:
    """A task whose frames have names; ``uploaded`` are the annotations that a client sent.

    Args:
        frames: (name, picture) in the order of the task.
        kind: of its media, "imageset" or "video".
    """

    def __init__(self, frames: Sequence[tuple[str, Image.Image]], kind: str = "imageset") -> None:
        self.frames, self.kind = frames, kind
        self.uploaded: list[dict[str, Any]] = []
        self.address = ""

    def answer(self, path: str) -> bytes | dict[str, Any] | None:
        """What a GET of ``path`` is told; None for what is not here."""
        if path == "/api/server/about":
            about = {"name": "CVAT", "description": "", "version": version("cvat-sdk")}
            return about | {"logo_url": "", "subtitle": ""}
        if path == f"/api/tasks/{TASK}":
            return self._about()
        if path.startswith("/api/labels"):
            attribute = {
                "id": ATTRIBUTE,
                "name": "query",
                "mutable": False,
                "input_type": "text",
                "values": [""],
            }
            label = {
                "id": LABEL,
                "name": "target",
                "type": "rectangle",
                "sublabels": [],
                "attributes": [attribute],
            }
            return {"count": 1, "next": None, "previous": None, "results": [label]}
        if path == f"/api/tasks/{TASK}/data/meta":
            frames = [{"name": name, "related_files": 0, "width": 1, "height": 1} for name, _ in self.frames]
            return {"chunks_updated_date": "2026-01-01T00:00:00Z", "frames": frames, "deleted_frames": []}
        if re.match(rf"/api/tasks/{TASK}/data/?\?.*type=chunk", path):
            return self._chunk()
        return None

    def _about(self) -> dict[str, Any]:
        return {
            "id": TASK,
            "name": "task",
            "organization": None,
            "size": len(self.frames),
            "data_chunk_size": max(len(self.frames), 1),
            "data_original_chunk_type": self.kind,
            "updated_date": "2026-01-01T00:00:00Z",
            "jobs": {"count": 1, "completed": 0, "validation": 0, "url": f"{self.address}/api/jobs"},
            "labels": {"url": f"{self.address}/api/labels"},
        }

    def _chunk(self) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number, (_, picture) in enumerate(self.frames):
                image = io.BytesIO()
                picture.save(image, "PNG")
                archive.writestr(f"{number:06d}.png", image.getvalue())
        return packed.getvalue()


@contextmanager
def running_task(task: CvatTask) -> Iterator[CvatTask]:
    """The task on a free port of the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(task.answer(self.path))

        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not re.fullmatch(rf"/api/tasks/{TASK}/annotations/?\?action=create", self.path):
                return self._send(None)
            task.uploaded.append(json.loads(body))
            return self._send({"version": 1, "tags": [], "shapes": [], "tracks": []})

        def _send(self, answer: bytes | dict[str, Any] | None) -> None:
            content = answer if isinstance(answer, bytes) else json.dumps(answer or {}).encode()
            self.send_response(404 if answer is None else 200)
            kind = "application/zip" if isinstance(answer, bytes) else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    task.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield task
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
