"""Ray Data: one model per worker, one video at a time, answers as they come."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from bridge_stg.batch.questions import VideoQuestions
from bridge_stg.batch.workers import Answer, Attempts, BatchModel, VideoWorker
from bridge_stg.errors import BridgeSTGError, InputError, one_line

# Videos of one task, at most: their answers come together.
_VIDEOS_PER_TASK = 4
_MOST_TASKS = 20_000
# Answers that may wait for a client, and seconds after which it looks whether the other side still runs.
_WAITING, _PATIENCE = 1000, 1.0
# How Ray begins to log what a cluster answers, and what it calls a token that is missing or wrong.
_REFUSED, _TOKEN = "Received when checking init: ", "authentication token"
_GIVE_TOKEN = "set RAY_AUTH_MODE=token and the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
# Seconds in which a cluster has to take a connection.
_REACHED = 10.0


def run(
    asked: Sequence[VideoQuestions], model: BatchModel, address: str, workers: int | None
) -> Iterator[Answer]:
    """The answers to all questions, in any order.

    Args:
        address: "local" starts Ray on this machine for this run; "auto" joins the cluster of this machine, and
            ``ray://HOST:PORT`` one that this machine is no part of.
        workers: models that are loaded; None is one per GPU, else one per core.

    Raises:
        BridgeSTGError: Ray cannot be started or reached, or the model cannot be loaded.
    """
    _check_listening(address)
    _settle_environment()
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    heard: list[str] = []
    try:
        with _silent_stderr(), _refusals_into(heard):
            ray.init(address=address, include_dashboard=False if address == "local" else None, **quiet)
    except Exception as problem:
        raise _not_joined(address, problem, heard) from problem

    texts = [json.dumps(asdict(one)) for one in asked]
    try:
        streamed = _from_afar if address.startswith("ray://") else _answers
        for line in streamed(texts, model, workers):
            yield Answer(**json.loads(line))
    except ray.exceptions.RayError as problem:
        raise BridgeSTGError(f"a worker failed: {_cause(problem)}") from problem
    except ConnectionError as problem:
        raise BridgeSTGError(
            f"--address {address}: the cluster is gone ({one_line(problem, 200)}); the same command goes on"
        ) from problem
    finally:
        ray.shutdown()


def _not_joined(address: str, problem: Exception, heard: Sequence[str]) -> BridgeSTGError:
    """The error for a Ray that does not start, or does not take us; ``heard`` is what it said to us itself."""
    reason = heard[-1] if heard else one_line(problem, 200)
    if _TOKEN in reason.lower():
        # What follows the first sentence is Ray's own advice, which is cut somewhere.
        return InputError(f"--address {address}: {reason.partition('. ')[0]}; {_GIVE_TOKEN}")
    if isinstance(problem, ConnectionError | ValueError | RuntimeError):
        return InputError(f"--address {address}: no Ray there ({reason})")
    # Of no class of its own: it gives its processes half a minute to start.
    return BridgeSTGError(f"Ray did not start ({reason}); the same command tries again")


@contextmanager
def _refusals_into(heard: list[str]) -> Iterator[None]:
    """Keep what a cluster answers to a client that it does not take: Ray logs it and reports a timeout."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _, refused, reason = record.getMessage().partition(_REFUSED)
            if refused:
                heard.append(one_line(reason, 200))

    log, listener = logging.getLogger("ray.util.client.worker"), Listener()
    level, propagates = log.level, log.propagate
    log.addHandler(listener)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = propagates


def _check_listening(address: str) -> None:
    """Raise InputError when nobody listens at an address with a port; Ray would ask it for many minutes."""
    try:
        place = urlsplit(address if "//" in address else f"//{address}")
        if place.hostname is None or place.port is None:
            return
    except ValueError:  # Ray says what is wrong with it
        return
    try:
        socket.create_connection((place.hostname, place.port), timeout=_REACHED).close()
    except (OSError, UnicodeError) as problem:
        raise InputError(
            f"--address {address}: no Ray there ({one_line(problem, 200)}); start one, or leave --address out"
        ) from problem


def _answers(texts: Sequence[str], model: BatchModel, workers: int | None) -> Iterator[str]:
    """Answers as lines of JSON, by Ray Data, in a process that belongs to the cluster."""
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    gpus = int(ray.cluster_resources().get("GPU", 0))
    cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
    count = min(workers or gpus or cores, len(texts))
    tasks = min(max(-(-len(texts) // _VIDEOS_PER_TASK), count), _MOST_TASKS, len(texts))
    attempts = ray.remote(Attempts).options(num_cpus=0).remote()

    data = ray.data.from_items([{"video_questions": text} for text in texts], override_num_blocks=tasks)
    answered = data.map_batches(
        VideoWorker,
        fn_constructor_args=(model, attempts),
        batch_size=1,
        num_cpus=cores / max(count, 1) if not gpus else 1,
        num_gpus=1 if gpus else None,
        compute=ray.data.ActorPoolStrategy(size=count),
    )
    for row in answered.iter_rows():
        yield row["answer"]


def _from_afar(texts: Sequence[str], model: BatchModel, workers: int | None) -> Iterator[str]:
    """The same for a client of the cluster; Ray Data does not run in a client, so a task there runs it."""
    import ray
    from ray.util.queue import Empty, Queue

    queue = Queue(_WAITING, actor_options={"num_cpus": 0})
    task = ray.remote(_fill).options(num_cpus=0, max_retries=0).remote(queue, list(texts), model, workers)
    running = True
    while running:
        # What came between the last look into the queue and the end of the task is still taken out.
        running = not ray.wait([task], timeout=0)[0]
        try:
            while True:
                yield queue.get(timeout=_PATIENCE)
        except Empty:
            pass
    ray.get(task)  # raises what ended it, if anything did


def _fill(queue: Any, texts: Sequence[str], model: BatchModel, workers: int | None) -> None:
    _settle_environment()
    for line in _answers(texts, model, workers):
        queue.put(line)


def _settle_environment() -> None:
    """Before Ray is imported: the environment of a worker is copied from here."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its core warns on stderr of what a restarted worker would lack; this package reports a lost worker itself.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray's workers step aside for every other process; here they are what the command was given for.
    os.environ.setdefault("RAY_worker_niceness", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Silence stderr for compiled code too: Ray's core prints its log level there."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _cause(problem: Exception) -> str:
    """The last line of Ray's message, which is the worker's own error."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else problem)
