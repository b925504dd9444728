"""A throwaway Postgres with the roles, grants and limits that a Supabase project has.

`shared_postgres()` starts one per test process, on its first use, and removes it when the process ends, however it
ends. `database()` copies a template in which the migrations ran; each test may have its own.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

MIGRATIONS = Path(__file__).resolve().parents[2] / "supabase" / "migrations"

SUPERUSER = "supabase_admin"
# Supabase's own `postgres` may bypass row level security. Ours may not, so that a table without forced policies, or a
# function that trusts in its owner's rights, is found out.
OWNER = "postgres"

ROLES = f"""
create role {OWNER} login createrole createdb nosuperuser nobypassrls;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator, {OWNER};
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
"""

# What a new project has before anybody touches it: everything new in `public` is open to the three roles of the API
# until it is revoked, and functions are open to PUBLIC as Postgres makes them.
PROJECT = f"""
create schema auth;
grant usage on schema auth to {OWNER}, anon, authenticated, service_role;
create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
                  nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create function auth.role() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role') $$;
grant usage on schema public to {OWNER}, anon, authenticated, service_role;
alter default privileges for role {OWNER} in schema public
  grant all on tables to {OWNER}, anon, authenticated, service_role;
alter default privileges for role {OWNER} in schema public
  grant all on functions to {OWNER}, anon, authenticated, service_role;
alter default privileges for role {OWNER} in schema public
  grant all on sequences to {OWNER}, anon, authenticated, service_role;
