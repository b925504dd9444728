"""People of the embedded library: an append-only log, the facts it folds to, and versioned runs, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from facecluster.errors import InputError, StaleWriteError
from facecluster.model import (
    ChangeRecord,
    ChangeSet,
    Decision,
    FaceId,
    PeopleSnapshot,
    PersonId,
    Question,
    Run,
    RunRecord,
)
from facecluster.stores.local import Database


class LocalPeopleStore:
    """A `PeopleStore` in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def revision(self) -> int:
        """The number of change sets so far."""
        with self._db.read() as db:
            return _revision(db)

    def read(self) -> PeopleSnapshot:
        """Facts and live run of one moment."""
        with self._db.read() as db:
            facts = {(k, s, o): v for k, s, o, v in db.execute("select kind, subject, object, value from facts")}
            live = facts.get(("live_run", "", ""))
            return PeopleSnapshot(_revision(db), facts, _read_run(db, live) if live else None)

    def apply(self, change: ChangeSet) -> int:
        """Write the change set in one transaction."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")  # orders two runs of one second
        with self._db.write() as db:
            revision = _revision(db)
            if revision != change.base_revision:
                raise StaleWriteError(
                    f"Somebody changed this library meanwhile: {_last_title(db)} "
                    f"(revision {revision}, and yours was made on {change.base_revision}). "
                    "Nothing was written. Look at what changed, then do it again."
                )
            for decision in change.decisions:
                _write_fact(db, decision)
            if change.run is not None:
                _write_run(db, change.run, now, change.author)
            db.execute(
                "insert into log values(?,?,?,?,?,?)",
                (revision + 1, now, change.author, change.title, change.undoes, _dump(change.decisions)),
            )
            return revision + 1

    def history(self, limit: int, before: int | None = None) -> Sequence[ChangeRecord]:
        """Change sets, newest first."""
        with self._db.read() as db:
            rows = db.execute(
                "select revision, at, author, title, undoes, decisions from log where revision < ? "
                "order by revision desc limit ?",
                (before if before is not None else 2**62, limit),
            ).fetchall()
        return [
            ChangeRecord(revision, at, author, title, tuple(Decision(*d) for d in json.loads(decisions)), undoes)
            for revision, at, author, title, undoes, decisions in rows
        ]

    def runs(self) -> Sequence[RunRecord]:
        """Published runs, newest first."""
        with self._db.read() as db:
            rows = db.execute(
                "select id, at, author, params, n_faces, n_people, n_noise from runs order by at desc, id"
            ).fetchall()
        return [RunRecord(i, at, author, json.loads(p), f, n, z) for i, at, author, p, f, n, z in rows]

    def run(self, run_id: str) -> Run:
        """One run, whole."""
        with self._db.read() as db:
            return _read_run(db, run_id)


def _revision(db: sqlite3.Connection) -> int:
    found = db.execute("select coalesce(max(revision), 0) from log").fetchone()[0]
    return int(found)


def _last_title(db: sqlite3.Connection) -> str:
    row = db.execute("select title, author from log order by revision desc limit 1").fetchone()
    return f"“{row[0]}” by {row[1]}" if row else "nothing yet"


def _write_fact(db: sqlite3.Connection, decision: Decision) -> None:
    row = db.execute("select value from facts where kind = ? and subject = ? and object = ?", decision.key).fetchone()
    found = row[0] if row else None
    if found != decision.before:
        raise StaleWriteError(
            f"{decision.kind} of {decision.subject!r} is {found!r} now and was {decision.before!r} when this was "
            f"prepared (it would have become {decision.value!r}). Nothing was written. Look again, then repeat it."
        )
    if decision.value is None:
        db.execute("delete from facts where kind = ? and subject = ? and object = ?", decision.key)
    else:
        db.execute("insert or replace into facts values(?,?,?,?)", (*decision.key, decision.value))


def _dump(decisions: tuple[Decision, ...]) -> str:
    rows = [[d.kind, d.subject, d.object, d.value, d.before] for d in decisions]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _write_run(db: sqlite3.Connection, run: Run, now: str, author: str) -> None:
    if db.execute("select 1 from runs where id = ?", (run.id,)).fetchone():
        return  # the id is the content: publishing the same run again only moves the pointer
    people = {owner for owner in run.owner if owner is not None}
    noise = sum(o is None and label == -1 for o, label in zip(run.owner, run.label.tolist(), strict=True))
    db.execute(
        "insert into runs values(?,?,?,?,?,?,?,?,?,?)",
        (
            run.id,
            now,
            author,
            json.dumps(run.params, sort_keys=True),
            run.fingerprint,
            len(run.faces),
            len(people),
            noise,
            json.dumps(dict(run.reason), ensure_ascii=False),
            json.dumps([[q.kind, q.person, q.other, q.n_faces] for q in run.questions]),
        ),
    )
    rows = zip(run.faces, run.owner, run.label.tolist(), run.strength.tolist(), strict=True)
    db.executemany("insert into run_faces values(?,?,?,?,?)", ((run.id, *row) for row in rows))


def _read_run(db: sqlite3.Connection, run_id: str) -> Run:
    head = db.execute("select params, fingerprint, reason, questions from runs where id = ?", (run_id,)).fetchone()
    if head is None:
        raise InputError(f"There is no run {run_id!r}. Nothing was changed. `History` lists the runs there are.")
    rows = db.execute(
        "select face_id, owner, label, strength from run_faces where run_id = ? order by face_id", (run_id,)
    ).fetchall()
    faces, owners, labels, strengths = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Run(
        id=run_id,
        params=json.loads(head[0]),
        fingerprint=head[1],
        faces=tuple(FaceId(f) for f in faces),
        owner=tuple(PersonId(o) if o is not None else None for o in owners),
        label=np.array(labels, np.int32),
        strength=np.array(strengths, np.float32),
        reason={FaceId(k): v for k, v in json.loads(head[2]).items()},
        questions=tuple(Question(kind, p, o, n) for kind, p, o, n in json.loads(head[3])),
    )
