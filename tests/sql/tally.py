"""What comes of an attack on the rows of one user: refused, without effect, or a harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from attacks import DONE, VICTIM, Actor, Probe
from people_sql import become, relations
from psycopg import sql
from servers.postgres_server import SUPERUSER, Database

# 55000: a view that joins takes rows from nobody, and says so before it looks at rights.
REFUSALS = {"42501", "55000", "FC403", "FC404", "FC405", "FC409", "FC410", "FC422"}


def hers(database: Database) -> dict[str, list[str]]:
    """All rows of the victim, seen by whom no policy binds."""
    found = {}
    with database.connect(SUPERUSER) as db:
        for table in relations(database, "r"):
            query = sql.SQL("select t::text from {} t where user_id = %s order by 1")
            found[table] = [row for (row,) in db.execute(query.format(sql.Identifier("public", table)), (VICTIM,))]
    assert all(found.values()), "she has rows in every table"
    return found


class Tally:
    """Probes so far."""

    def __init__(self) -> None:
        self.n_refused = self.n_empty = 0
        self.leaks: list[str] = []
        self.done: list[str] = []
        self.broken: list[str] = []

    def probe(self, db: psycopg.Connection, name: str, do: Probe) -> None:
        """Do it and look at what came of it."""
        notices: list[str] = []
        db.add_notice_handler(note := lambda diagnostic: notices.append(str(diagnostic.message_primary)))
        try:
            with db.transaction():
                answer = do(db)
        except psycopg.Error as exc:
            if exc.sqlstate in REFUSALS:
                self.n_refused += 1
            else:
                self.broken.append(f"{name}: {exc.sqlstate} {exc}")
            answer = str(exc.diag.message_detail or "")
        else:
            self.n_empty += 1
        finally:
            db.remove_notice_handler(note)
        if answer == DONE:
            self.done.append(name)
        if "victim" in f"{answer} {notices}":
            self.leaks.append(f"{name}: {str(answer)[:200]} {notices[:3]}")


@contextmanager
def acting(db: psycopg.Connection, actor: Actor) -> Iterator[None]:
    """A request of this actor, committed."""
    with db.transaction():
        become(db, actor.sub, actor.role, actor.claims)
        for name, value in actor.settings.items():
            db.execute("select set_config(%s, %s, true)", (name, value))
        yield


def somebody(sub: str) -> Actor:
    return Actor(sub, "authenticated", sub, {}, {})
