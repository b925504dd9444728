"""The places of the suite; only `-m hosted` lets it near a real project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts import builders
from contracts.builders import FacePlace, PeoplePlace


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A key in the environment is no consent: without `-m hosted` nothing goes there."""
    if "hosted" in config.getoption("markexpr", ""):
        return
    hosted = [item for item in items if item.get_closest_marker("hosted")]
    if hosted:
        config.hook.pytest_deselected(items=hosted)
        items[:] = [item for item in items if item not in set(hosted)]


@pytest.fixture(scope="session", autouse=True)
def _servers_end() -> Iterator[None]:
    yield
    builders.SERVERS.close()


@pytest.fixture(params=builders.PEOPLE)
def people_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PeoplePlace]:
    """Where people are kept: each of them in turn."""
    with builders.clients_closed():
        yield from request.param(tmp_path)


@pytest.fixture(params=builders.FACES)
def face_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FacePlace]:
    """Where faces are kept: each of them in turn."""
    with builders.clients_closed():
        yield from request.param(tmp_path)
