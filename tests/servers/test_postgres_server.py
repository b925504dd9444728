"""The throwaway Postgres: what a project has, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from servers.postgres_server import OWNER, PostgresServer, shared_postgres

TESTS = Path(__file__).resolve().parents[1]
OWNS_ONE = (
    "from servers.postgres_server import PostgresServer\n"
    "import sys, time\n"
    "server = PostgresServer()\n"
    "print(server.folder, server.port, flush=True)\n"
)


def gone(folder: Path, port: int, seconds: float = 20) -> bool:
    """Neither the folder nor anybody on the port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not folder.exists():
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(f"host=127.0.0.1 port={port} user={OWNER} dbname=postgres")
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)", "1 / 0", "time.sleep(60)"])
def test_a_server_goes_with_its_process_however_that_ends(ending):
    shared_postgres()  # skips where there is no Postgres at all
    process = subprocess.Popen(
        [sys.executable, "-c", OWNS_ONE + ending],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process, process.stdout as told:  # type: ignore[union-attr]
        folder, port = told.readline().split()
        if ending.startswith("time"):
            assert Path(folder).is_dir()
            process.send_signal(signal.SIGKILL)
    assert gone(Path(folder), int(port))


def test_a_stopped_server_leaves_nothing():
    with PostgresServer() as server:
        database = server.database()
        with database.connect() as db:
            assert db.execute("select fc_version()").fetchone() == (1,)
    assert gone(server.folder, server.port)


def test_roles_and_limits_are_those_of_a_project():
    with PostgresServer() as server, server.bare_database().connect("authenticator") as db:
        roles = {
            name: [word for word, is_so in zip(("super", "bypass", "login"), rights, strict=True) if is_so]
            for name, *rights in db.execute("select rolname, rolsuper, rolbypassrls, rolcanlogin from pg_roles")
        }
        assert {name: rights for name, rights in roles.items() if not name.startswith("pg_")} == {
            "anon": [],
            "authenticated": [],
            "service_role": ["bypass"],
            "authenticator": ["login"],
            "postgres": ["login"],
            "supabase_admin": ["super", "bypass", "login"],
        }
        assert db.execute("show statement_timeout").fetchone() == ("8s",)
        for role in ("postgres", "supabase_admin"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
                db.execute(f"set role {role}")  # type: ignore[arg-type]


def test_two_databases_know_nothing_of_each_other():
    one, other = shared_postgres().bare_database(), shared_postgres().bare_database()
    one.run("create table public.mine (a int)")
    with pytest.raises(psycopg.errors.UndefinedTable), other.connect() as db:
        db.execute("select * from public.mine")
    one.drop()
    other.drop()


def test_the_order_of_text_is_not_that_of_its_bytes_unless_it_is_asked_for():
    """Where it were, a page that goes by text without `collate "C"` would seem right."""
    with shared_postgres().bare_database().connect() as db:
        if db.execute("select datlocprovider from pg_database where datname = current_database()").fetchone() != ("i",):
            pytest.skip("this Postgres was built without ICU")
        assert db.execute("select 'a' < 'B', 'a' collate \"C\" < 'B'").fetchone() == (True, False)
