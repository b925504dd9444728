"""A fresh database a test, on the server of this process, and the figures that the tests found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from servers.postgres_server import Database, PostgresServer, shared_postgres

FIGURES: list[str] = []


@pytest.fixture(scope="session")
def server() -> PostgresServer:
    started = shared_postgres()
    FIGURES.append(f"Postgres {started.version}")
    return started


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    made = server.database()
    yield made
    made.drop()


@pytest.fixture
def bare_database(server: PostgresServer) -> Iterator[Database]:
    made = server.bare_database()
    yield made
    made.drop()


@pytest.fixture(scope="session")
def tell() -> Callable[[str], None]:
    """Print a figure once, at the end."""
    return FIGURES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("what the tests on Postgres found")
        terminalreporter.write_line("\n".join(FIGURES))
