"""What only the embedded people do: a log that SQLite guards, formats, and bytes that go. The rest: tests/contracts."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from contracts.changes import a_run, change, publish, said, same_run
from stores.format_1 import library_of_format_1

from facecluster.errors import StoreDataError, StoreDeniedError
from facecluster.model import UserId
from facecluster.stores.local import FORMAT, Database, close_unused
from facecluster.stores.local_people import LocalPeopleStore


def opened(folder: Path, user: str = "anna") -> LocalPeopleStore:
    return LocalPeopleStore(Database(folder, UserId(user)))


@pytest.fixture
def store(tmp_path):
    return opened(tmp_path)


def by_hand(folder: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(folder / "library.db"))


def schema(folder: Path) -> set[tuple[str, ...]]:
    """Every table, column and trigger, however the statement that made it was written."""
    with by_hand(folder) as db:
        names = db.execute("select type, name, tbl_name from sqlite_master where name not like 'sqlite%'").fetchall()
        columns = [
            (table, *map(str, column[1:]))
            for kind, _, table in names
            if kind == "table"
            for column in db.execute(f"pragma table_info({table})")
        ]
        return {*names, *columns, ("format", str(db.execute("pragma user_version").fetchone()[0]))}


STATEMENTS = ["update log set title = 'x'", "delete from log", "delete from log where revision = 1"]


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("was_erased_from", [False, True])
def test_the_log_cannot_be_rewritten_or_cut_even_by_hand(statement, was_erased_from, store, tmp_path):
    store.apply(change(0, said("name", "p1", "Anna")))
    if was_erased_from:
        store.apply(change(1, title="Erased", erased=("p1",)))
    with by_hand(tmp_path) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    assert store.history(10)[-1].title == "named"


def test_an_erasing_that_fails_leaves_the_log_guarded(store, tmp_path, monkeypatch):
    store.apply(change(0, said("name", "p1", "Anna")))
    broken = "create trigger x after update on log begin select raise(abort, 'no space'); end"
    with by_hand(tmp_path) as db:
        db.execute(broken)
    with pytest.raises(StoreDataError, match="no space"):
        store.apply(change(1, title="Erased", erased=("p1",)))
    assert store.history(10)[0].decisions == (said("name", "p1", "Anna"),)
    with by_hand(tmp_path) as db:
        db.execute("drop trigger x")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("delete from log")


def test_many_who_make_one_library_at_once_all_open_it(tmp_path):
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        with ThreadPoolExecutor(4) as pool:
            stores = list(pool.map(lambda _: opened(folder).revision(), range(4)))  # noqa: B023  (waited for)
        assert stores == [0, 0, 0, 0]


def test_no_byte_of_the_files_names_who_was_erased(store, tmp_path):
    secret, face = "Käthe Unvergessen", "face-of-kaethe"
    words = [said("name", "p1", secret), said("pin", face, "p1")]
    publish(store, a_run("r1", faces=(face, "b", "z", "ö")), *words, title=f"Named “{secret}”")
    store.apply(change(1, said("name", "p1", "K", before=secret), title=f"Named {secret} “K”"))

    def told() -> set[str]:
        data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        return {word for word in (secret, face) if word.encode() in data}

    assert told() == {secret, face}
    store.apply(change(2, title="Erased", erased=(face, "p1")))
    assert told() == set()


def test_rows_of_runs_that_went_leave_the_file(store, tmp_path):
    for i in range(8):
        publish(store, a_run(f"r{i}"))
    with by_hand(tmp_path) as db:
        assert {row[0] for row in db.execute("select run_id from run_faces")} == {f"r{i}" for i in range(3, 8)}


def test_a_library_of_the_first_format_is_opened_with_all_that_was_said(tmp_path):
    store = opened(library_of_format_1(tmp_path / "old"))
    assert dict(store.read().facts) == {("name", "p1", ""): "Anna", ("live_run", "", ""): "r1"}
    assert [(r.revision, r.n_erased) for r in store.history(10)] == [(2, 0), (1, 0)]
    assert store.apply(change(2, title="Erased", erased=("a", "p1"))) == 3
    assert [(r.n_erased, r.decisions) for r in store.history(10)][::2] == [(2, ()), (0, ())]
    publish(store, a_run())
    assert same_run(opened(tmp_path / "old").read().run, a_run())
    opened(tmp_path / "new")
    assert schema(tmp_path / "old") == schema(tmp_path / "new")


def test_a_library_of_a_newer_version_is_not_opened(tmp_path):
    opened(tmp_path)
    with by_hand(tmp_path) as db:
        db.execute(f"pragma user_version = {FORMAT + 1}")
    with pytest.raises(StoreDataError, match=rf"format {FORMAT + 1}.*Nothing was opened. Install a newer facecluster"):
        opened(tmp_path)


def test_a_file_that_is_no_library_is_one_sentence(tmp_path):
    (tmp_path / "library.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(StoreDataError, match=r"cannot be read.*Nothing was written"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreDeniedError, match="cannot be used"):
        opened(tmp_path / "file" / "below")


def test_threads_that_come_and_go_share_a_few_connections(tmp_path, monkeypatch):
    opened_here: list[object] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **given: opened_here.append(args) or connect(*args, **given))
    store = opened(tmp_path)
    store.apply(change(0, said("name", "p1", "Anna")))
    for _ in range(20):
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: store.revision(), range(8))) == {1}
    assert len(opened_here) <= 4 + 1
    assert len(store._db._idle) <= 4 + 1


def test_no_more_connections_are_kept_than_a_handful(tmp_path):
    database = Database(tmp_path, UserId("anna"))
    with ExitStack() as all_at_once:
        for _ in range(20):
            all_at_once.enter_context(database.read())
    assert 1 <= len(database._idle) <= 8
    database.close()
    assert not database._idle
    assert LocalPeopleStore(database).revision() == 0


def test_connections_that_nobody_needs_any_more_are_closed(tmp_path):
    database = Database(tmp_path, UserId("anna"))
    with ExitStack() as all_at_once:
        for _ in range(5):
            all_at_once.enter_context(database.read())
    close_unused()
    assert len(database._idle) == 5, "all were used since the last look"
    LocalPeopleStore(database).revision()
    close_unused()
    assert len(database._idle) == 1
    close_unused()
    assert not database._idle
    assert LocalPeopleStore(database).revision() == 0


def test_a_library_that_takes_anothers_place_is_the_one_that_is_read_and_written(tmp_path):
    store, other = opened(tmp_path / "here"), opened(tmp_path / "other")
    store.apply(change(0, said("name", "p1", "Anna")))
    for at in range(3):
        other.apply(change(at, said("name", f"p{at}", f"Bert {at}")))
    other._db.close()
    store._db.forget()
    (tmp_path / "here").rename(tmp_path / "before")
    (tmp_path / "other").rename(tmp_path / "here")
    assert store.revision() == 3
    store.apply(change(3, said("name", "p9", "Carla")))
    assert opened(tmp_path / "here").revision() == 4
    assert opened(tmp_path / "before").revision() == 1


def test_what_fails_leaves_no_transaction_to_the_next_who_asks(store, tmp_path):
    def half_done() -> None:
        with store._db.write() as db:
            db.execute("insert into meta values('half', 'done')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert not any(db.in_transaction for db, _ in store._db._idle)
    with store._db.read() as db:
        assert not db.execute("select 1 from meta where key = 'half'").fetchall()
    with by_hand(tmp_path) as db:
        db.execute("begin exclusive")  # nobody holds a lock


def test_temporary_tables_are_seen_by_nobody_else(tmp_path):
    database = Database(tmp_path, UserId("anna"))
    mine, theirs = database.alone(), database.alone()
    for one, name in ((mine, "a"), (theirs, "b")):
        with one.write() as db:
            db.execute("create temp table listed(id text)")
            db.execute("insert into listed values(?)", (name,))
    for one, name in ((mine, "a"), (theirs, "b")):
        with one.read() as db:
            assert db.execute("select id from listed").fetchall() == [(name,)]
    with database.read() as db, pytest.raises(sqlite3.OperationalError, match="no such table"):
        db.execute("select id from listed")
