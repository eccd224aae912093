"""The ML backend against a file server in Label Studio's place, and against a real Label Studio.

LABEL_STUDIO names the program of a Label Studio installation; without it the last test is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from support.service import running_service

from bridge_stg.curation.annotations import labelstudio
from bridge_stg.errors import InputError
from bridge_stg.serve.label_studio import Tags, read_tags

CONFIG = """<View><Header value="$query"/>
<Video name="film" value="$clip" framerate="$fps"/>
<VideoRectangle name="target" toName="film"/>
<Labels name="kinds" toName="film"><Label value="target"/></Labels>
<TextArea name="words" toName="film" perRegion="true"/></View>"""
QUERY = "an object moving down"
KEY = "0123456789abcdef0123456789abcdef01234567"


class _Files(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Token {KEY}":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def files(shapes_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("files")
    (root / "data" / "upload").mkdir(parents=True)
    shutil.copy(shapes_data / "videos" / "000000.mp4", root / "data" / "upload" / "clip.mp4")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, files: str) -> Iterator[httpx.Client]:
    os.environ["LABEL_STUDIO_API_KEY"] = KEY
    try:
        with (
            running_service(tmp_path_factory.mktemp("backend"), "shapes", "--label-studio", files) as service,
            httpx.Client(base_url=service.address, timeout=120) as client,
        ):
            yield client
    finally:
        del os.environ["LABEL_STUDIO_API_KEY"]


def ask(backend: httpx.Client, *data: dict[str, Any], config: str | None = CONFIG) -> httpx.Response:
    tasks = [{"id": number, "data": one} for number, one in enumerate(data)]
    return backend.post("/predict", json={"tasks": tasks, "project": "1.2", "label_config": config})


def test_the_names_of_the_tags_are_the_projects_own() -> None:
    assert read_tags(CONFIG) == Tags("film", "target", "words", "clip")
    assert read_tags(None) == Tags()
    for wrong in ("<View/>", "<View", '<View><Video name="a"/><TextArea name="b"/></View>'):
        with pytest.raises(InputError):
            read_tags(wrong)


def test_a_task_comes_back_with_a_track_that_can_be_read(backend: httpx.Client, tmp_path: Path) -> None:
    assert backend.get("/health").json()["status"] == "UP"
    assert backend.post("/webhook", json={"action": "ANNOTATION_CREATED"}).json() == {}
    assert "shapes" in backend.post("/setup", json={"project": "1.2", "schema": CONFIG}).json()["model_version"]
    response = ask(backend, {"clip": "/data/upload/clip.mp4", "query": QUERY})
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["results"]
    assert {one["from_name"] for one in prediction["result"]} == {"target", "words"}
    assert {one["to_name"] for one in prediction["result"]} == {"film"}
    assert 0 < prediction["score"] <= 1

    task = {"data": {"video": "clip.mp4"}, "annotations": [{"result": prediction["result"]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]), encoding="utf-8")
    (item,) = labelstudio.read(tmp_path / "export.json", "export.json")
    drawing = item.read()
    assert drawing.query == QUERY
    assert len(drawing.keys) > 10


def test_what_cannot_be_read_is_refused_and_leaves_the_others_alone(backend: httpx.Client, files: str) -> None:
    good = {"clip": f"{files}/data/upload/clip.mp4", "query": QUERY}
    for bad, code in (
        ({"clip": "http://127.0.0.1:1/x.mp4", "query": QUERY}, "bad_input"),
        ({"clip": "file:///etc/passwd", "query": QUERY}, "bad_input"),
        ({"clip": "/data/upload/none.mp4", "query": QUERY}, "label_studio"),
        ({"clip": "/data/upload/clip.mp4"}, "bad_input"),
        ({"query": QUERY}, "bad_input"),
    ):
        assert ask(backend, bad).json()["error"]["code"] == code
        first, second = ask(backend, bad, good).json()["results"]
        assert first["result"] == []
        assert second["result"]


def test_without_an_address_the_service_says_what_to_do(http: httpx.Client) -> None:
    assert ask(http, {"video": "x", "query": "y"}, config=None).status_code == 409


@pytest.mark.slow
@pytest.mark.skipif("LABEL_STUDIO" not in os.environ, reason="LABEL_STUDIO names no Label Studio program")
def test_a_real_label_studio_imports_predicts_accepts_and_exports(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    monkeypatch.setenv("LABEL_STUDIO_BASE_DATA_DIR", str(tmp_path / "studio"))
    monkeypatch.setenv("LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN", "true")
    monkeypatch.setenv("COLLECT_ANALYTICS", "false")
    # By default it connects to no backend on the machine where it runs.
    monkeypatch.setenv("ML_BLOCK_LOCAL_IP", "false")
    monkeypatch.setenv("SSRF_PROTECTION_ENABLED", "false")
    command = [os.environ["LABEL_STUDIO"], "start", "--no-browser", "--port", "18765", "--log-level", "ERROR"]
    command += ["--internal-host", "127.0.0.1", "--username", "a@b.example", "--password", "long-enough"]
    studio = subprocess.Popen([*command, "--user-token", KEY], start_new_session=True)
    address = "http://127.0.0.1:18765"
    try:
        with (
            httpx.Client(base_url=address, headers={"Authorization": f"Token {KEY}"}, timeout=300) as api,
            running_service(tmp_path / "state", "shapes", "--label-studio", address) as service,
        ):
            _wait_for(api)
            project = api.post("/api/projects", json={"title": "tubes", "label_config": CONFIG}).json()["id"]
            connected = api.post(
                "/api/ml", json={"url": service.address, "project": project, "title": "bridge-stg"}
            )
            assert connected.status_code == 201, connected.text

            # Import: the file first, then a task that names it and a sentence.
            sent = api.post(
                f"/api/projects/{project}/import",
                params={"commit_to_project": "false"},
                files={"file": ("clip.mp4", clip.read_bytes(), "video/mp4")},
            ).json()
            file = api.get(f"/api/import/file-upload/{sent['file_upload_ids'][0]}").json()["file"]
            data = {"clip": f"/data/{file}", "query": QUERY, "fps": 25}
            assert api.post(f"/api/projects/{project}/import", json=[data]).status_code == 201

            # Predict: by the action of the project's own page.
            everything = {"selectedItems": {"all": True, "excluded": []}}
            where = {"id": "retrieve_tasks_predictions", "project": project}
            done = api.post("/api/dm/actions", params=where, json=everything)
            assert done.status_code == 200, done.text
            task = api.get(f"/api/projects/{project}/tasks").json()[0]["id"]
            (prediction,) = api.get("/api/predictions", params={"task": task}).json()
            assert prediction["result"]

            # Accept and export; the export is read as `data build custom` reads it.
            accepted = api.post(f"/api/tasks/{task}/annotations", json={"result": prediction["result"]})
            assert accepted.status_code == 201, accepted.text
            export = api.get(f"/api/projects/{project}/export", params={"exportType": "JSON"})
        (tmp_path / "export.json").write_bytes(export.content)
        (item,) = labelstudio.read(tmp_path / "export.json", "export.json")
        assert item.read().query == QUERY
    finally:
        studio.kill()
        studio.wait()


def _wait_for(api: httpx.Client) -> None:
    """Its first start makes a database, which takes a minute."""
    for _ in range(600):
        try:
            if api.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError("Label Studio did not start")
