"""The embedded people: revisions, the append-only log, runs, users, formats."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from facecluster.errors import InputError, StaleWriteError, StoreDataError, StoreDeniedError
from facecluster.model import ChangeSet, Decision, FaceId, PersonId, Question, Run, UserId
from facecluster.stores.local import FORMAT, Database, user_folder
from facecluster.stores.local_people import LocalPeopleStore

P1, P2 = PersonId("p1"), PersonId("p2")


def opened(folder: Path, user: str = "anna") -> LocalPeopleStore:
    return LocalPeopleStore(Database(folder, UserId(user)))


@pytest.fixture
def store(tmp_path):
    return opened(tmp_path)


def said(kind: str, subject: str, value: str | None, before: str | None = None, about: str = "") -> Decision:
    return Decision(kind, subject, about, value, before)  # type: ignore[arg-type]


def change(revision: int, *decisions: Decision, title: str = "named", run: Run | None = None) -> ChangeSet:
    return ChangeSet(revision, "anna", title, decisions, run)


def a_run(run_id: str = "r1", **changes: object) -> Run:
    values: dict[str, object] = {
        "id": run_id,
        "params": {"min_samples": 3, "epsilon": 0.35, "method": "eom", "refine": True},
        "fingerprint": "f" * 64,
        "faces": tuple(map(FaceId, ("a", "b", "z", "ö"))),
        "owner": (P1, None, P2, None),
        "label": np.array([0, -1, 1, -2], np.int32),
        "strength": np.array([1, 0, 1 / 3, 0], np.float32),
        "reason": {FaceId("ö"): "attached: „nearest“"},
        "questions": (Question("same", P1, P2, 7), Question("keep", P2, None, 1)),
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def table(folder: Path, name: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(folder / "library.db")
    try:
        return db.execute(f"select * from {name}").fetchall()  # noqa: S608
    finally:
        db.close()


def test_a_new_library_says_nothing_at_revision_zero(store):
    snapshot = store.read()
    assert (store.revision(), snapshot.revision, dict(snapshot.facts), snapshot.run) == (0, 0, {}, None)
    assert list(store.history(10)) == []
    assert list(store.runs()) == []


def test_each_change_set_is_one_revision_and_its_facts_are_there(store, tmp_path):
    assert store.apply(change(0, said("person", "p1", "1"), said("name", "p1", "Anna"))) == 1
    assert store.apply(change(1, said("pin", "face", "p1"), said("hidden", "p1", "1"))) == 2
    for reader in (store, opened(tmp_path)):
        snapshot = reader.read()
        assert (reader.revision(), snapshot.revision) == (2, 2)
        assert snapshot.people[P1].name == "Anna"
        assert snapshot.people[P1].is_hidden
        assert snapshot.facts[("pin", "face", "")] == "p1"


def test_a_fact_that_is_taken_back_is_gone(store):
    store.apply(change(0, said("pin", "face", "p1")))
    store.apply(change(1, said("pin", "face", None, before="p1")))
    assert dict(store.read().facts) == {}


def test_an_empty_text_is_a_fact_and_not_the_lack_of_one(store):
    store.apply(change(0, said("name", "p1", "")))
    assert store.read().facts[("name", "p1", "")] == ""


@pytest.mark.parametrize("revision", [0, 2, -1])
def test_a_stale_change_leaves_everything_as_it_was(revision, store, tmp_path):
    store.apply(change(0, said("person", "p1", "1"), title="first word"))
    before = table(tmp_path, "facts"), table(tmp_path, "log"), table(tmp_path, "runs")
    with pytest.raises(StaleWriteError, match=r"first word.*by anna.*revision 1.*Nothing was written"):
        store.apply(change(revision, said("person", "p2", "1"), run=a_run()))
    assert (table(tmp_path, "facts"), table(tmp_path, "log"), table(tmp_path, "runs")) == before
    assert store.apply(change(1, said("person", "p2", "1"))) == 2


@pytest.mark.parametrize("before", [None, "Bert", ""])
def test_a_decision_made_on_another_value_is_refused_with_both_values_shown(before, store, tmp_path):
    store.apply(change(0, said("name", "p1", "Anna")))
    with pytest.raises(StaleWriteError) as caught:
        store.apply(change(1, said("person", "p9", "1"), said("name", "p1", "Clara", before=before), run=a_run()))
    for part in ("'Anna'", repr(before), "'Clara'", "Nothing was written"):
        assert part in str(caught.value)
    assert dict(store.read().facts) == {("name", "p1", ""): "Anna"}
    assert (store.revision(), table(tmp_path, "runs"), table(tmp_path, "run_faces")) == (1, [], [])


def test_the_inverse_of_a_change_restores_the_exact_state(store):
    store.apply(change(0, said("person", "p1", "1"), said("name", "p1", "Anna")))
    before = dict(store.read().facts)
    done = (
        said("name", "p1", "Bert", before="Anna"),
        said("cover", "p1", "face"),
        said("name", "p1", None, before="Bert"),
    )
    store.apply(change(1, *done))
    undo = tuple(d.inverse() for d in reversed(done))
    store.apply(ChangeSet(2, "anna", "undo", undo, undoes=2))
    assert dict(store.read().facts) == before
    assert store.history(1)[0].undoes == 2


@pytest.mark.parametrize(
    "statement", ["update log set title = 'x'", "delete from log", "delete from log where revision = 1"]
)
def test_the_log_cannot_be_rewritten_or_cut_even_by_hand(statement, store, tmp_path):
    store.apply(change(0, said("name", "p1", "Anna")))
    db = sqlite3.connect(tmp_path / "library.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    db.close()
    assert store.history(10)[0].title == "named"


def test_a_run_comes_back_as_it_was_published(store, tmp_path):
    run = a_run()
    store.apply(change(0, said("live_run", "", "r1"), run=run))
    for found in (store.run("r1"), store.read().run, opened(tmp_path).read().run):
        assert found is not None
        for name in ("id", "params", "fingerprint", "faces", "owner", "reason", "questions"):
            assert getattr(found, name) == getattr(run, name)
        for name in ("label", "strength"):
            np.testing.assert_array_equal(getattr(found, name), getattr(run, name))
            assert getattr(found, name).dtype == getattr(run, name).dtype


def test_a_run_without_faces_comes_back_too(store):
    nothing = {"faces": (), "owner": (), "label": np.array([], np.int32), "strength": np.array([], np.float32)}
    store.apply(change(0, said("live_run", "", "r0"), run=a_run("r0", **nothing, reason={}, questions=())))
    found = store.read().run
    assert found is not None
    assert (found.faces, found.label.shape, found.label.dtype) == ((), (0,), np.int32)


def test_the_list_of_runs_counts_people_and_noise_but_not_the_blurred(store):
    store.apply(change(0, said("live_run", "", "r1"), run=a_run()))
    record = store.runs()[0]
    assert (record.id, record.author, record.n_faces, record.n_people, record.n_noise) == ("r1", "anna", 4, 2, 1)
    assert record.params["epsilon"] == 0.35
    assert datetime.fromisoformat(record.at).utcoffset() is not None


def test_runs_published_within_one_second_are_listed_newest_first(store):
    ids = ["m", "z", "a", "k"]
    for revision, run_id in enumerate(ids):
        store.apply(change(revision, run=a_run(run_id)))
    assert [record.id for record in store.runs()] == ids[::-1]


def test_publishing_the_same_run_again_only_moves_the_pointer(store):
    store.apply(change(0, said("live_run", "", "r1"), run=a_run("r1")))
    store.apply(change(1, said("live_run", "", "r2", before="r1"), run=a_run("r2")))
    store.apply(change(2, said("live_run", "", "r1", before="r2"), run=a_run("r1")))
    live = store.read().run
    assert live is not None
    assert live.id == "r1"
    assert len(store.runs()) == 2


def test_a_run_that_never_was_is_one_sentence(store):
    with pytest.raises(InputError, match="no run 'nope'"):
        store.run("nope")


def test_history_is_paged_newest_first_with_its_decisions(store):
    for i in range(7):
        store.apply(change(i, said("name", "p1", f"n{i + 1}", before=f"n{i}" if i else None), title=f"t{i + 1}"))
    first = store.history(3)
    assert [record.revision for record in first] == [7, 6, 5]
    assert first[0].decisions == (said("name", "p1", "n7", before="n6"),)
    assert (first[0].title, first[0].author, first[0].undoes) == ("t7", "anna", None)
    second = store.history(3, before=first[-1].revision)
    assert [record.revision for record in second] == [4, 3, 2]
    assert [record.revision for record in store.history(3, before=2)] == [1]
    assert list(store.history(3, before=1)) == []


def test_two_users_never_see_each_others_rows(tmp_path):
    stores = {user: opened(user_folder(tmp_path, UserId(user)), user) for user in ("issuer|anna", "issuer|bert")}
    for user, store in stores.items():
        store.apply(
            change(0, said("person", "p1", "1"), said("name", "p1", user), said("live_run", "", user), run=a_run(user))
        )
    for user in stores:
        store = opened(user_folder(tmp_path, UserId(user)), user)
        assert store.read().people[P1].name == user
        assert [record.id for record in store.runs()] == [user]
        assert len(store.history(10)) == 1


def test_two_stores_on_one_library_notice_each_other(tmp_path):
    one, two = opened(tmp_path), opened(tmp_path)
    one.apply(change(0, said("name", "p1", "Anna")))
    assert two.revision() == 1
    with pytest.raises(StaleWriteError):
        two.apply(change(0, said("name", "p2", "Bert")))
    assert two.apply(change(1, said("name", "p2", "Bert"))) == 2
    assert one.read().revision == 2


def test_a_library_of_a_newer_version_is_not_opened(tmp_path):
    opened(tmp_path)
    db = sqlite3.connect(tmp_path / "library.db")
    db.execute(f"pragma user_version = {FORMAT + 1}")
    db.close()
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
