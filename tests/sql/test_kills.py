"""A backend killed at every point at which a call writes: before its commit nothing of it is there, after it all.

Triggers on every table count the statements of a call, before and after each, and stop at the one that is wanted; the
backend is killed there with SIGKILL, and Postgres recovers as after a crash.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from people_sql import (
    ANNA,
    StagedRun,
    apply,
    ask,
    become,
    call,
    change,
    contents,
    facts,
    head,
    live_library,
    relations,
    said,
    session,
    stage,
)
from psycopg import sql
from servers.postgres_server import Database, PostgresServer

STOPPER = """
create function public.stop_here() returns trigger language plpgsql set search_path = pg_catalog as $$
declare n int := coalesce(nullif(current_setting('test.n', true), ''), '0')::int + 1;
begin
  perform set_config('test.n', n::text, true);
  if n::text = current_setting('test.stop_at', true) then perform pg_sleep(60); end if;
  return null;
end $$;
grant execute on function public.stop_here() to public;
"""


@dataclass(frozen=True)
class Call:
    """One request."""

    function: str
    arguments: dict[str, object]

    def make(self, db: psycopg.Connection) -> object:
        """In this transaction."""
        return call(db, self.function, **self.arguments)


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresServer]:
    with PostgresServer(fsync=True) as server:
        yield server


@pytest.fixture
def stopping(durable) -> Iterator[Database]:
    """A migrated database whose tables can stop a statement."""
    database = durable.database()
    database.run(STOPPER)
    for table in relations(database, "r"):
        for moment in ("before", "after"):
            database.run(
                sql.SQL(
                    "create trigger {} {} insert or update or delete on public.{} "
                    "for each statement execute function public.stop_here()"
                )
                .format(sql.Identifier(f"stop_{moment}"), sql.SQL(moment), sql.Identifier(table))
                .as_string()
            )
    yield database
    database.drop()


def n_points(database: Database, request: Call) -> int:
    """At how many points it can be stopped."""
    with session(database, ANNA) as db:
        request.make(db)
        row = db.execute("select coalesce(nullif(current_setting('test.n', true), ''), '0')::int").fetchone()
        db.rollback()
    return int(row[0]) if row else 0


def kill_inside(database: Database, request: Call, point: int) -> None:
    """Begin it, and kill its backend when it stops at this point."""
    db = database.connect("authenticator")
    become(db, ANNA, "authenticated")
    db.execute("select set_config('test.stop_at', %s, true)", (str(point),))
    pid = db.info.backend_pid
    worker = threading.Thread(target=expect_the_end, args=(lambda: request.make(db),))
    worker.start()
    wait_until_asleep(database, pid)
    with database.server.recovered():
        os.kill(pid, signal.SIGKILL)
        worker.join()
    db.close()


def kill_before_commit(database: Database, request: Call) -> None:
    """Let it return, and kill its backend before it commits."""
    db = database.connect("authenticator")
    become(db, ANNA, "authenticated")
    request.make(db)
    with database.server.recovered():
        os.kill(db.info.backend_pid, signal.SIGKILL)
    expect_the_end(db.commit)
    db.close()


def kill_after_commit(database: Database, request: Call) -> None:
    """Let it commit, and kill its backend before anybody is told."""
    db = database.connect("authenticator")
    become(db, ANNA, "authenticated")
    request.make(db)
    db.commit()
    with database.server.recovered():
        os.kill(db.info.backend_pid, signal.SIGKILL)
    db.close()


def expect_the_end(do: Callable[[], object]) -> None:
    with pytest.raises(psycopg.OperationalError):
        do()


def wait_until_asleep(database: Database, pid: int, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    with database.connect("supabase_admin", autocommit=True) as db:
        query = "select wait_event from pg_stat_activity where pid = %s"
        while db.execute(query, (pid,)).fetchone() != ("PgSleep",):
            assert time.monotonic() < end, "the call did not stop where it was told to"
            time.sleep(0.005)


def kill_everywhere(database: Database, request: Call) -> int:
    """Kill it at each point, looking each time; then let it succeed. How many points there were."""
    before = contents(database)
    n = n_points(database, request)
    for point in range(1, n + 1):
        kill_inside(database, request, point)
        assert contents(database) == before, f"{request.function} killed at point {point} of {n} left something"
    kill_before_commit(database, request)
    assert contents(database) == before
    kill_after_commit(database, request)
    after = contents(database)
    assert after != before
    ask(database, ANNA, request.function, **request.arguments)  # whoever was not told sends it again
    assert contents(database) == after
    return n + 2


def test_a_publish_killed_at_any_point_leaves_the_old_run_or_the_new_one(stopping, tell):
    old = live_library(stopping, ANNA)
    apply(stopping, ANNA, 2, said("name", old.people[1], "acknowledged"), title="Acknowledged")
    new = StagedRun("new run", 30, 3)
    new.head["covers"] = {new.people[0]: new.faces[0]}
    columns = {name: new.faces for name in ("v", "url", "folder", "crop")}
    requests = [
        Call("fc_know_faces", {"p": columns | {"blur": [None] * 30, "m": ["newer"] * 30}}),
        Call("fc_begin_run", {"p_run": new.id, "p": new.head}),
        Call("fc_stage", {"p_run": new.id, "p": new.rows(0, 15)}),
        Call("fc_stage", {"p_run": new.id, "p": new.rows(15, 30)}),
    ]
    points = 0
    for request in requests:
        points += kill_everywhere(stopping, request)
        assert head(stopping, ANNA) == (3, old.id)
        assert ask(stopping, ANNA, "fc_run_faces", p_run=old.id)["v"] == old.faces
    points += kill_everywhere(stopping, Call("fc_apply", {"p": new.publishing(3, old.id, new.people)}))
    assert head(stopping, ANNA) == (4, new.id)
    assert ask(stopping, ANNA, "fc_run_faces", p_run=new.id)["v"] == new.faces
    assert facts(stopping, ANNA)["name", old.people[1], ""] == "acknowledged"
    tell(f"kill -9 at every write point of a publish: {points} points")


def test_a_change_killed_at_any_point_is_there_whole_or_not_at_all(stopping, tell):
    run = live_library(stopping, ANNA)
    merge = change(2, said("merged_into", run.people[1], run.people[0]), said("cover", run.people[0], run.faces[3]))
    erase = change(3, title="Erased", erased=[run.people[1], run.people[0], run.faces[0], run.faces[1]])
    points = kill_everywhere(stopping, Call("fc_apply", {"p": merge}))
    points += kill_everywhere(stopping, Call("fc_apply", {"p": erase}))
    assert [r["n_erased"] for r in ask(stopping, ANNA, "fc_history", p_limit=9)] == [4, 0, 0, 0]
    tell(f"kill -9 at every write point of a merge and an erasure: {points} points")


def test_pruning_killed_at_any_point_goes_on_where_it_was(stopping, tell):
    run = live_library(stopping, ANNA)
    left = StagedRun("left", 30, 3)
    stage(stopping, ANNA, left)
    ask(stopping, ANNA, "fc_discard_run", p_run=left.id)
    before = contents(stopping)
    request = Call("fc_prune", {})
    n = n_points(stopping, request)
    for point in range(1, n + 1):
        kill_inside(stopping, request, point)
        assert contents(stopping) == before
    assert ask(stopping, ANNA, "fc_prune") == 30
    assert ask(stopping, ANNA, "fc_prune") == 0
    assert head(stopping, ANNA) == (2, run.id)
    assert ask(stopping, ANNA, "fc_run_faces", p_run=run.id)["v"] == run.faces
    tell(f"kill -9 at every write point of pruning: {n} points")
