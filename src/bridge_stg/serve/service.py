"""One running service: its store, its uploads, its model, and what the routes ask of them."""

from __future__ import annotations

import asyncio
import math
import secrets
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pebble import ProcessExpired

from bridge_stg.errors import InputError, unwritable
from bridge_stg.prompting.templates import check_query
from bridge_stg.serve.files_out import check_results, draw
from bridge_stg.serve.job_store import Job, JobStore, StoredVideo
from bridge_stg.serve.metrics import Metrics
from bridge_stg.serve.model_process import ModelProcess
from bridge_stg.serve.problems import ServiceError, not_found
from bridge_stg.serve.runner import Runner
from bridge_stg.serve.samples import SampleClips
from bridge_stg.serve.schemas import FINISHED, AskOptions, ErrorDetail, JobView, TubeResult, VideoView
from bridge_stg.serve.settings import ServiceSettings
from bridge_stg.serve.uploads import Uploads, side_pool

# How often a waiting request looks at its job.
_POLL = 0.05
_SSE_KEEPALIVE = 15.0


class Service:
    """Made before the server listens, so that a model that cannot be loaded is reported at once.

    Raises:
        InputError: the folder cannot be written, another service uses it, or the checkpoint cannot be used.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings, self.limits = settings, settings.limits
        self.closing = False
        folder = settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "service.lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{folder}: another service uses this folder; give another --folder") from None
        except OSError as problem:
            raise unwritable(folder, problem, "give another --folder") from problem

        # What a client sends is received beside where it will lie, not on a small /tmp.
        incoming = folder / "incoming"
        incoming.mkdir(exist_ok=True)
        tempfile.tempdir = str(incoming)

        self.metrics = Metrics()
        self.model = ModelProcess(settings.model)
        self.facts = self.model.start()
        self.store = JobStore(folder / "jobs.sqlite")
        self.uploads = Uploads(folder / "videos", self.store, self.limits)
        self.samples = SampleClips(folder / "samples")
        self.runner = Runner(self.model, self.store, self.uploads, self.metrics, self.limits, settings.keep)
        self._drawing = side_pool()

    def start(self) -> None:
        self.runner.start()

    def close(self) -> None:
        """End after the stage at hand; the queue waits in the database."""
        self.closing = True
        if self.runner.is_alive():
            self.runner.finish()
        else:
            self.model.stop()
        self.uploads.close()
        self._drawing.stop()  # type: ignore[no-untyped-call]
        self._drawing.join()
        self.store.close()
        self._lock.release()

    # --- videos

    def video(self, video_id: str) -> StoredVideo:
        video = self.store.video(video_id, touch=True)
        if video is None or not self.uploads.path_of(video).is_file():
            raise not_found("video")
        return video

    def video_view(self, video: StoredVideo) -> VideoView:
        return VideoView(id=video.id, name=video.name, **video.info)

    # --- jobs

    def submit(self, video: StoredVideo, queries: list[str], options: AskOptions) -> Job:
        """Queue sentences about a video.

        Raises:
            ServiceError: 422 for a bad sentence, 429 when the queue is full, 503 when stopping.
        """
        if self.closing:
            raise ServiceError(503, "stopping", "the service is stopping", {"Retry-After": "5"})
        if len(queries) > self.limits.queries_per_job:
            raise ServiceError(
                422,
                "too_many_queries",
                f"{len(queries)} sentences; at most {self.limits.queries_per_job} a job",
            )
        for query in queries:
            check_query(query)
            if len(query) > self.limits.query_letters:
                raise ServiceError(
                    422, "query_too_long", f"a sentence has at most {self.limits.query_letters} letters"
                )
        self._check_window(video, options)
        options.to_options()

        job = Job(secrets.token_hex(12), video.id, tuple(queries), options.model_dump_json())
        if not self.store.add_job(job, self.limits.queued_jobs):
            wait = math.ceil(min(max(self.store.queued() * self.runner.seconds_per_job, 1.0), 600.0))
            raise ServiceError(
                429,
                "busy",
                f"{self.limits.queued_jobs} jobs are waiting; try again in {wait} s",
                {"Retry-After": str(wait)},
            )
        self.runner.wake()
        return job

    def job(self, job_id: str) -> Job:
        job = self.store.job(job_id)
        if job is None:
            raise not_found("job")
        return job

    def cancel(self, job_id: str) -> Job:
        job = self.store.cancel(job_id)
        if job is None:
            raise not_found("job")
        return job

    def job_view(self, job: Job) -> JobView:
        results = None if job.results is None else [TubeResult.model_validate(one) for one in job.results]
        return JobView(
            id=job.id,
            video=job.video,
            status=job.status,
            stage=job.stage,
            queries=list(job.queries),
            created=job.created,
            started=job.started,
            finished=job.finished,
            results=results,
            error=None if job.error is None else ErrorDetail(code=job.error[0], message=job.error[1]),
        )

    async def watch(self, job_id: str) -> AsyncIterator[Job | None]:
        """The job whenever its status or stage changes, to its end; None at times, to keep the line open."""
        before: tuple[str, str | None] | None = None
        last_sent = asyncio.get_running_loop().time()
        while not self.closing:
            job = self.store.job(job_id)
            if job is None:
                return
            now = asyncio.get_running_loop().time()
            if (job.status, job.stage) != before:
                before, last_sent = (job.status, job.stage), now
                yield job
            elif now - last_sent > _SSE_KEEPALIVE:
                last_sent = now
                yield None
            if job.status in FINISHED:
                return
            await asyncio.sleep(_POLL)

    async def wait(self, job_id: str) -> Job:
        """The finished job.

        Raises:
            ServiceError: it failed or was cancelled, or the service stops meanwhile.
        """
        last: Job | None = None
        async for job in self.watch(job_id):
            last = job or last
        if last is None or last.status not in FINISHED:
            raise ServiceError(503, "stopping", "the service is stopping; ask again", {"Retry-After": "5"})
        if last.status == "cancelled":
            raise ServiceError(409, "cancelled", "the job was cancelled")
        if last.error is not None:
            code, message = last.error
            status = {"bad_input": 422, "not_found": 404, "timeout": 504}.get(code, 500)
            raise ServiceError(status, code, message)
        return last

    # --- files

    def annotated(self, video: StoredVideo, result: dict[str, Any], name: str) -> Path:
        """The video with ``result`` drawn on it, made once per ``name``.

        Raises:
            ServiceError: 422 where the result is of another video, 504 when drawing takes too long.
        """
        out = self.uploads.folder / f"{video.id}-{name}.mp4"
        if out.is_file():
            return out
        checked = check_results([result])[0]
        if (checked.info.width, checked.info.height) != (video.info["width"], video.info["height"]):
            raise ServiceError(422, "other_video", "the result is about a video of another size")
        # The file's own facts, whatever the client says of them.
        shown = replace(checked, query=checked.query[: self.limits.query_letters]).to_json()
        shown["video_info"] = video.info
        future = self._drawing.schedule(
            draw,
            args=[shown, str(self.uploads.path_of(video)), str(out)],
            timeout=self.limits.drawing_timeout,
        )
        try:
            future.result()
        except FutureTimeout:
            raise ServiceError(504, "timeout", "drawing the video took too long") from None
        except ProcessExpired:
            raise ServiceError(500, "died", "the process that draws died") from None
        return out

    def _check_window(self, video: StoredVideo, options: AskOptions) -> None:
        window, duration = options.window, video.info["duration"]
        if window is not None and not window.start < min(window.end, duration):
            raise ServiceError(
                422, "bad_window", f"the window is empty or outside the video of {duration:.2f} s"
            )
