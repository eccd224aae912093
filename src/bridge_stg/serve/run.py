"""Runs the service: one socket, one process that listens, signals that end it in order."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

import uvicorn

from bridge_stg.errors import InputError
from bridge_stg.serve.app import create_app
from bridge_stg.serve.service import Service
from bridge_stg.serve.settings import ServiceSettings

# How long open connections may take to end once the service is told to stop.
_LAST_WORDS = 10


class _Server(uvicorn.Server):
    """Tells the service at the first signal, so that streams of events end and connections can close."""

    service: Service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.service.closing = True
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises:
        InputError: the address cannot be used.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(128)
    except (OSError, OverflowError) as problem:
        said = getattr(problem, "strerror", None) or str(problem)
        raise InputError(f"cannot listen on {host}:{port} ({said}); give another --host or --port") from problem
    return taken


def run(settings: ServiceSettings, host: str, port: int) -> None:
    """Serve until a signal; says on stderr where, once requests are answered.

    Raises:
        InputError: the address, the folder or the checkpoint cannot be used.
    """
    taken = listen(host, port)
    service = Service(settings)
    config = uvicorn.Config(
        create_app(service),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_LAST_WORDS,
        server_header=False,
    )
    server = _Server(config)
    server.service = service
    shown = f"[{host}]" if ":" in host else host
    print(
        f"serving {service.facts.checkpoint} on http://{shown}:{taken.getsockname()[1]} (Ctrl-C stops it)",
        file=sys.stderr,
        flush=True,
    )
    # The server hands the signal on when all is done: that is a normal end, with time to tidy up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run(sockets=[taken])
