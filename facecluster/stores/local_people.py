"""People of the embedded library: an append-only log, the facts it folds to, and versioned runs, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from facecluster.clustering import NOISE
from facecluster.decisions import folded
from facecluster.model import (
    ChangeRecord,
    ChangeSet,
    Decision,
    FaceId,
    Kind,
    PeopleSnapshot,
    PersonId,
    Question,
    Run,
    RunRecord,
)
from facecluster.ports import KEPT_RUNS
from facecluster.stores.local import APPEND_ONLY, Database, run_script
from facecluster.stores.refusals import changed_meanwhile, no_run, run_not_kept, said_meanwhile

ERASED_TITLE = "A change about somebody who was erased"

# By the change that published a run, not by its clock, which may be set back: a run and its change bear the same time.
# The change that is being written is not in the log yet.
_NEWEST_FIRST = "order by coalesce((select max(revision) from log where log.at = runs.at), 9e18) desc, at desc, id"
_ABOUT_RUNS = ("live_run", "run_name")
_LONG = 20_000  # letters of a change; one name takes a hundred
_VALUE_IS_AN_ID = ("pin", "cover", "merged_into")


@dataclass(frozen=True)
class _Known:
    """Facts of a revision, which the log says was written at that time: a restored file tells another."""

    revision: int
    at: str
    facts: dict[tuple[Kind, str, str], str]


class LocalPeopleStore:
    """A `PeopleStore` in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: _Known | None = None
        self._last: tuple[tuple[object, ...], Run] | None = None

    def revision(self) -> int:
        """The number of change sets so far."""
        with self._db.glance() as db:
            return _revision(db)

    def read(self) -> PeopleSnapshot:
        """Facts and live run of one moment."""
        with self._db.read() as db:
            known = self._known = self._caught_up(db) or _all_facts(db)
            live = known.facts.get(("live_run", "", ""))
            return PeopleSnapshot(known.revision, known.facts, self._run(db, live) if live else None)

    def _caught_up(self, db: sqlite3.Connection) -> _Known | None:
        """What was read last and all that was written since; None where something was erased, or the file is another.

        Most reads follow a change of one name, and a hundred thousand facts take 0.2 s.
        """
        if self._known is None:
            return None
        log = db.execute(
            "select revision, at, decisions, n_erased from log where revision >= ? order by revision",
            (self._known.revision,),
        ).fetchall()
        if not log or log[0][:2] != (self._known.revision, self._known.at) or any(row[3] for row in log[1:]):
            return None
        if len(log) == 1:
            return self._known
        facts = folded(self._known.facts, (decision for row in log[1:] for decision in _load(row[2])))
        return _Known(log[-1][0], log[-1][1], facts)

    def _run(self, db: sqlite3.Connection, run_id: str) -> Run:
        """The run read last, unless it is another one by now: its rows change with an erasure alone."""
        what = db.execute(
            "select id, n_faces, n_people, n_noise, (select max(revision) from log where n_erased > 0) from runs "
            "where id = ?",
            (run_id,),
        ).fetchone()
        if what is None:
            raise no_run(run_id)
        if self._last is None or self._last[0] != what:
            self._last = what, _read_run(db, run_id)
        return self._last[1]

    def apply(self, change: ChangeSet) -> int:
        """Write the change set in one transaction."""
        with self._db.write() as db:
            revision = _write(db, change)
        if change.erased:
            _load_long.cache_clear()
            self._db.forget()
        return revision

    def forget(self, ids: Sequence[str]) -> None:
        """Take out everything that names these faces and people, without a word in the log: for a library aside."""
        with self._db.write() as db:
            _erase(db, frozenset(ids) - {""})
        self._known = None
        _load_long.cache_clear()

    def history(self, limit: int, before: int | None = None) -> Sequence[ChangeRecord]:
        """Change sets, newest first."""
        with self._db.read() as db:
            rows = db.execute(
                "select revision, at, author, title, decisions, undoes, n_erased from log where revision < ? "
                "order by revision desc limit ?",
                (before if before is not None else 2**62, limit),
            ).fetchall()
        return [
            ChangeRecord(revision, at, author, title, _load(decisions), undoes, n_erased)
            for revision, at, author, title, decisions, undoes, n_erased in rows
        ]

    def runs(self) -> Sequence[RunRecord]:
        """Published runs, newest first."""
        with self._db.read() as db:
            rows = db.execute(
                f"select id, at, author, params, n_faces, n_people, n_noise from runs {_NEWEST_FIRST}"  # noqa: S608
            ).fetchall()
        return [RunRecord(i, at, author, json.loads(p), f, n, z) for i, at, author, p, f, n, z in rows]

    def run(self, run_id: str) -> Run:
        """One run, whole."""
        with self._db.read() as db:
            return _read_run(db, run_id)


def _all_facts(db: sqlite3.Connection) -> _Known:
    revision = _revision(db)
    at = db.execute("select at from log where revision = ?", (revision,)).fetchone()
    facts = {(k, s, o): v for k, s, o, v in db.execute("select kind, subject, object, value from facts")}
    return _Known(revision, at[0] if at else "", facts)


