"""What a person may ask for: an export that opens without our code, and who was not spoken of for how long."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from click.testing import CliRunner
from servers.pinecone_server import PineconeServer
from small_library import PARAMS, faces, make_library, open_library, write_faces

from facecluster import cli, rights
from facecluster.errors import CancelledError, InputError, StoreUnavailableError
from facecluster.service import Service
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore


@pytest.fixture
def service(tmp_path):
    return make_library(tmp_path)


def called(service, *arguments, code=0):
    found = CliRunner().invoke(cli.cli, ["--library", str(service.settings.library), *arguments])
    assert found.exit_code == code, (found.output, found.exception)
    return found.output if code == 0 else str(found.exception)


def somebody(service):
    card = service.view().people()[0]
    service.rename(card.id, "Anna")
    service.confirm(card.id, service.view().ids_of(card.id)[:2])
    return card.id


def test_an_export_of_a_person_opens_without_our_code(service, tmp_path):
    anna = somebody(service)
    mine = service.view().ids_of(anna)
    assert "“Anna”" in called(service, "export-person", anna, "--to", str(tmp_path / "out"))
    vectors = np.load(tmp_path / "out" / "vectors.npy", allow_pickle=False)
    ids = json.loads((tmp_path / "out" / "vectors.json").read_text())
    assert sorted(ids) == sorted(mine)
    for face, vector in zip(ids, vectors, strict=True):
        assert (vector == service.view().faces.vectors[service.view().row(face)]).all()
    person = json.loads((tmp_path / "out" / "person.json").read_text())
    assert (person["name"], len(person["faces"])) == ("Anna", len(mine))
    changes = json.loads((tmp_path / "out" / "changes.json").read_text())
    assert [one["value"] for change in changes for one in change["said"] if one["kind"] == "name"] == ["Anna"]
    runs = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert list(runs.values()) == [sorted(mine)]
    assert all(word in (tmp_path / "out" / "README.txt").read_text() for word in ("person.json", "vectors.npy"))


def test_an_export_names_nobody_else(service, tmp_path):
    anna = somebody(service)
    other = service.view().people()[1].id
    service.rename(other, "Somebody Else")
    service.tell_apart([anna, other])
    files = service.everything_about(anna)
    assert not [name for name, content in files.items() if b"Somebody Else" in content]


def test_an_export_writes_over_nothing(service, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    anna = somebody(service)
    assert "Nothing was written" in called(service, "export-person", anna, "--to", str(tmp_path / "out"), code=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("text", "days"), [("90d", 90), ("4w", 28), ("18m", 547.875), ("3y", 1095.75)])
def test_an_age_is_read(text, days):
    assert rights.age_of(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["", "3", "y", "-3y", "3 years", "3.5y", "99999y"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(InputError, match="is no age"):
        rights.age_of(text)


def test_who_was_spoken_of_since_is_not_listed(service):
    everybody = {
        one.person for one in rights.untouched(service.view(), service.history(100), datetime.max.replace(tzinfo=UTC))
    }
    assert everybody == {card.id for card in service.view().cards}
    moment = datetime.now(UTC)
    anna = somebody(service)
    found = rights.untouched(service.view(), service.history(100), moment)
    assert {one.person for one in found} == everybody - {anna}
    assert all(one.at is not None and one.at < moment for one in found)


def test_retention_lists_and_erases_only_the_very_number_of_people(service):
    anna = somebody(service)
    others = [card.id for card in service.view().cards if card.id != anna]
    assert "0 people" in called(service, "retention")
    log = service.history(100)
    with closing(sqlite3.connect(next(service.settings.library.rglob("library.db")))) as db:
        db.execute("drop trigger log_is_append_only_1")
        old = (datetime.now(UTC) - timedelta(days=1200)).isoformat()
        db.execute("update log set at = ? where revision = ?", (old, log[-1].revision))
        db.commit()
    listed = json.loads(called(service, "retention", "--json"))
    assert sorted(row["cluster_id"] for row in listed) == sorted(others)
    assert "Nothing was erased" in called(service, "retention", "--erase", "--yes-erase", "1", code=1)
    assert "Nothing was erased" in called(service, "retention", "--erase", code=1)
    assert len(open_library(service.settings.library).view().cards) == len(others) + 1
    with closing(sqlite3.connect(next(service.settings.library.rglob("library.db")))) as db:
        db.execute(
            "create trigger log_is_append_only_1 before update on log "
            "begin select raise(abort, 'the log is append-only'); end"
        )
    called(service, "retention", "--erase", "--yes-erase", str(len(others)))
    assert [card.id for card in open_library(service.settings.library).view().cards] == [anna]


@pytest.mark.parametrize("how", [["--faces", "{n}", "--yes"], ["--yes-erase", "{n}"]])
def test_a_person_is_erased_by_their_number_of_faces(service, how):
    anna = somebody(service)
    n = len(service.view().everything_of(anna)[0])
    wrong = [word.format(n=n + 1) for word in how]
    assert "Nothing was erased" in called(service, "erase-person", anna, *wrong, code=1)
    assert "Erased “Anna”" in called(service, "erase-person", anna, *[word.format(n=n) for word in how])
    assert anna not in open_library(service.settings.library).view().number


def test_a_number_alone_is_still_asked_about(service):
    anna = somebody(service)
    n = len(service.view().everything_of(anna)[0])
    assert "nobody can be asked" in called(service, "erase-person", anna, "--faces", str(n), code=1)
    assert anna in open_library(service.settings.library).view().number


def test_blocked_faces_are_counted_and_not_named_when_they_are_imported_again(service, tmp_path):
    anna = somebody(service)
    mine = service.view().everything_of(anna)[0]
    called(service, "erase-person", anna, "--yes-erase", str(len(mine)), "--block")
    renamed = faces()
    renamed["ids"] = np.array([f"again-{one}" for one in renamed["ids"]])
    for file in (tmp_path / "faces.npz", write_faces(tmp_path / "renamed.npz", **renamed)):
        said = called(service, "import", str(file))
        assert f"{len(mine)} left out: they are of people who were erased" in said
        assert not [face for face in mine if face in said]


def test_blocked_faces_do_not_come_back_from_an_index(tmp_path):
    columns = faces()
    with PineconeServer(dimension=16) as index:
        index.put(columns["ids"].tolist(), columns["vectors"], [{}] * len(columns["ids"]))
        given = {"pinecone_api_key": index.api_key, "pinecone_host": index.url}
        service = open_library(tmp_path / "library", **given)
        service.fetch()
        service.publish(service.plan(PARAMS))
        person = service.view().people()[0].id
        mine = service.view().everything_of(person)[0]
        service.erasing.erase([person], len(mine), block=True)
        index.put(columns["ids"].tolist(), columns["vectors"], [{}] * len(columns["ids"]))
        coverage = service.fetch().coverage
        assert coverage is not None
        assert coverage.is_complete
        assert f"{len(mine)} faces were left out" in coverage.why
        assert not set(mine) & set(service.view().faces.ids)
        data = b"".join(path.read_bytes() for path in (tmp_path / "library").rglob("*") if path.is_file())
        assert not [face for face in mine if face.encode() in data]


def test_what_was_being_computed_of_the_faces_before_is_not_saved_after_an_erasing(service):
    anna, cache = somebody(service), next(service.settings.library.rglob("cache"))
    before = open_library(service.settings.library)
    with before.held():
        service.erase(anna, len(service.view().everything_of(anna)[0]))
        kept = set(cache.glob("*.npz"))
        before.prepare(50.0, (4,))
        assert {path.name.split("-")[0] for path in set(cache.glob("*.npz")) - kept} <= {"base"}


@pytest.mark.parametrize(
    "compute", [Service.map, lambda s, progress: s.stability(PARAMS, progress)], ids=["of faces", "of settings"]
)
def test_a_map_of_somebody_who_is_erased_in_the_middle_of_it_is_not_saved(service, compute):
    anna, cache = somebody(service), next(service.settings.library.rglob("cache"))
    other, n = open_library(service.settings.library), []

    def erase_once(share, words):
        if not n:
            n.append(len(other.view().everything_of(anna)[0]))
            other.erase(anna, n[0])

    compute(service, erase_once)
    assert n
    assert [path.name for path in cache.glob("*.npz")] == []


def test_settings_cannot_be_compared_by_hierarchies_of_somebody_erased(service):
    anna = somebody(service)
    before = open_library(service.settings.library)
    with before.held():
        service.erase(anna, len(service.view().everything_of(anna)[0]))
        with pytest.raises(CancelledError, match=r"Somebody was erased while.*Start it again"):
            before.stability(PARAMS)


def test_a_computation_whose_work_was_taken_away_by_an_erasing_says_so(service, tmp_path):
    from facecluster.compute import ComputeCache

    cache = ComputeCache(tmp_path / "cache")

    def make():
        cache.clear(8)
        raise FileNotFoundError

    with cache.as_of(7), pytest.raises(CancelledError, match="Somebody was erased"):
        cache.stability("x", make)


def test_a_reader_of_an_older_moment_keeps_an_erasing_open_and_the_next_start_ends_it(service):
    anna = somebody(service)
    n = len(service.view().everything_of(anna)[0])
    path = next(service.settings.library.rglob("library.db"))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from facts").fetchone()
        with pytest.raises(StoreUnavailableError, match="keeps traces in its write-ahead log"):
            service.erase(anna, n)
        assert (path.parent / "erasing.json").is_file()
    again = open_library(service.settings.library)
    assert not (path.parent / "erasing.json").exists()
    assert anna not in again.view().number
    data = b"".join(one.read_bytes() for one in path.parent.rglob("*") if one.is_file())
    assert anna.encode() not in data
    assert [record.title for record in again.history(1)] == [f"Erased a person and {n} faces"]


def test_writing_a_library_anew_leaves_no_deleted_row(tmp_path, tell):
    """Overwriting deleted rows is not enough: with SQLite 3.40, 3 of these 300 ids stayed in the file."""
    database, rng = Database(tmp_path, "anna"), np.random.default_rng(0)
    LocalFaceStore(database), LocalPeopleStore(database)
    ids = [f"id-{i:06d}" for i in rng.permutation(6_000)]
    for start in range(0, len(ids), 100):
        with database.write() as db:
            rows = [
                (i, "p" * int(rng.integers(1, 200)), *[""] * 3, *[0.0] * 5, 0, 0, b"") for i in ids[start : start + 100]
            ]
            db.executemany(f"insert into faces values({','.join('?' * 13)})", rows)
    gone = ids[::20]
    with database.write() as db:
        db.executemany("delete from faces where id = ?", [(one,) for one in gone])
    database.forget()
    before = (tmp_path / "library.db").read_bytes()
    assert database.compact()
    after = (tmp_path / "library.db").read_bytes()
    assert not [one for one in gone if one.encode() in after]
    n_left = sum(one.encode() in before for one in gone)
    tell(f"deleted ids in the file before it was written anew: {n_left} of {len(gone)}")


def test_a_damaged_note_is_one_sentence(service):
    anna = somebody(service)
    folder = next(service.settings.library.rglob("library.db")).parent
    (folder / "erasing.json").write_text("{")
    with pytest.raises(Exception, match=r"is damaged.*Nothing was changed"):
        service.erase(anna, len(service.view().everything_of(anna)[0]))
    assert anna in open_library(service.settings.library).view().number, "it can still be opened"
