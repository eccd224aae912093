"""A typed client of ``bridge-stg serve``: neither torch nor the model is needed where it runs.

>>> client = Client("http://127.0.0.1:8000")                        # doctest: +SKIP
>>> client.ground("clip.mp4", ["the red circle that moves left"])     # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import httpx2 as httpx

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.types import AnswerStyle, GroundingResult, TimeSpan

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
_FINISHED: tuple[JobStatus, ...] = ("done", "failed", "cancelled")
_POLL = 0.2


class RefusedError(BridgeSTGError):
    """The service answered with an error; ``status`` is HTTP's, ``code`` the service's own word."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(frozen=True)
class JobState:
    """Where a job is; ``results`` is empty until it is done, ``error`` is (code, message) of a failed one."""

    id: str
    video: str
    status: JobStatus
    stage: str | None
    results: tuple[GroundingResult, ...] = ()
    error: tuple[str, str] | None = None

    @property
    def finished(self) -> bool:
        return self.status in _FINISHED


class Client:
    """One service at one address; use it as a context manager, or ``close`` it.

    Args:
        address: such as ``http://127.0.0.1:8000``.
        token: the service's bearer token, if it asks for one.
        timeout: seconds for one answer, and for waiting while the service is busy.
    """

    def __init__(
        self, address: str = "http://127.0.0.1:8000", token: str | None = None, timeout: float = 600.0
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.timeout = timeout
        try:
            url = httpx.URL(address)
            usable = url.scheme in ("http", "https") and bool(url.host)
        except httpx.InvalidURL:
            usable = False
        if not usable:
            raise InputError(f"{address}: not an address; give one such as http://127.0.0.1:8000")
        self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def ground(
        self,
        video: str | Path,
        queries: Sequence[str],
        *,
        box_fps: float | None = None,
        window: TimeSpan | None = None,
        answer: AnswerStyle | None = None,
        careful: bool = False,
    ) -> list[GroundingResult]:
        """Upload a video, find each of the sentences, and delete the upload.

        Args:
            box_fps: boxes per second inside the window; default: the frames that the model reads.
            window: replaces the predicted window.
            answer: "direct" (the window alone) or "scan" (second by second first); default: as the checkpoint
                was trained.
            careful: look several times and take what half of them agree on; about four times as long.

        Raises:
            RefusedError: the service refuses or fails, or stays busy for the whole timeout.
            InputError: the file cannot be read.
        """
        queries = [queries] if isinstance(queries, str) else queries
        stored = self.upload(video)
        try:
            job = self.submit(stored, queries, box_fps=box_fps, window=window, answer=answer, careful=careful)
            state = self.wait(job)
        finally:
            self.delete(stored)
        if state.status != "done":
            code, message = state.error or (state.status, f"the job was {state.status}")
            raise RefusedError(200, code, message)
        return list(state.results)

    def upload(self, video: str | Path) -> str:
        """Store a video; returns its id."""
        path = Path(video)
        try:
            with path.open("rb") as file:
                return str(self._ask("POST", "/v1/videos", files={"video": (path.name, file)})["id"])
        except OSError as problem:
            raise InputError(f"{path}: cannot be read ({problem.strerror}); give a video file") from problem

    def submit(
        self,
        video_id: str,
        queries: Sequence[str],
        *,
        box_fps: float | None = None,
        window: TimeSpan | None = None,
        answer: AnswerStyle | None = None,
        careful: bool = False,
    ) -> str:
        """Queue sentences about a stored video; returns the job. Asks again while the queue is full."""
        options: dict[str, Any] = {} if box_fps is None else {"box_fps": box_fps}
        if window is not None:
            options["window"] = {"start": window.start, "end": window.end}
        if answer is not None:
            options["answer"] = answer
        if careful:
            options["careful"] = careful
        body = {"queries": list(queries), "options": options}
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return str(self._ask("POST", f"/v1/videos/{video_id}/ground", json=body)["job"])
            except RefusedError as problem:
                pause = problem.retry_after or 1.0
                if problem.status != 429 or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)

    def job(self, job_id: str) -> JobState:
        """Where a job is now."""
        return _state(self._ask("GET", f"/v1/jobs/{job_id}"))

    def wait(self, job_id: str) -> JobState:
        """The job once it has ended, in whatever way."""
        while not (state := self.job(job_id)).finished:
            time.sleep(_POLL)
        return state

    def events(self, job_id: str) -> Iterator[tuple[JobStatus, str | None]]:
        """(status, stage) at each change, to the end of the job."""
        import json

        with self._stream(f"/v1/jobs/{job_id}/events") as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    told = json.loads(line.removeprefix("data: "))
                    yield told["status"], told["stage"]

    def cancel(self, job_id: str) -> JobState:
        """Cancel a job; one that has ended stays what it is."""
        return _state(self._ask("DELETE", f"/v1/jobs/{job_id}"))

    def annotated(self, video_id: str, job_id: str, out: str | Path, result: int = 0) -> Path:
        """Write the video with one answer drawn on it."""
        where = f"/v1/videos/{video_id}/annotated"
        asked = self._stream(where, params={"job": job_id, "result": result})
        with asked as response, Path(out).open("wb") as file:
            for piece in response.iter_bytes():
                file.write(piece)
        return Path(out)

    def delete(self, video_id: str) -> None:
        """Delete an upload."""
        self._ask("DELETE", f"/v1/videos/{video_id}")

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._reached():
            response = self._http.request(method, path, **options)
        if response.status_code >= 400:
            raise _refusal(response)
        return response.json() if response.content else None

    @contextmanager
    def _stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """An answer whose body comes bit by bit."""
        with self._reached(), self._http.stream("GET", path, **options) as response:
            if response.status_code != 200:
                response.read()
                raise _refusal(response)
            yield response

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Inside, a service that does not answer, or stops in the middle, is an error of this package."""
        try:
            yield
        except httpx.TransportError as problem:
            raise BridgeSTGError(
                f"{self._http.base_url}: no answer ({type(problem).__name__}); is bridge-stg serve running?"
            ) from problem


def _refusal(response: httpx.Response) -> RefusedError:
    retry = response.headers.get("Retry-After", "")
    pause = float(retry) if retry.isdecimal() else None
    try:
        error = response.json()["error"]
        return RefusedError(response.status_code, error["code"], error["message"], pause)
    except (ValueError, KeyError, TypeError):
        # Not ours: a proxy between here and there.
        return RefusedError(response.status_code, "unknown", f"HTTP {response.status_code}", pause)


def _state(told: Any) -> JobState:
    error = told["error"]
    return JobState(
        id=told["id"],
        video=told["video"],
        status=told["status"],
        stage=told["stage"],
        results=tuple(GroundingResult.from_json(one) for one in told["results"] or ()),
        error=None if error is None else (error["code"], error["message"]),
    )
