"""A process killed at every point of a write to the embedded people: the old state or the new one, and every edit.

Three ways to die, and after each the library is opened as the next process would open it: by SIGKILL as each SQL
statement begins; with the write-ahead log cut after each of its writes, and within them; and with the checkpoint, which
copies pages into the library afterwards, cut after each page.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from contracts.changes import change, plain_run, publish, said, same_run
from stores.format_1 import library_of_format_1

from facecluster.model import ChangeSet, UserId
from facecluster.ports import KEPT_RUNS
from facecluster.stores.local import Database
from facecluster.stores.local_people import LocalPeopleStore

FACES = [f"face-{i:03d}" for i in range(60)]
EDITS = {f"p{i}": f"Person {i}" for i in range(12)}

_SPAWN = multiprocessing.get_context("forkserver")  # a process of its own for each death, without starting Python anew
_SPAWN.set_forkserver_preload(["pytest", "contracts.changes", "facecluster.stores.local_people"])


def opened(folder: Path) -> LocalPeopleStore:
    return LocalPeopleStore(Database(folder, UserId("anna")))


def the_run(i: int):
    return plain_run(f"r{i}", FACES, [f"p{(k + i) % 12}" if k % 5 else None for k in range(len(FACES))])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """As many runs as are kept, one of them named, and edits that were acknowledged."""
    folder = tmp_path_factory.mktemp("library")
    store = opened(folder)
    for i in range(KEPT_RUNS + 1):
        publish(store, the_run(i), *([said("run_name", "r0", "the first")] if i == 0 else []))
    for person, name in EDITS.items():
        store.apply(change(store.revision(), said("person", person, "1"), said("name", person, name)))
    store.apply(change(store.revision(), *[said("pin", face, "p1") for face in FACES[:9]]))
    return folder


def a_publish(store) -> ChangeSet:
    now = store.read()
    words = [said("person", f"new-{i}", "1") for i in range(3)]
    return change(
        now.revision,
        *words,
        said("live_run", "", "new", "r5"),
        title="Published",
        run=plain_run("new", FACES, ["p1"] * 60),
    )


def a_rename(store) -> ChangeSet:
    return change(store.revision(), said("name", "p1", "Anna", before="Person 1"), said("pin", FACES[20], "p1"))


def an_erasing(store) -> ChangeSet:
    return change(store.revision(), title="Erased", erased=(*FACES[30:33], "p11"))


ACTS = {act.__name__: act for act in (a_publish, a_rename, an_erasing)}


def copied(folder: Path, to: Path) -> Path:
    """A copy that stays: SQLite knows an open file by its inode, and that of a deleted one is given to the next."""
    shutil.copytree(folder, to)
    return to


def told(folder: Path) -> tuple[object, ...]:
    """All that a library says, without the times."""
    store = opened(folder)
    now, runs = store.read(), store.runs()
    with closing(sqlite3.connect(folder / "library.db")) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert db.execute("pragma foreign_key_check").fetchall() == []
        rows = db.execute("select run_id, count(*) from run_faces group by run_id").fetchall()
    assert dict(rows) == {r.id: r.n_faces for r in runs}, "rows of a run that is not listed, or a run without its rows"
    assert now.run is not None
    assert same_run(now.run, store.run(now.facts["live_run", "", ""]))
    log = [(r.revision, r.title, r.decisions, r.n_erased) for r in store.history(1_000)]
    return now.facts, now.run.faces, now.run.owner, [(r.id, r.n_faces, r.n_people, r.n_noise) for r in runs], log


def must_be_whole(folder: Path, old: object, new: object, act: str) -> bool:
    """The old library or the new one, nothing else; it takes the same change (again). Whether it was the new one."""
    found = told(folder)
    assert found in (old, new), "a mix of before and after"
    if act != "an_erasing":
        assert {k[1]: v for k, v in found[0].items() if k[0] == "name"}.keys() == EDITS.keys()
        assert {k[1] for k, v in found[0].items() if k[0] == "pin" and v == "p1"} >= set(FACES[:9])
    if found == old:
        opened(folder).apply(ACTS[act](opened(folder)))
        assert told(folder) == new, "what was cut short cannot be done again"
    return found == new


@pytest.fixture(params=list(ACTS))
def act(request):
    return request.param


@pytest.fixture
def states(library, act, tmp_path):
    """What a library says before and after, undisturbed."""
    folder = copied(library, tmp_path / "undisturbed")
    old = told(folder)
    store = opened(folder)
    store.apply(ACTS[act](store))
    return old, told(folder)


def die_at(statement: int, folder: Path, act: str) -> None:
    """Do something, and be killed when the statement of this number begins (from 1, those of `apply` alone)."""
    watched: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connected(*args, **kwargs):
        watched.append(connect(*args, **kwargs))
        return watched[-1]

    sqlite3.connect = connected
    left = statement

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if act == "open":
        sqlite3.connect = lambda *args, **kwargs: (connected(*args, **kwargs), watched[0].set_trace_callback(count))[0]
        opened(folder)
        return
    store = opened(folder)
    planned = ACTS[act](store)
    watched[0].set_trace_callback(count)
    store.apply(planned)


def outcome(statement: int, folder: Path, act: str) -> int | None:
    process = _SPAWN.Process(target=die_at, args=(statement, folder, act))
    process.start()
    process.join()
    return process.exitcode


def test_a_kill_as_any_statement_begins_leaves_the_old_library_or_the_new_one(library, act, states, tmp_path, tell):
    n = n_new = 0
    died = -signal.SIGKILL
    while died == -signal.SIGKILL:
        n += 1
        folder = copied(library, tmp_path / str(n))
        died = outcome(n, folder, act)
        n_new += must_be_whole(folder, *states, act)
    assert died == 0
    assert n > {"a_publish": len(FACES), "a_rename": 8, "an_erasing": 20}[act]
    assert n_new >= 1, "the one that was not killed, and perhaps one killed after the commit"
    tell(f"{act}: killed at {n - 1} statements, {n_new - 1} of them after the commit")


def test_a_log_cut_after_any_of_its_writes_is_the_old_library_or_the_new_one(library, act, states, tmp_path, tell):
    """The log is only ever appended to within a transaction, so a kill leaves a beginning of it."""
    folder = copied(library, tmp_path / "written")
    store = opened(folder)
    planned = ACTS[act](store)
    store._db.forget = lambda: None  # type: ignore[method-assign]  # an erasing would empty the log that is to be cut
    store.apply(planned)
    log, page = (folder / "library.db-wal").read_bytes(), 4096 + 24
    before = (folder / "library.db").read_bytes()
    assert before == (library / "library.db").read_bytes(), "nothing goes into the library before a checkpoint"
    cuts = sorted({0, 16, *(32 + i * page + part for i in range((len(log) - 32) // page) for part in (0, 24, 2_000))})
    found = {}
    for cut in [*cuts, len(log)]:
        torn = tmp_path / f"cut-{cut}"
        torn.mkdir()
        (torn / "library.db").write_bytes(before)
        (torn / "library.db-wal").write_bytes(log[:cut])
        found[cut] = must_be_whole(torn, *states, act)
    assert list(found.values()) == sorted(found.values()), "once it is there, it stays"
    assert found[len(log)]
    assert not found[0]
    tell(f"{act}: its {(len(log) - 32) // page} writes of a page to the log cut at {len(found)} places")


def test_a_checkpoint_cut_after_any_page_is_the_new_library(library, act, states, tmp_path, tell):
    folder = copied(library, tmp_path / "written")
    store = opened(folder)
    planned = ACTS[act](store)
    forget = store._db.forget
    store._db.forget = lambda: None  # type: ignore[method-assign]
    store.apply(planned)
    log, before = (folder / "library.db-wal").read_bytes(), (folder / "library.db").read_bytes()
    forget()
    after = (folder / "library.db").read_bytes()
    assert after != before
    cuts = [cut for cut in range(0, len(after) + 1, 4096) if after[:cut] + before[cut:] != before]
    for cut in cuts:
        torn = tmp_path / f"cut-{cut}"
        torn.mkdir()
        (torn / "library.db").write_bytes(after[:cut] + before[cut:])
        (torn / "library.db-wal").write_bytes(log)
        assert must_be_whole(torn, *states, act)
    tell(f"{act}: its checkpoint cut at {len(cuts)} pages")


def test_a_kill_at_any_statement_of_an_upgrade_leaves_a_library_that_opens(tmp_path):
    n, died = 0, -signal.SIGKILL
    while died == -signal.SIGKILL:
        n += 1
        folder = library_of_format_1(tmp_path / str(n))
        died = outcome(n, folder, "open")
        with closing(sqlite3.connect(folder / "library.db")) as db:
            columns = {row[1] for row in db.execute("pragma table_info(log)")}
            assert db.execute("pragma user_version").fetchone()[0] == (2 if "n_erased" in columns else 1)
        store = opened(folder)
        assert store.read().facts[("name", "p1", "")] == "Anna"
        assert store.apply(change(2, said("name", "p2", "Bert"))) == 3
    assert died == 0
    assert n > 8
