"""Sessions as PostgREST opens them, and changes, runs and faces small enough to read."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from servers.postgres_server import Database

ANNA, BERT = "https://accounts.example|anna", "https://accounts.example|bert"
RELATIONS = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = %s order by relname"
OF_PEOPLE = {"person", "name", "hidden", "cover", "merged_into"}


@contextmanager
def session(
    database: Database, user: str | None, role: str = "authenticated", claims: Mapping[str, object] | None = None
) -> Iterator[psycopg.Connection]:
    """One transaction as PostgREST opens it: the role of the token, its claims, nothing else."""
    with database.connect("authenticator") as db:
        become(db, user, role, claims)
        yield db


def become(db: psycopg.Connection, user: str | None, role: str, claims: Mapping[str, object] | None = None) -> None:
    """Take on role and claims until the transaction ends."""
    said = {"role": role, **({} if user is None else {"sub": user}), **(claims or {})}
    settings = {"request.jwt.claims": json.dumps(said), "statement_timeout": "8s", "role": role}
    for name, value in settings.items():
        db.execute("select set_config(%s, %s, true)", (name, value))


def call(db: psycopg.Connection, function: str, **arguments: object) -> Any:
    """Call a function by the names of its arguments; lists and mappings go as jsonb."""
    values = [json.dumps(v) if isinstance(v, dict | list) else v for v in arguments.values()]
    named = sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in arguments)
    row = db.execute(sql.SQL("select {}({})").format(sql.Identifier(function), named), values).fetchone()
    return row[0] if row else None


def ask(database: Database, user: str | None, function: str, **arguments: object) -> Any:
    """One request of a signed-in user."""
    with session(database, user) as db:
        return call(db, function, **arguments)


def said(kind: str, subject: str, value: str | None, before: str | None = None, about: str = "") -> list[str | None]:
    """A decision as the functions take it."""
    return [kind, subject, about, value, before]


def change(base: int, *decisions: list[str | None], title: str = "A change", **further: object) -> dict[str, object]:
    """A change set as fc_apply takes it, with an id of its own."""
    return {
        "id": str(uuid.uuid4()),
        "base": base,
        "author": "anna",
        "title": title,
        "undoes": None,
        "decisions": list(decisions),
        "run": None,
        "erased": [],
        **further,
    }


def apply(database: Database, user: str, base: int, *decisions: list[str | None], **further: object) -> int:
    """Apply a change as this user; the new revision."""
    return int(ask(database, user, "fc_apply", p=change(base, *decisions, **further))["revision"])


def head(database: Database, user: str) -> tuple[int, str | None]:
    """Revision and live run."""
    found = ask(database, user, "fc_head")
    return found["revision"], found["live_run"]


def facts(database: Database, user: str) -> dict[tuple[str, str, str], str]:
    """Everything that is said, of few facts."""
    return {(k, s, o): v for k, s, o, v in ask(database, user, "fc_facts")["rows"]}


def people(n: int, prefix: str = "p") -> list[str]:
    """Ids of so many people."""
    return [f"{prefix}{i:05d}" for i in range(n)]


class StagedRun:
    """A run of clustering, and the calls that bring it into the database.

    Every tenth face is noise, the others belong to the people in turn.
    """

    def __init__(self, run_id: str, n_faces: int, n_people: int, prefix: str = "f") -> None:
        self.id = run_id
        self.faces = [f"{prefix}{i:07d}" for i in range(n_faces)]
        self.people = people(n_people)
        self.owners = [None if i % 10 == 9 else self.people[i % n_people] for i in range(n_faces)]
        n_owners = len({owner for owner in self.owners if owner})
        self.head: dict[str, object] = {
            "author": "anna",
            "params": {"min_samples": 3},
            "fingerprint": "0" * 64,
            "reason": {},
            "questions": [],
            "n_faces": n_faces,
            "n_people": n_owners,
            "n_noise": self.owners.count(None),
            "covers": {},
        }

    def rows(self, start: int, end: int) -> dict[str, Sequence[object]]:
        """Columns of some faces, as fc_stage takes them."""
        owners = self.owners[start:end]
        return {
            "v": self.faces[start:end],
            "o": owners,
            "l": [-1 if owner is None else self.people.index(owner) for owner in owners]
            if len(owners) <= 100
            else [-1 if owner is None else 0 for owner in owners],
            "s": [0.5] * len(owners),
            "m": ["mark"] * len(owners),
        }

    def publishing(self, base: int, previous: str | None = None, known: Sequence[str] = ()) -> dict[str, object]:
        """The change that shows it; `known` are people that are there already."""
        new = [said("person", person, "1") for person in self.people if person not in set(known)]
        return change(base, *new, said("live_run", "", self.id, previous), title="Published", run=self.id)


def stage(database: Database, user: str, run: StagedRun, chunk: int = 10_000) -> None:
    """Bring a run in, call by call."""
    assert ask(database, user, "fc_begin_run", p_run=run.id, p=run.head)["status"] == "building"
    for start in range(0, len(run.faces), chunk):
        ask(database, user, "fc_stage", p_run=run.id, p=run.rows(start, start + chunk))


def know(database: Database, user: str, ids: Sequence[str]) -> None:
    """What is shown of these faces."""
    n = len(ids)
    columns = {name: [f"{name} of {i}" for i in ids] for name in ("url", "folder", "crop")}
    ask(database, user, "fc_know_faces", p={"v": list(ids), **columns, "blur": [None] * n, "m": ["mark"] * n})


def live_library(database: Database, user: str, n_faces: int = 20, n_people: int = 3, prefix: str = "f") -> StagedRun:
    """A user who has faces, people, names, a live run, and something in every table."""
    run = StagedRun(f"run-of-{user}", n_faces, n_people, prefix)
    run.head["covers"] = {run.people[0]: run.faces[0]}
    know(database, user, run.faces)
    stage(database, user, run)
    ask(database, user, "fc_apply", p=run.publishing(0))
    name = said("name", run.people[0], f"Name that only {user} knows")
    mark, pin = said("mark", run.faces[1], "ignored"), said("pin", run.faces[2], run.people[1])
    apply(database, user, 1, name, mark, pin, title=f"Title of {user}")
    return run


def relations(database: Database, kind: str) -> list[str]:
    """Tables ("r") or views ("v") of the migrations."""
    with database.connect() as db:
        return [name for (name,) in db.execute(RELATIONS, (kind,))]


def contents(database: Database) -> dict[str, list[str]]:
    """Every row of every table, seen by whom no policy binds."""
    found = {}
    with database.connect("supabase_admin") as db:
        for table in relations(database, "r"):
            query = sql.SQL("select t::text from {} t order by 1").format(sql.Identifier("public", table))
            found[table] = [row for (row,) in db.execute(query)]
    return found
