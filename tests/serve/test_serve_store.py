"""The queue in SQLite: order, batches, restarts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bridge_stg.serve.job_store import Job, JobStore, StoredVideo


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "jobs.sqlite")


def add(store: JobStore, name: str, video: str = "v", queries: int = 1, options: str = "{}") -> None:
    assert store.add_job(Job(name, video, tuple(f"q{i}" for i in range(queries)), options), most_queued=10)


def test_jobs_of_one_video_asked_in_one_way_run_together_in_their_order(store: JobStore) -> None:
    add(store, "a")
    add(store, "b", video="other")
    add(store, "c", options='{"box_fps":4}')
    add(store, "d")
    assert [job.id for job in store.claim(8)] == ["a", "d"]
    assert [job.id for job in store.claim(8)] == ["b"]
    assert [job.id for job in store.claim(8)] == ["c"]
    assert store.claim(8) == []


def test_a_batch_holds_no_more_sentences_than_allowed_but_always_a_job(store: JobStore) -> None:
    add(store, "a", queries=5)
    add(store, "b", queries=2)
    add(store, "c", queries=2)
    assert [job.id for job in store.claim(4)] == ["a"]
    assert [job.id for job in store.claim(4)] == ["b", "c"]


def test_a_full_queue_takes_nothing(store: JobStore) -> None:
    assert store.add_job(Job("a", "v", ("q",), "{}"), most_queued=1)
    assert not store.add_job(Job("b", "v", ("q",), "{}"), most_queued=1)
    assert store.job("b") is None


def test_a_cancelled_job_stays_cancelled_whatever_comes_of_it(store: JobStore) -> None:
    add(store, "a")
    store.claim(8)
    store.cancel("a")
    store.finish("a", [{}])
    store.fail("a", "x", "y")
    store.requeue(["a"])
    job = store.job("a")
    assert job is not None
    assert (job.status, job.results, job.error) == ("cancelled", None, None)


def test_a_restart_keeps_answers_and_asks_again_what_ran(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    add(store, "done")
    store.claim(8)
    store.finish("done", [{"query": "q"}])
    add(store, "running")
    store.claim(8)
    add(store, "waiting")
    store.close()
    again = JobStore(tmp_path / "jobs.sqlite")
    done = again.job("done")
    assert done is not None
    assert done.results == ({"query": "q"},)
    assert [job.id for job in again.claim(8)] == ["running", "waiting"]


def test_a_video_that_a_job_waits_for_is_not_swept(store: JobStore) -> None:
    for name in ("old", "wanted"):
        store.add_video(StoredVideo(name, "clip", f"{name}.mp4", {}, used=1.0))
    store.add_video(StoredVideo("new", "clip", "new.mp4", {}, used=time.time()))
    add(store, "a", video="wanted")
    assert [video.id for video in store.videos_unused_since(time.time() - 60)] == ["old"]