def adopt(
    db: sqlite3.Connection,
    facts: Mapping[tuple[Kind, str, str], str],
    log: Iterable[ChangeRecord],
    runs: Iterable[tuple[RunRecord, Run]],
) -> None:
    """Write what another library said, with its times and authors, into one that holds nothing."""
    db.executemany("insert into facts values(?,?,?,?)", ((*key, value) for key, value in facts.items()))
    db.executemany(
        "insert into log(revision, at, author, title, undoes, decisions, n_erased) values(?,?,?,?,?,?,?)",
        ((r.revision, r.at, r.author, r.title, r.undoes, _dump(r.decisions), r.n_erased) for r in log),
    )
    for listed, run in runs:
        _write_run(db, run, listed.at, listed.author)


def _write(db: sqlite3.Connection, change: ChangeSet) -> int:
    now = datetime.now(UTC).isoformat(timespec="microseconds")  # orders two runs of one second
    revision = _revision(db)
    if revision != change.base_revision:
        last = db.execute("select title, author from log order by revision desc limit 1").fetchone()
        title, author = last or (None, None)
        raise changed_meanwhile(title, author, revision, change.base_revision)
    was_live = _live_run(db)
    for decision in change.decisions:
        _write_fact(db, decision)
    if change.run is not None:
        _write_run(db, change.run, now, change.author)
    _check_live_run(db, was_live)
    if change.run is not None:
        _prune(db, was_live)
    gone = frozenset(change.erased) - {""}  # "" is the object of a fact about one thing, and no id
    db.execute(
        "insert into log(revision, at, author, title, undoes, decisions, n_erased) values(?,?,?,?,?,?,?)",
        (revision + 1, now, change.author, change.title, change.undoes, _dump(change.decisions), len(gone)),
    )
    if gone:
        _erase(db, gone)
    return revision + 1


def _revision(db: sqlite3.Connection) -> int:
    found = db.execute("select coalesce(max(revision), 0) from log").fetchone()[0]
    return int(found)


def _write_fact(db: sqlite3.Connection, decision: Decision) -> None:
    row = db.execute("select value from facts where kind = ? and subject = ? and object = ?", decision.key).fetchone()
    found = row[0] if row else None
    if found != decision.before:
        raise said_meanwhile(decision.kind, decision.subject, found, decision.before, decision.value)
    if decision.value is None:
        db.execute("delete from facts where kind = ? and subject = ? and object = ?", decision.key)
    else:
        db.execute("insert or replace into facts values(?,?,?,?)", (*decision.key, decision.value))


def _dump(decisions: Iterable[Decision]) -> str:
    rows = [[d.kind, d.subject, d.object, d.value, d.before] for d in decisions]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _load(decisions: str) -> tuple[Decision, ...]:
    return _load_long(decisions) if len(decisions) > _LONG else _parse(decisions)


def _parse(decisions: str) -> tuple[Decision, ...]:
    return tuple(Decision(*row) for row in json.loads(decisions))


# Who looks at a person looks through the last changes, and publishing 5,000 people takes 20 ms to read.
_load_long = lru_cache(maxsize=KEPT_RUNS)(_parse)


def _write_run(db: sqlite3.Connection, run: Run, now: str, author: str) -> None:
    people = {owner for owner in run.owner if owner is not None}
    noise = sum(o is None and label == NOISE for o, label in zip(run.owner, run.label.tolist(), strict=True))
    counts = (len(run.faces), len(people), noise)
    found = db.execute("select n_faces, n_people, n_noise from runs where id = ?", (run.id,)).fetchone()
    if found == counts:
        return  # the id is the content: publishing the same run again only moves the pointer
    _drop_run(db, run.id)  # somebody was erased from it, whose faces were imported again since
    db.execute(
        "insert into runs values(?,?,?,?,?,?,?,?,?,?)",
        (
            run.id,
            now,
            author,
            json.dumps(run.params, sort_keys=True),
            run.fingerprint,
            *counts,
            json.dumps(dict(run.reason), ensure_ascii=False),
            _dump_questions(run.questions),
        ),
    )
    rows = zip(run.faces, run.owner, run.label.tolist(), run.strength.tolist(), strict=True)
    db.executemany("insert into run_faces values(?,?,?,?,?)", ((run.id, *row) for row in rows))


def _drop_run(db: sqlite3.Connection, run_id: str) -> None:
    db.execute("delete from run_faces where run_id = ?", (run_id,))
    db.execute("delete from runs where id = ?", (run_id,))


def _live_run(db: sqlite3.Connection) -> str | None:
    row = db.execute("select value from facts where kind = 'live_run'").fetchone()
    return None if row is None else str(row[0])


def _check_live_run(db: sqlite3.Connection, was_live: str | None) -> None:
    """A run that is shown must be there; one that was shown before is, or was never more than a name."""
    live = _live_run(db)
    if live is None or live == was_live or db.execute("select 1 from runs where id = ?", (live,)).fetchone():
        return
    raise run_not_kept(live)


