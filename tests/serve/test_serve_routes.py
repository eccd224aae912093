"""The routes, asked over real HTTP; every answer is compared with the library's own."""

from __future__ import annotations

import json
import re
import socket
import struct
import zipfile
import zlib
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx2 as httpx
import pytest
from support.service import RunningService
from support.video_files import write_file

from bridge_stg.client import Client, RefusedError
from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.types import TimeSpan

# Two questions that the first clip answers.
QUERIES = ["an object moving down", "which white object grows?"]


@pytest.fixture(scope="module")
def truth(clip: Path) -> list[dict[str, Any]]:
    """What the library answers about the clip."""
    from bridge_stg import VideoGrounder

    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    return [result.to_json() for result in grounder.ground_many(clip, QUERIES)]


@pytest.fixture(scope="module")
def video(http: httpx.Client, clip: Path) -> str:
    response = http.post("/v1/videos", files={"video": ("my clip.mp4", clip.read_bytes())})
    assert response.status_code == 201
    return str(response.json()["id"])


def same(results: list[dict[str, Any]], truth: list[dict[str, Any]]) -> bool:
    plain = [{**one, "timing_ms": {}, "video": ""} for one in results]
    return plain == [{**one, "timing_ms": {}, "video": ""} for one in truth]


def blank_png(side: int) -> bytes:
    """A white picture of ``side`` x ``side``, one bit a pixel: all but nothing as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff" * (side // 8)) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def refusal(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert "\n" not in body["error"]["message"]
    return response.status_code, body["error"]["code"]


def test_one_call_answers_as_the_library_does(
    http: httpx.Client, clip: Path, truth: list[dict[str, Any]]
) -> None:
    response = http.post("/v1/ground", files={"video": ("a.mp4", clip.read_bytes())}, data={"query": QUERIES})
    assert response.status_code == 200
    results = response.json()
    assert same(results, truth)
    assert {one["video"] for one in results} == {"a.mp4"}
    assert [one["status"] for one in results] == ["ok", "ok"]


def test_a_job_is_followed_to_its_end_and_keeps_its_answer(
    http: httpx.Client, video: str, truth: list[dict[str, Any]]
) -> None:
    job = http.post(f"/v1/videos/{video}/ground", json={"queries": QUERIES}).json()["job"]
    with http.stream("GET", f"/v1/jobs/{job}/events") as stream:
        told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert told[-1] == {"id": job, "status": "done", "stage": None}
    view = http.get(f"/v1/jobs/{job}").json()
    assert view["status"] == "done"
    assert same(view["results"], truth)
    assert http.delete(f"/v1/jobs/{job}").json()["status"] == "done"


def test_jobs_of_one_video_share_its_reading_and_get_their_own_answers(
    http: httpx.Client, video: str, truth: list[dict[str, Any]]
) -> None:
    jobs = [
        http.post(f"/v1/videos/{video}/ground", json={"queries": [query]}).json()["job"]
        for query in [QUERIES[0], *QUERIES]
    ]
    with Client(str(http.base_url)) as client:
        states = [client.wait(job) for job in jobs]
    assert [state.results[0].query for state in states] == [QUERIES[0], *QUERIES]
    assert same([state.results[0].to_json() for state in states[1:]], truth)
    shared = re.search(r"^bridge_stg_batched_jobs_total ([0-9.]+)", http.get("/metrics").text, re.MULTILINE)
    assert shared is not None
    assert float(shared[1]) >= 2


def test_a_cancelled_job_has_no_results(http: httpx.Client, video: str) -> None:
    jobs = [
        http.post(f"/v1/videos/{video}/ground", json={"queries": QUERIES, "options": {"box_fps": rate}}).json()[
            "job"
        ]
        for rate in (11, 12)
    ]
    assert http.delete(f"/v1/jobs/{jobs[1]}").json()["status"] == "cancelled"
    with Client(str(http.base_url)) as client:
        assert client.wait(jobs[0]).status == "done"
        assert (client.job(jobs[1]).status, client.job(jobs[1]).results) == ("cancelled", ())


def test_options_reach_the_model(http: httpx.Client, video: str) -> None:
    with Client(str(http.base_url)) as client:
        state = client.wait(client.submit(video, [QUERIES[0]], box_fps=5.0, window=TimeSpan(1.0, 2.0)))
    result = state.results[0]
    assert result.window == TimeSpan(1.0, 2.0)
    assert result.tube is not None
    assert len(result.tube) == 5


def test_the_client_says_how_to_answer(service: RunningService, clip: Path) -> None:
    from bridge_stg import VideoGrounder

    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    with Client(service.address) as client:
        (short,) = client.ground(clip, [QUERIES[0]], answer="direct")
        (careful,) = client.ground(clip, [QUERIES[0]], careful=True)
    assert (short.answer_style, short.reasoning) == ("direct", "")
    assert same([short.to_json()], [grounder.ground(clip, QUERIES[0], answer="direct").to_json()])
    assert same([careful.to_json()], [grounder.ground(clip, QUERIES[0], careful=True).to_json()])
    # Four boxes a second, and no two answers are the same.
    assert careful.tube is not None
    assert short.tube is not None
    assert len(careful.tube) > 1.5 * len(short.tube)


def test_the_client_grounds_a_file_and_leaves_no_upload(
    service: RunningService, clip: Path, truth: list[dict[str, Any]]
) -> None:
    before = sorted((service.folder / "videos").iterdir())
    with Client(service.address) as client:
        results = client.ground(clip, QUERIES)
    assert same([one.to_json() for one in results], truth)
    assert sorted((service.folder / "videos").iterdir()) == before


def test_the_annotated_video_has_the_frames_of_the_source(http: httpx.Client, video: str, clip: Path) -> None:
    with Client(str(http.base_url)) as client:
        job = client.submit(video, [QUERIES[0]])
        client.wait(job)
    response = http.get(f"/v1/videos/{video}/annotated", params={"job": job})
    assert response.headers["content-type"] == "video/mp4"
    with av.open(BytesIO(response.content)) as drawn, av.open(str(clip)) as source:
        assert sum(1 for _ in drawn.decode(video=0)) == sum(1 for _ in source.decode(video=0))
    assert refusal(http.get(f"/v1/videos/{video}/annotated", params={"job": job, "result": 1}))[0] == 404


def test_corrected_results_are_exported(http: httpx.Client, video: str, truth: list[dict[str, Any]]) -> None:
    mended = {**truth[0], "window": {"start": 1.5, "end": 2.5}}

    def export(name: str) -> httpx.Response:
        return http.post(f"/v1/videos/{video}/export", json={"format": name, "results": [mended]})

    assert export("tube").json()[0]["window"] == {"start": 1.5, "end": 2.5}
    assert b"<track id=" in export("cvat").content
    assert export("labelstudio").json()[0]["data"]["video"] == "my clip.mp4"
    assert export("coco-vid").json()["tracks"][0]["query"] == QUERIES[0]
    with zipfile.ZipFile(BytesIO(export("mot").content)) as packed:
        assert any(name.endswith("gt/gt.txt") for name in packed.namelist())
    assert export("annotated").content[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("method", "path", "options", "wanted"),
    [
        ("GET", "/v1/nothing", {}, (404, "not_found")),
        ("GET", "/v1/jobs/..%2f..%2fetc", {}, (404, "not_found")),
        ("GET", "/v1/videos/no/file", {}, (404, "not_found")),
        ("GET", "/v1/jobs/no", {}, (404, "not_found")),
        ("GET", "/v1/jobs/no/events", {}, (404, "not_found")),
        ("PUT", "/v1/videos", {}, (405, "method_not_allowed")),
        ("POST", "/v1/videos", {}, (422, "invalid_request")),
        ("POST", "/v1/videos/no/ground", {"json": {"queries": ["a"]}}, (404, "not_found")),
        ("POST", "/v1/videos/no/ground", {"json": {}}, (422, "invalid_request")),
        ("POST", "/v1/videos/no/ground", {"content": b"{"}, (422, "invalid_request")),
        ("POST", "/v1/samples/no", {}, (404, "not_found")),
    ],
)
def test_every_refusal_has_one_form(
    http: httpx.Client, method: str, path: str, options: dict[str, Any], wanted: tuple[int, str]
) -> None:
    assert refusal(http.request(method, path, **options)) == wanted


def test_a_field_that_is_missing_is_named(http: httpx.Client, clip: Path) -> None:
    def said(path: str, **sent: Any) -> str:
        return http.post(path, **sent).json()["error"]["message"]

    assert said("/v1/ground", files={"video": clip.read_bytes()}) == "query: Field required"
    assert said("/v1/ground", data={"query": "a"}) == "video: Field required"
    assert said("/v1/videos/no/ground", json={}) == "queries: Field required"
    assert said("/v1/videos/no/ground") == "the body: Field required"


FORM, OPTIONS = (
    ("video", "query", "options"),
    ("box_fps", "window", "answer", "careful", "min_confidence", "chunk"),
)


@pytest.mark.parametrize(
    ("path", "sent", "unknown", "known"),
    [
        ("/v1/ground", {"data": {"query": "a", "task": "vot"}}, "task", (*FORM, *OPTIONS)),
        ("/v1/ground", {"data": {"query": "a", "style": "scan"}}, "style", (*FORM, *OPTIONS)),
        ("/v1/ground", {"data": {"qeury": "a"}}, "qeury", FORM),
        ("/v1/ground", {"data": {"query": "a", "options": '{"style": "scan"}'}}, "style", OPTIONS),
        ("/v1/ground?task=vot", {"data": {"query": "a"}}, "task", ()),
        ("/v1/videos", {"data": {"name": "a"}}, "name", ("video",)),
        ("/v1/videos/no/ground", {"json": {"queries": ["a"], "options": {"task": "vot"}}}, "task", OPTIONS),
        ("/v1/videos/no/ground", {"json": {"query": ["a"]}}, "query", ("queries", "options")),
        (
            "/v1/videos/no/ground",
            {"json": {"queries": ["a"], "options": {"window": {"begin": 1, "end": 2}}}},
            "begin",
            ("start", "end"),
        ),
        (
            "/v1/videos/no/export",
            {"json": {"kind": "cvat", "results": [{}]}},
            "kind",
            ("format", "results"),
        ),
    ],
)
def test_a_field_that_nobody_reads_is_refused_with_those_that_there_are(
    http: httpx.Client, clip: Path, path: str, sent: dict[str, Any], unknown: str, known: tuple[str, ...]
) -> None:
    if "json" not in sent:
        sent = sent | {"files": {"video": ("a.mp4", clip.read_bytes())}}
    response = http.post(path, **sent)
    assert refusal(response) == (422, "invalid_request")
    named = re.findall(r"\w+", response.json()["error"]["message"])
    assert {unknown, *known} <= set(named)


def test_a_parameter_of_an_address_that_nobody_reads_is_refused(http: httpx.Client, video: str) -> None:
    response = http.get(f"/v1/videos/{video}/annotated", params={"job": "a", "number": 1})
    assert refusal(response) == (422, "invalid_request")
    assert {"number", "job", "result"} <= set(re.findall(r"\w+", response.json()["error"]["message"]))


def test_a_field_that_counts_once_is_there_once(http: httpx.Client, clip: Path) -> None:
    files = [("video", ("a.mp4", clip.read_bytes())), ("video", ("b.mp4", clip.read_bytes()))]
    response = http.post("/v1/ground", files=files, data={"query": "a"})
    assert refusal(response) == (422, "invalid_request")
    assert response.json()["error"]["message"].startswith("video: ")


def test_a_body_that_is_no_json_is_called_so(http: httpx.Client) -> None:
    body = b'{"queries": [a]}'
    sent = {"content": body, "headers": {"Content-Type": "application/json"}}
    error = http.post("/v1/videos/no/ground", **sent).json()["error"]
    assert error["code"] == "invalid_request"
    assert error["message"].startswith("the body is not JSON")
    assert "13" in error["message"].split()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"queries": []}, "invalid_request"),
        ({"queries": [""]}, "bad_input"),
        ({"queries": ["a"] * 33}, "too_many_queries"),
        ({"queries": ["a" * 2001]}, "query_too_long"),
        ({"queries": ["a"], "options": {"box_fps": 0}}, "invalid_request"),
        ({"queries": ["a"], "options": {"chunk": 0.1}}, "invalid_request"),
        ({"queries": ["a"], "options": {"unknown": 1}}, "invalid_request"),
        ({"queries": ["a"], "options": {"window": {"start": 3, "end": 2}}}, "bad_window"),
        ({"queries": ["a"], "options": {"window": {"start": 1e5, "end": 2e5}}}, "bad_window"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(
    http: httpx.Client, video: str, body: dict[str, Any], code: str
) -> None:
    assert refusal(http.post(f"/v1/videos/{video}/ground", json=body)) == (422, code)


def test_a_sentence_that_is_too_long_for_the_model_fails_alone(http: httpx.Client, video: str) -> None:
    with Client(str(http.base_url)) as client:
        jobs = [client.submit(video, [text]) for text in (QUERIES[1], "word " * 399, QUERIES[0])]
        states = [client.wait(job) for job in jobs]
    assert [state.status for state in states] == ["done", "failed", "done"]
    assert states[1].error is not None
    assert states[1].error[0] == "bad_input"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"PK\x03\x04" + bytes(1000), (415, "unsupported_media")),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", (415, "unsupported_media")),
        (b"", (415, "unsupported_media")),
        (b"\0\0\0\x20ftypisom" + bytes(1000), (422, "unreadable_video")),
        (bytes(4 * 1024 * 1024), (413, "too_large")),
        # 400 million pixels in half a megabyte.
        (blank_png(20_000), (422, "unreadable_video")),
    ],
)
def test_hostile_files_are_refused_and_leave_nothing(
    service: RunningService, http: httpx.Client, content: bytes, wanted: tuple[int, str]
) -> None:
    before = sorted((service.folder / "videos").iterdir())
    response = http.post("/v1/videos", files={"video": ("../../a.mp4", content)})
    assert refusal(response) == wanted
    assert str(service.folder) not in response.text
    assert sorted((service.folder / "videos").iterdir()) == before
    assert list((service.folder / "incoming").iterdir()) == []


def test_a_body_without_a_length_is_cut_at_the_limit(http: httpx.Client) -> None:
    def zeros() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        for _ in range(64):
            yield bytes(1024 * 1024)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        response = http.post("/v1/videos", content=zeros(), headers=headers)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        return  # closed while we were still sending
    assert refusal(response) == (413, "too_large")


def test_a_body_that_says_it_is_too_large_is_not_waited_for(service: RunningService) -> None:
    parts = urlsplit(service.address)
    request = f"POST /v1/videos HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {5 * 1024**3}\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as line:
        line.sendall(f"{request}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        # Head and body of an answer may come one after the other.
        answer = HTTPResponse(line)
        answer.begin()
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["code"] == "too_large"


def test_another_sites_page_and_another_name_are_refused(http: httpx.Client) -> None:
    assert refusal(http.get("/health", headers={"Origin": "http://evil.example"})) == (403, "forbidden")
    assert refusal(http.get("/health", headers={"Host": "evil.example"})) == (403, "forbidden")
    own = str(http.base_url).rstrip("/")
    assert http.get("/health", headers={"Origin": own}).json()["status"] == "UP"


def test_a_client_that_leaves_cancels_its_job(service: RunningService, http: httpx.Client, clip: Path) -> None:
    parts = urlsplit(service.address)
    content = clip.read_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nan object moving down\r\n'
    head += b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    body = head + content + b"\r\n--x--\r\n"
    request = (
        f"POST /v1/ground HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    before = len(list((service.folder / "videos").iterdir()))
    with socket.create_connection((parts.hostname, parts.port)) as line:
        line.sendall(request.encode() + body)
    # The service is not disturbed, and the upload goes once it has seen that nobody waits.
    for _ in range(100):
        assert http.get("/health").status_code == 200
        if len(list((service.folder / "videos").iterdir())) == before:
            break
    else:
        import time

        time.sleep(5)
    assert len(list((service.folder / "videos").iterdir())) == before


def test_samples_are_stored_like_uploads(http: httpx.Client) -> None:
    sample = http.get("/v1/about").json()["samples"][0]
    stored = http.post(f"/v1/samples/{sample['name']}").json()
    assert stored["frames"] > 0
    response = http.get(f"/v1/videos/{stored['id']}/file", headers={"Range": "bytes=0-11"})
    assert (response.status_code, response.content[4:8]) == (206, b"ftyp")
    assert http.delete(f"/v1/videos/{stored['id']}").status_code == 204
    assert http.get(f"/v1/videos/{stored['id']}").status_code == 404


def test_the_client_says_that_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(address) as client:
        for call in (
            lambda: client.job("a"),
            lambda: list(client.events("a")),
            lambda: client.annotated("a", "b", tmp_path / "a.mp4"),
        ):
            with pytest.raises(BridgeSTGError, match="is bridge-stg serve running"):
                call()
    assert not list(tmp_path.iterdir())


def test_the_client_says_what_is_wrong(service: RunningService, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video", encoding="utf-8")
    with Client(service.address) as client, pytest.raises(RefusedError) as caught:
        client.ground(text, ["a"])
    assert (caught.value.status, caught.value.code) == (415, "unsupported_media")
    for address in ("127.0.0.1:8000", "localhost:8000", "ftp://localhost", "http://", "http://x:y", ""):
        with pytest.raises(InputError, match="not an address"):
            Client(address)


def test_a_variable_rate_video_goes_through(http: httpx.Client, tmp_path: Path) -> None:
    path = write_file(tmp_path / "slow.mkv", stamps=[0, 10, 50, 60, 90])
    response = http.post(
        "/v1/ground", files={"video": path.read_bytes()}, data={"query": "an object moving down"}
    )
    assert response.json()[0]["video_info"]["frames"] == 5


def test_a_note_of_every_answer_is_told_before_anything_is_asked(
    http: httpx.Client, truth: list[dict[str, Any]]
) -> None:
    limits = http.get("/v1/about").json()["limits_of_checkpoint"]
    shared = set(truth[0]["notes"]).intersection(*(one["notes"] for one in truth))
    assert shared
    assert shared <= set(limits)
