"""Videos and jobs in SQLite: what has been answered is still there after a restart."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bridge_stg.serve.schemas import FINISHED, JobStatus

_TABLES = """
CREATE TABLE IF NOT EXISTS videos (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, info TEXT NOT NULL, used REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, video TEXT NOT NULL, queries TEXT NOT NULL, options TEXT NOT NULL,
    status TEXT NOT NULL, stage TEXT, results TEXT, error_code TEXT, error_message TEXT,
    created REAL NOT NULL, started REAL, finished REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created);
CREATE INDEX IF NOT EXISTS jobs_by_video ON jobs (video);
"""


@dataclass(frozen=True)
class StoredVideo:
    """``name`` is the client's, for people only; ``file`` is ours, below the folder of uploads."""

    id: str
    name: str
    file: str
    info: dict[str, Any]
    used: float


@dataclass(frozen=True)
class Job:
    """Times are seconds since 1970; ``options`` is the JSON that the client's were turned into."""

    id: str
    video: str
    queries: tuple[str, ...]
    options: str
    status: JobStatus = "queued"
    stage: str | None = None
    results: tuple[dict[str, Any], ...] | None = None
    error: tuple[str, str] | None = None
    created: float = 0.0
    started: float | None = None
    finished: float | None = None


class JobStore:
    """One connection, one lock: every call is a few reads or one write, and safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_TABLES)

        # What ran when the last server ended is asked again; its answer was never stored.
        self._write("UPDATE jobs SET status='queued', stage=NULL, started=NULL WHERE status='running'")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # --- videos

    def add_video(self, video: StoredVideo) -> None:
        info = json.dumps(video.info)
        self._write(
            "INSERT INTO videos VALUES (?, ?, ?, ?, ?)", video.id, video.name, video.file, info, video.used
        )

    def video(self, video_id: str, touch: bool = False) -> StoredVideo | None:
        """A stored video; ``touch`` begins its time to be kept anew."""
        with self._lock:
            row = self._one("SELECT * FROM videos WHERE id=?", video_id)
            if row is None:
                return None
            if touch:
                self._write("UPDATE videos SET used=? WHERE id=?", time.time(), video_id)
        return _video(row)

    def remove_video(self, video_id: str) -> None:
        self._write("DELETE FROM videos WHERE id=?", video_id)

    def videos_unused_since(self, moment: float) -> list[StoredVideo]:
        """Videos last used before ``moment`` that no job waits for."""
        rows = self._all(
            "SELECT * FROM videos WHERE used < ? AND id NOT IN "
            "(SELECT video FROM jobs WHERE status IN ('queued', 'running'))",
            moment,
        )
        return [_video(row) for row in rows]

    def video_files(self) -> set[str]:
        return {str(row["file"]) for row in self._all("SELECT file FROM videos")}

    # --- jobs

    def add_job(self, job: Job, most_queued: int) -> bool:
        """Queue a job; False, and nothing is stored, when ``most_queued`` wait already."""
        with self._lock:
            if self.queued() >= most_queued:
                return False
            self._write(
                "INSERT INTO jobs (id, video, queries, options, status, created) "
                "VALUES (?, ?, ?, ?, 'queued', ?)",
                job.id,
                job.video,
                json.dumps(job.queries),
                job.options,
                time.time(),
            )
        return True

    def job(self, job_id: str) -> Job | None:
        row = self._one("SELECT * FROM jobs WHERE id=?", job_id)
        return None if row is None else _job(row)

    def queued(self) -> int:
        return int(self._all("SELECT COUNT(*) FROM jobs WHERE status='queued'")[0][0])

    def claim(self, most_queries: int) -> list[Job]:
        """The oldest queued job and others that ask about the same video in the same way, now running.

        Args:
            most_queries: sentences of all of them together; the first job is taken whatever it holds.
        """
        with self._lock:
            rows = self._all("SELECT * FROM jobs WHERE status='queued' ORDER BY created, rowid LIMIT 1")
            if not rows:
                return []
            first = _job(rows[0])
            rows = self._all(
                "SELECT * FROM jobs WHERE status='queued' AND video=? AND options=? ORDER BY created, rowid",
                first.video,
                first.options,
            )
            taken: list[Job] = []
            for job in map(_job, rows):
                if taken and sum(len(one.queries) for one in (*taken, job)) > most_queries:
                    break
                taken.append(job)

            now = time.time()
            for job in taken:
                self._write("UPDATE jobs SET status='running', started=? WHERE id=?", now, job.id)
        return [replace(job, status="running", started=now) for job in taken]

    def set_stage(self, job_ids: list[str], stage: str) -> None:
        for job_id in job_ids:
            self._write("UPDATE jobs SET stage=? WHERE id=? AND status='running'", stage, job_id)

    def finish(self, job_id: str, results: list[dict[str, Any]]) -> None:
        """Done, unless it has been cancelled meanwhile."""
        self._write(
            "UPDATE jobs SET status='done', stage=NULL, results=?, finished=? WHERE id=? AND status='running'",
            json.dumps(results),
            time.time(),
            job_id,
        )

    def fail(self, job_id: str, code: str, message: str) -> None:
        """Failed for good, unless it has been cancelled meanwhile."""
        self._write(
            "UPDATE jobs SET status='failed', stage=NULL, error_code=?, error_message=?, finished=? "
            "WHERE id=? AND status IN ('queued', 'running')",
            code,
            message,
            time.time(),
            job_id,
        )

    def requeue(self, job_ids: list[str]) -> None:
        """Back to the queue, in its old place: a stopping server has not answered it."""
        for job_id in job_ids:
            self._write(
                "UPDATE jobs SET status='queued', stage=NULL, started=NULL WHERE id=? AND status='running'",
                job_id,
            )

    def cancel(self, job_id: str) -> Job | None:
        """A queued or running job is cancelled, a finished one stays what it is."""
        self._write(
            "UPDATE jobs SET status='cancelled', stage=NULL, finished=? "
            "WHERE id=? AND status IN ('queued', 'running')",
            time.time(),
            job_id,
        )
        return self.job(job_id)

    def waiting_for(self, job_ids: list[str]) -> list[str]:
        """Those of the jobs that are still wanted."""
        return [one for one in job_ids if (job := self.job(one)) is not None and job.status == "running"]

    def forget_jobs_before(self, moment: float) -> None:
        marks = ", ".join("?" for _ in FINISHED)
        self._write(f"DELETE FROM jobs WHERE status IN ({marks}) AND finished < ?", *FINISHED, moment)

    # --- SQL

    def _write(self, sql: str, *values: Any) -> None:
        with self._lock:
            self._db.execute(sql, values)

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return list(self._db.execute(sql, values))

    def _one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        rows = self._all(sql, *values)
        return rows[0] if rows else None


def _video(row: sqlite3.Row) -> StoredVideo:
    return StoredVideo(row["id"], row["name"], row["file"], json.loads(row["info"]), row["used"])


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        video=row["video"],
        queries=tuple(json.loads(row["queries"])),
        options=row["options"],
        status=row["status"],
        stage=row["stage"],
        results=None if row["results"] is None else tuple(json.loads(row["results"])),
        error=None if row["error_code"] is None else (row["error_code"], row["error_message"]),
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
    )
