"""Takes queued jobs to the model, those about one video together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.serve.job_store import Job, JobStore
from bridge_stg.serve.metrics import Metrics
from bridge_stg.serve.model_process import ModelError, ModelProcess, ModelRequest, StoppedError
from bridge_stg.serve.schemas import AskOptions
from bridge_stg.serve.settings import Limits
from bridge_stg.serve.uploads import Uploads

log = logging.getLogger("bridge_stg.serve")
# How often the clock looks for uploads that nobody uses any more.
_SWEEP_SECONDS = 30.0
# Answers outlive their videos.
KEEP_RESULTS = 30 * 24 * 3600.0


class Runner(threading.Thread):
    """One thread for one model. ``wake`` it when there is a new job; ``finish`` ends it."""

    def __init__(
        self,
        model: ModelProcess,
        store: JobStore,
        uploads: Uploads,
        metrics: Metrics,
        limits: Limits,
        keep: float,
    ) -> None:
        super().__init__(name="bridge-stg-runner", daemon=True)
        self.model, self.store, self.uploads, self.metrics = model, store, uploads, metrics
        self.limits, self.keep = limits, keep
        self.seconds_per_job = 1.0
        self._awake = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        self._awake.set()

    def finish(self) -> None:
        """Stop after the stage at hand; what is not answered stays in the queue for the next start."""
        self._stopping.set()
        self._awake.set()
        self.join()
        self.model.stop()

    def run(self) -> None:
        swept = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - swept > _SWEEP_SECONDS or self.keep < _SWEEP_SECONDS:
                swept = time.monotonic()
                self._sweep()

            # Cleared before the queue is read: a job that comes in between wakes the next wait.
            self._awake.clear()
            batch = self.store.claim(self.limits.queries_per_job)
            if batch:
                self._run_batch(batch)
            else:
                self._awake.wait(timeout=min(_SWEEP_SECONDS, max(self.keep, 1.0)))

    def _run_batch(self, batch: Sequence[Job]) -> None:
        """Answer jobs about one video with one reading of it, and never let an exception end the thread."""
        started = time.monotonic()
        try:
            self._answer(batch)
        except Exception:
            log.exception("jobs of video %s failed", batch[0].video)
            self._fail(batch, "internal", "internal error; see the server's log")
        seconds = time.monotonic() - started

        self.metrics.job_seconds.observe(seconds)
        self.seconds_per_job = 0.8 * self.seconds_per_job + 0.2 * seconds / len(batch)
        for job in batch:
            now = self.store.job(job.id)
            if now is not None and now.status != "queued":
                self.metrics.jobs.labels(now.status).inc()

    def _answer(self, batch: Sequence[Job]) -> None:
        video = self.store.video(batch[0].video, touch=True)
        if video is None:
            return self._fail(batch, "not_found", "the video was deleted before its turn came")

        # All sentences of the jobs as one request.
        ids = [job.id for job in batch]
        request = ModelRequest(
            self.uploads.path_of(video),
            tuple(query for job in batch for query in job.queries),
            AskOptions.model_validate_json(batch[0].options).to_options(),
        )

        try:
            results = self.model.ground(
                request,
                self.limits.job_timeout,
                on_stage=lambda stage: self.store.set_stage(ids, stage),
                wanted=lambda: not self._stopping.is_set() and bool(self.store.waiting_for(ids)),
            )
        except StoppedError:
            return self.store.requeue(ids)
        except InputError as problem:
            if len(batch) > 1:
                # One sentence that cannot be asked does not take the others with it.
                for job in batch:
                    self._answer([job])
                return None
            return self._fail(batch, "bad_input", self._without_path(str(problem), request))
        except ModelError as problem:
            return self._fail(batch, problem.code, self._without_path(str(problem), request))
        except BridgeSTGError as problem:
            return self._fail(batch, "failed", self._without_path(str(problem), request))

        return self._deliver(batch, results, video.name)

    def _deliver(self, batch: Sequence[Job], results: list[dict[str, Any]], name: str) -> None:
        """Each job its own results, in which the video has the name that the client gave it."""
        if len(batch) > 1:
            self.metrics.batched.inc(len(batch))
        for job in batch:
            mine, results = results[: len(job.queries)], results[len(job.queries) :]
            self.store.finish(job.id, [{**result, "video": name} for result in mine])
            self.metrics.sentences.inc(len(mine))

    def _fail(self, batch: Sequence[Job], code: str, message: str) -> None:
        for job in batch:
            self.store.fail(job.id, code, message)

    def _without_path(self, message: str, request: ModelRequest) -> str:
        return message.replace(f"{request.video}: ", "").replace(str(request.video), "the video")

    def _sweep(self) -> None:
        now = time.time()
        for video in self.store.videos_unused_since(now - self.keep):
            self.uploads.remove(video)
        self.store.forget_jobs_before(now - KEEP_RESULTS)
