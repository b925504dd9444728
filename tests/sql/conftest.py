"""A fresh database a test, on the server of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from servers.postgres_server import Database, PostgresServer, shared_postgres


@pytest.fixture(scope="session")
def server(tell: Callable[[str], None]) -> PostgresServer:
    started = shared_postgres()
    tell(f"Postgres {started.version}")
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