def _prune(db: sqlite3.Connection, was_live: str | None) -> None:
    """Let go of runs that are neither new, nor shown now or a moment ago, nor named."""
    ids = [row[0] for row in db.execute(f"select id from runs {_NEWEST_FIRST}")]  # noqa: S608
    named = {row[0] for row in db.execute("select subject from facts where kind = 'run_name'")}
    asked_for = {*named, was_live, _live_run(db)}
    for run_id in ids[KEPT_RUNS:]:
        if run_id not in asked_for:
            _drop_run(db, run_id)


def _names(decision: Decision, gone: frozenset[str]) -> bool:
    """Whether a decision speaks of one of these faces or people. A name, a mark or a run may read like an id."""
    if decision.kind in _ABOUT_RUNS:
        return False
    ids = {decision.subject, decision.object}
    if decision.kind in _VALUE_IS_AN_ID:
        ids |= {decision.value or "", decision.before or ""}
    return not ids.isdisjoint(gone)


def _erase(db: sqlite3.Connection, gone: frozenset[str]) -> None:
    """Take out of the library everything that names these faces and people."""
    facts = [Decision(k, s, o, v, None) for k, s, o, v in db.execute("select kind, subject, object, value from facts")]
    db.executemany(
        "delete from facts where kind = ? and subject = ? and object = ?",
        [fact.key for fact in facts if _names(fact, gone)],
    )
    _erase_from_log(db, gone)
    for run_id, reason, questions in db.execute("select id, reason, questions from runs").fetchall():
        _erase_from_run(db, run_id, gone)
        reasons = {face: text for face, text in json.loads(reason).items() if face not in gone}
        asked = [q for q in _load_questions(questions) if gone.isdisjoint({q.person, q.other})]
        db.execute(
            "update runs set reason = ?, questions = ? where id = ?",
            (json.dumps(reasons, ensure_ascii=False), _dump_questions(asked), run_id),
        )


def _erase_from_log(db: sqlite3.Connection, gone: frozenset[str]) -> None:
    log = [(*row[:2], _load(row[2])) for row in db.execute("select revision, title, decisions from log")]
    spoken = [d for _, _, said in log for d in said if d.kind == "name" and d.subject in gone]
    names = {name for d in spoken for name in (d.value, d.before) if name}
    still = {row[0] for row in db.execute("select subject from facts where kind = 'name'")}
    cleaned = [
        (
            ERASED_TITLE if any(name in title for name in names) else title,
            _without(decisions, gone, names, still),
            revision,
        )
        for revision, title, decisions in log
    ]
    changed = [
        (title, _dump(kept), revision)
        for (title, kept, revision), (_, old_title, decisions) in zip(cleaned, log, strict=True)
        if (title, len(kept)) != (old_title, len(decisions))
    ]
    for trigger in ("log_is_append_only_1", "log_is_append_only_2"):
        db.execute(f"drop trigger {trigger}")
    db.executemany("update log set title = ?, decisions = ? where revision = ?", changed)
    run_script(db, APPEND_ONLY)


def _without(
    decisions: tuple[Decision, ...], gone: frozenset[str], names: set[str], still: set[str]
) -> tuple[Decision, ...]:
    """What stays of a change: in one that spoke of them, their name was handed to whoever they were merged into."""
    kept = tuple(d for d in decisions if not _names(d, gone))
    if len(kept) == len(decisions):
        return kept
    return tuple(d for d in kept if d.kind != "name" or d.subject in still or names.isdisjoint((d.value, d.before)))


def _erase_from_run(db: sqlite3.Connection, run_id: str, gone: frozenset[str]) -> None:
    """Faces go; a face that stays and was theirs is nobody's in this run."""
    rows = [(run_id, one) for one in gone]
    n_gone = db.executemany("delete from run_faces where run_id = ? and face_id = ?", rows).rowcount
    owners = {row[0] for row in db.execute("select distinct owner from run_faces where run_id = ?", (run_id,))}
    for owner in owners & gone:  # each one is a look at the whole run: only the people, not the faces
        db.execute("update run_faces set owner = null where run_id = ? and owner = ?", (run_id, owner))
    if n_gone == 0 and owners.isdisjoint(gone):
        return  # counting takes longer than all of the above
    db.execute(
        "update runs set (n_faces, n_people, n_noise) = (select count(*), count(distinct owner), "
        "coalesce(sum(owner is null and label = ?), 0) from run_faces where run_id = runs.id) where id = ?",
        (NOISE, run_id),
    )


def _read_run(db: sqlite3.Connection, run_id: str) -> Run:
    head = db.execute(
        "select params, fingerprint, reason, questions from runs where id = ?", (_text(run_id),)
    ).fetchone()
    if head is None:
        raise no_run(run_id)
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
        questions=_load_questions(head[3]),
    )


def _dump_questions(questions: Iterable[Question]) -> str:
    return json.dumps([[q.kind, q.person, q.other, q.n_faces] for q in questions])


def _load_questions(questions: str) -> tuple[Question, ...]:
    return tuple(Question(kind, person, other, n) for kind, person, other, n in json.loads(questions))


def _text(given: str) -> str:
    """What SQLite can look for: half a letter stands in no id."""
    return given.encode("utf-8", "replace").decode("utf-8")