"""

# A collation that is not the order of bytes: whoever pages by text without saying `collate "C"` loses rows here.
LOCALES = (("--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"), ("--locale=C.UTF-8",), ("--locale=C",))

# Waits for its standard input to end: the pipe closes with this process, even when it is killed.
LAUNCHER = (
    '"$@" & child=$!; cat >/dev/null; kill -$SIGNAL $child 2>/dev/null; wait $child 2>/dev/null; rm -rf "$FOLDER"'
)


@dataclass(frozen=True)
class Database:
    """One database of the server."""

    server: PostgresServer
    name: str

    def dsn(self, role: str = OWNER) -> str:
        """Where a client connects, over the socket."""
        return f"host={self.server.folder} port={self.server.port} dbname={self.name} user={role}"

    def connect(self, role: str = OWNER, **options: Any) -> psycopg.Connection:
        """A connection of this login role; API roles are reached with `set role` from `authenticator`."""
        return psycopg.connect(self.dsn(role), **options)

    def run(self, script: str, role: str = OWNER) -> None:
        """Run a script of statements in one transaction."""
        with self.connect(role) as db:
            db.execute(script)

    def drop(self) -> None:
        """Remove it, with whoever is still connected."""
        self.server.administer(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(self.name)))


class PostgresServer:
    """One Postgres on a socket and a free port of 127.0.0.1, in a folder that goes with it.

    Parameters
    ----------
    fsync : bool
        Off, as nothing here outlives the machine; on where what survives is measured.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        binaries = find_binaries()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="facecluster-pg-"))
        self.log = self.folder / "log"
        self._as_whom = as_whom()
        self._numbers = itertools.count(1)
        try:
            self._init(binaries)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._launcher = self._launch(binaries, fsync)
        atexit.register(self.stop)
        self._wait()
        self.version = self.administer("show server_version")
        for statement in ROLES.strip().split(";\n"):
            self.administer(statement)
        self._templates: dict[str, str] = {}

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and remove its folder. Safe to repeat."""
        atexit.unregister(self.stop)
        end(self._launcher)

    def database(self, name: str = "") -> Database:
        """A new database in which the migrations ran."""
        return self._copy("migrated", name)

    def bare_database(self, name: str = "") -> Database:
        """A new database as a Supabase project is before the migrations."""
        return self._copy("bare", name)

    def administer(self, statement: str | sql.Composable) -> Any:
        """Run one statement as superuser, outside of a transaction; its first value."""
        with psycopg.connect(
            f"host={self.folder} port={self.port} user={SUPERUSER} dbname=postgres", autocommit=True
        ) as db:
            cursor = db.execute(statement)  # type: ignore[arg-type]
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def _copy(self, kind: str, name: str) -> Database:
        template = self._template(kind)
        made = Database(self, name or f"{kind}_{next(self._numbers)}")
        self.administer(
            sql.SQL("create database {} template {} owner {}").format(
                sql.Identifier(made.name), sql.Identifier(template), sql.Identifier(OWNER)
            )
        )
        return made

    def _template(self, kind: str) -> str:
        if kind not in self._templates:
            if kind == "bare":
                self.administer(f"create database template_bare owner {OWNER}")
                Database(self, "template_bare").run(PROJECT, SUPERUSER)
            else:
                migrate(self._copy("bare", f"template_{kind}"))
            self._templates[kind] = f"template_{kind}"
        return self._templates[kind]

    def _init(self, binaries: Path) -> None:
        if self._as_whom:
            shutil.chown(self.folder, self._as_whom["user"])
        for locale in LOCALES:
            done = self._run(
                *(str(binaries / "initdb"), "--pgdata", str(self.folder / "data"), "--username", SUPERUSER),
                *("--auth", "trust", "--encoding", "UTF8", "--no-sync", "--no-instructions", *locale),
            )
            if done.returncode == 0:
                return
            shutil.rmtree(self.folder / "data", ignore_errors=True)
        pytest.skip(f"no Postgres: initdb failed with {done.stderr.strip()[-300:]!r}")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, env=ENVIRONMENT, **self._as_whom
        )

    def _launch(self, binaries: Path, fsync: bool) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if fsync else "off",
            "synchronous_commit": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "max_connections": "60",
            "shared_buffers": "64MB",
            "lc_messages": "C",  # `recovered` reads the log
            "log_line_prefix": "%m [%p] %q%u@%d ",
        }
        options = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in settings.items())
        # The launcher keeps our own rights, so that it may remove the folder; the server gives them up.
        prefix = ("setpriv", f"--reuid={self._as_whom['user']}", "--clear-groups") if self._as_whom else ()
        server = (*prefix, str(binaries / "postgres"), "-D", str(self.folder / "data"), *options)
        return launch(server, self.folder, "QUIT", ENVIRONMENT)

    def _wait(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.administer("select 1")
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._launcher.poll() is not None:
                    said = self.log.read_text("utf-8", "replace")[-500:] if self.log.exists() else ""
                    self.stop()
                    pytest.skip(f"no Postgres: it did not start in {seconds:.0f} s and said {said!r}")
                time.sleep(0.05)

    @contextmanager
    def recovered(self, seconds: float = 60) -> Iterator[None]:
        """What is done inside kills a backend; afterwards the server has restarted itself and answers again."""
        before = self._n_starts()
        yield
        deadline = time.monotonic() + seconds
        while self._n_starts() == before:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Postgres did not restart itself within {seconds:.0f} s of a killed backend.")
            time.sleep(0.01)
        self._wait(seconds)

    def _n_starts(self) -> int:
        return self.log.read_text("utf-8", "replace").count("ready to accept connections")


# Nothing of this machine: its PG* variables would send a client elsewhere.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}


def launch(
    command: Sequence[str | Path], folder: Path, signal: str, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program that ends by this signal when our end of the pipe is closed, and its folder with it."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ("sh", "-c", LAUNCHER, "launcher", *command),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, "FOLDER": str(folder), "SIGNAL": signal},
            start_new_session=True,  # Ctrl-C is for the tests; the program goes when they are gone
        )


def end(launched: subprocess.Popen[bytes]) -> None:
    """Close our end of the pipe, and wait. Safe to repeat."""
    if launched.stdin is not None and not launched.stdin.closed:
        launched.stdin.close()
    launched.wait(30)


def find_binaries() -> Path:
    """Folder of `initdb` and `postgres`, the newest version where there are several; skips where there is none."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: [int(n) for n in p.parent.name.split(".")]
    )
    on_path = shutil.which("initdb")
    for folder in [*([Path(on_path).resolve().parent] if on_path else []), *reversed(installed)]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("no Postgres: neither PATH nor /usr/lib/postgresql has initdb (apt-get install postgresql)")


def as_whom() -> dict[str, Any]:
    """Arguments that run a process as somebody else: Postgres refuses to be root."""
    if os.geteuid() != 0:
        return {}
    if shutil.which("setpriv") is None:
        pytest.skip("no Postgres: it refuses to run as root, and setpriv, which would make it somebody else, is absent")
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in known else "nobody"
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def migrations() -> list[Path]:
    """Scripts of `supabase/migrations`, in the order in which they run."""
    return sorted(MIGRATIONS.glob("*.sql"))


def migrate(database: Database, upto: str = "") -> None:
    """Run the migrations as their owner, each in one transaction; those after the file name `upto` are left out."""
    for script in migrations():
        if not upto or script.name <= upto:
            database.run(script.read_text("utf-8"))


@functools.cache
def shared_postgres() -> PostgresServer:
    """The server of this test process."""
    return PostgresServer()
