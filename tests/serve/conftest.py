"""One running service for all tests of the routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from support.service import RunningService, running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, shapes_data: Path) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service"), "shapes", "--max-upload", "2") as running:
        yield running


@pytest.fixture(scope="session")
def http(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.address, timeout=60) as client:
        yield client
