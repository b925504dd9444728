"""What a store behind a network can do wrong: half an answer, none, one that never arrives; and a wrong key."""

from __future__ import annotations

import contextlib
import dataclasses
import time

import numpy as np
import psycopg
import pytest
from contracts import builders
from servers.faults import Fault
from servers.postgres_server import shared_postgres
from servers.rest_server import RestServer

from facecluster.config import load_settings
from facecluster.errors import (
    ConfigError,
    InputError,
    StaleWriteError,
    StoreDataError,
    StoreDeniedError,
    StoreUnavailableError,
)
from facecluster.model import ChangeSet, Decision, FaceId, PersonId, Run, UserId
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore
from facecluster.stores.supabase import PAGE, open_people

ANNA = UserId("anna")
RPC = "/rest/v1/rpc/"


@pytest.fixture(scope="module")
def database():
    return shared_postgres().database()


@pytest.fixture
def rest(database):
    with RestServer(database) as server, builders.clients_closed():
        yield server


@pytest.fixture
def faces(tmp_path, make_batch):
    store = LocalFaceStore(Database(tmp_path, ANNA))
    store.add(make_batch(["a", "b", "c", "d"], url=["https://photos.example/1.jpg"] * 4))
    return store


@pytest.fixture
def opened(rest, faces):
    """Stores of a user nobody had before."""
    user = UserId(f"anna {time.perf_counter_ns()}")

    def open_it(token=None, patience_s=20.0, glance_s=0.0, **settings):
        given = {"supabase_url": rest.url, "supabase_service_key": rest.service_key, **settings}
        return open_people(load_settings(**given), user, faces, token or "", patience_s, glance_s)

    open_it.user = user
    return open_it


def said(kind, subject, value, before=None, about=""):
    return Decision(kind, subject, about, value, before)


def named(revision, name, before=None):
    return ChangeSet(revision, "anna", "named", (said("person", "p1", "1"), said("name", "p1", name, before)))


def a_run(run_id="r1", faces=("a", "b", "c", "d"), **changes):
    values = {
        "id": run_id,
        "params": {"epsilon": 0.35, "blur_threshold": 50.0},
        "fingerprint": "f",
        "faces": tuple(map(FaceId, faces)),
        "owner": tuple(PersonId("p1") if i % 2 == 0 else None for i in range(len(faces))),
        "label": np.array([0 if i % 2 == 0 else -1 for i in range(len(faces))], np.int32),
        "strength": np.linspace(0, 1, len(faces), dtype=np.float32),
    }
    return Run(**{**values, **changes})


def published(revision=0, run=None, before=None):
    run = run or a_run()
    people = tuple(said("person", owner, "1") for owner in sorted({o for o in run.owner if o}) if before is None)
    return ChangeSet(revision, "anna", "published", (*people, said("live_run", "", run.id, before)), run)


# --- the way there ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(429, retry_after=0), Fault.status(500), Fault.status(502, b"<html>bad gateway</html>"),
        Fault.status(503), Fault.status(504), Fault.reset(), Fault.truncated(), Fault.short(), Fault.lost(),
    ],
    ids=lambda fault: f"{fault.kind}{fault.code or ''}",
)  # fmt: skip
@pytest.mark.parametrize(
    "function", ["fc_begin_run", "fc_stage", "fc_know_faces", "fc_apply", "fc_changes", "fc_run_faces"]
)
def test_one_failure_on_the_way_changes_nothing_in_the_outcome(function, fault, rest, opened):
    store, reader = opened(), opened()
    assert store.apply(named(0, "Anna")) == 1
    rest.faults.add(RPC + function, fault)
    run = a_run(f"run-{function}")
    change = ChangeSet(1, "anna", "published", (said("live_run", "", run.id),), run)
    assert store.apply(change) == 2
    found = reader.read()
    assert (found.revision, found.people[PersonId("p1")].name) == (2, "Anna")
    assert found.run.faces == run.faces
    assert [record.title for record in reader.history(10)] == ["published", "named"]
    store.read()
    assert rest.faults.is_spent()


def test_patience_ends_with_a_sentence_and_in_time(rest, opened):
    store = opened(patience_s=2.0)
    rest.faults.add(RPC, Fault.stall(30), times=50)
    start = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 2 seconds.*Nothing was changed"):
        store.read()
    assert time.monotonic() - start < 8
    rest.faults.clear()


def test_a_port_where_nobody_listens_is_one_sentence(opened):
    with builders.clients_closed():
        store = opened(supabase_url="http://127.0.0.1:9", patience_s=1.0)
        with pytest.raises(StoreUnavailableError, match="did not answer"):
            store.revision()


def test_a_change_whose_answer_was_lost_for_good_is_there_once_when_it_is_looked_for(rest, opened):
    store = opened(patience_s=8.0)
    rest.faults.add(RPC + "fc_apply", Fault.lost(), times=50)
    with pytest.raises(StoreUnavailableError, match="Whether this was written shows"):
        store.apply(named(0, "Anna"))
    rest.faults.clear()
    assert [record.title for record in store.history(10)] == ["named"]
    assert store.read().people[PersonId("p1")].name == "Anna"


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sb_secret_wrong", "not-a-key-at-all", "eyJhbGciOiJIUzI1NiJ9.e30.wrong"])
def test_a_wrong_key_is_refused_with_a_sentence_that_does_not_print_it(key, opened):
    with pytest.raises(StoreDeniedError) as caught:
        opened(supabase_service_key=key).read()
    assert key not in str(caught.value)
    assert "Check the key" in str(caught.value)


@pytest.mark.parametrize("slip", ["\n", " ", "ö", "\nX: y"])
def test_a_key_or_token_with_a_slip_of_copying_is_refused_without_being_printed(slip, rest, opened):
    for given in (
        {"supabase_service_key": f"sb_secret_topsecret{slip}"},
        {"token": f"eyJtopsecret{slip}", "supabase_publishable_key": rest.publishable_key},
    ):
        with pytest.raises(ConfigError, match="Copy it again") as caught:
            opened(**given).read()
        assert "topsecret" not in str(caught.value)


def test_the_publishable_key_alone_opens_nothing(rest, opened):
    with pytest.raises(StoreDeniedError, match="refuses"):
        opened(supabase_service_key=rest.publishable_key).read()


def test_a_token_is_its_own_subject_and_nobody_else(rest, opened, faces):
    store = opened(token=rest.token(opened.user), supabase_publishable_key=rest.publishable_key)
    store.apply(named(0, "Anna"))
    assert opened().read().people[PersonId("p1")].name == "Anna"
    other = opened(token=rest.token("somebody else"), supabase_publishable_key=rest.publishable_key)
    assert not other.read().facts


@pytest.mark.parametrize("token", ["expired", "no subject", "forged"])
def test_a_token_that_is_none_is_refused(token, rest, opened):
    text = {
        "expired": rest.token(opened.user, expires_in=-60),
        "no subject": rest.token(None),
        "forged": rest.token(opened.user)[:-4] + "AAAA",
    }[token]
    with pytest.raises(StoreDeniedError, match="sign in again"):
        opened(token=text, supabase_publishable_key=rest.publishable_key).read()


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"supabase_service_key": ""}, "SUPABASE_SERVICE_KEY"), ({"supabase_url": "abc.supabase.co"}, "SUPABASE_URL")],
)
def test_settings_that_cannot_work_name_the_one_to_set(settings, name, opened):
    with pytest.raises(ConfigError, match=rf"{name}.*Nothing was opened"):
        opened(**settings)


def test_a_project_without_the_migrations_says_which_files_to_apply(opened):
    with RestServer(shared_postgres().bare_database()) as bare, pytest.raises(ConfigError, match="supabase/migrations"):
        opened(supabase_url=bare.url, supabase_service_key=bare.service_key).read()


# --- what is read ----------------------------------------------------------------------------------------------------


def test_no_answer_ever_has_more_rows_than_a_page(rest, opened):
    n = 2 * PAGE + 500
    run = a_run("large", faces=[f"f-{i:05}" for i in range(n)])
    store = opened()
    store.apply(published(0, run))
    pins = tuple(said("pin", f"f-{i:05}", "p1") for i in range(n))
    store.apply(ChangeSet(1, "anna", "confirmed", pins))
    rest.requests.clear()
    found = opened().read()
    assert found.run.faces == run.faces
    assert sum(kind == "pin" for kind, _, _ in found.facts) == n
    pages = [one for one in rest.requests if one.path == RPC + "fc_run_faces"]
    assert len(pages) == 3
    assert all("?" not in one.path and not one.query for one in rest.requests), "an id or a name in an address"


def test_facts_that_change_while_their_pages_are_read_come_out_as_one_moment(rest, opened):
    writer, reader = opened(), opened()
    pins = tuple(said("pin", f"f-{i:05}", "p1") for i in range(3 * PAGE))
    writer.apply(ChangeSet(0, "anna", "confirmed", pins))
    call, n_pages = reader._call, []

    def in_between(function, answer, **arguments):
        found = call(function, answer, **arguments)
        if function == "fc_facts":
            n_pages.append(1)
            if len(n_pages) == 2:  # rows that were read already, rows still to come, and a new one
                changed = [
                    said("pin", f"f-{i:05}", value, "p1")
                    for i, value in ((0, "p2"), (1, None), (2999, "p2"), (2998, None))
                ]
                writer.apply(ChangeSet(1, "anna", "moved", (*changed, said("pin", "a-new-one", "p2"))))
        return found

    reader._call = in_between
    found = reader.read()
    assert found.revision == 2
    assert found.facts == writer.read().facts
    assert len(found.facts) == 3 * PAGE - 2 + 1


def test_a_run_from_which_faces_are_erased_while_it_is_read_is_read_once_more(opened):
    writer, reader = opened(), opened()
    run = a_run("r1", tuple(f"f-{i:05}" for i in range(2 * PAGE + 5)))
    writer.apply(published(run=run))
    call, heads = reader._call, []

    def in_between(function, answer, **arguments):
        found = call(function, answer, **arguments)
        if function == "fc_run":
            heads.append(1)
            if len(heads) == 1:  # the first page then ends in the second, and as many rows come as were counted
                writer.apply(ChangeSet(1, "anna", "erased", (), erased=("f-00001",)))
        return found

    reader._call = in_between
    assert reader.run("r1").faces == (run.faces[0], *run.faces[2:])


def test_a_run_that_another_process_made_whole_again_is_not_taken_from_memory(opened):
    store, other = opened(), opened()
    store.apply(published())
    store.apply(ChangeSet(1, "anna", "erased", (), erased=("b",)))
    assert store.read().run.faces == ("a", "c", "d")
    other.apply(ChangeSet(2, "anna", "published again", (), a_run()))
    assert store.read().run.faces == a_run().faces


def test_a_run_of_which_somebody_was_erased_can_be_published_whole_after_it_was_let_go(database, opened):
    store = opened()
    store.apply(published())
    store.apply(ChangeSet(1, "anna", "erased", (), erased=("b",)))
    store._prune = lambda: None  # killed before it got to that
    before = "r1"
    for i in range(2, 9):
        store.apply(published(i, a_run(f"r{i}"), before=before))
        before = f"r{i}"
    store.apply(published(9, before=before))
    assert opened().read().run.faces == a_run().faces


def test_whoever_was_merged_into_somebody_erased_is_a_person_again(rest, opened):
    store = opened()
    run = a_run(owner=(PersonId("p1"), PersonId("p1"), PersonId("p2"), None), label=np.array([0, 0, 1, -1], np.int32))
    people = tuple(said("person", person, "1") for person in ("p1", "p2"))
    store.apply(ChangeSet(0, "anna", "published", (*people, said("live_run", "", "r1")), run))
    store.apply(ChangeSet(1, "anna", "merged", (said("merged_into", "p2", "p1"),)))
    store.apply(ChangeSet(2, "anna", "erased", (), erased=("a", "b", "p1")))
    assert set(store.read().facts) == {("person", "p2", ""), ("live_run", "", "")}
    with rest.database.connect() as db:
        as_user(db, opened.user)
        rows = db.execute("select vector_id, cluster_id from face_vector_clusters").fetchall()
    assert rows == [("c", "p2")]


def test_a_run_that_is_kept_in_memory_is_not_read_again(rest, opened):
    store = opened()
    store.apply(published())
    first = store.read().run
    rest.requests.clear()
    store.apply(ChangeSet(1, "anna", "named", (said("name", "p1", "Anna"),)))
    assert store.read().run is first
    assert {one.path for one in rest.requests} == {RPC + "fc_apply", RPC + "fc_changes"}


def test_a_glance_is_believed_for_its_time_and_never_after_a_change_of_ones_own(rest, opened):
    store, other = opened(glance_s=30.0), opened()
    assert store.revision() == 0
    other.apply(named(0, "Anna"))
    assert store.revision() == 0
    with pytest.raises(StaleWriteError, match=r"“named” by anna.*revision 1.*made on 0"):
        store.apply(named(0, "Bert"))
    assert store.revision() == 1
    assert store.apply(ChangeSet(1, "anna", "again", (said("name", "p1", "Clara", "Anna"),))) == 2
    assert store.revision() == 2


def test_erasing_is_seen_by_whoever_had_read_before(opened):
    writer, reader = opened(), opened()
    writer.apply(published())
    writer.apply(ChangeSet(1, "anna", "confirmed", (said("pin", "a", "p1"),)))
    assert ("pin", "a", "") in reader.read().facts
    writer.apply(ChangeSet(2, "anna", "erased", (), erased=("a",)))
    found = reader.read()
    assert ("pin", "a", "") not in found.facts
    assert found.run.faces == ("b", "c", "d")


# --- what is written -------------------------------------------------------------------------------------------------


def test_rows_that_did_not_arrive_are_told_and_the_run_before_stays(database, rest, opened):
    store = opened()
    store.apply(published())
    second = a_run("r2", faces=["a", "b"])
    call = store._call

    def losing(function, answer, **arguments):
        if function == "fc_stage":
            arguments["p"] = {column: values[:1] for column, values in arguments["p"].items()}
        return call(function, answer, **arguments)

    store._call = losing
    with pytest.raises(StoreDataError, match=r"'r2' 1 of 2 faces arrived.*not published"):
        store.apply(published(1, second, before="r1"))
    store._call = call
    assert store.read().run.id == "r1"
    assert store.apply(published(1, second, before="r1")) == 2
    assert store.read().run.faces == second.faces


def test_what_is_shown_of_a_face_is_sent_once_and_again_when_it_changes(rest, opened, faces, make_batch):
    store = opened()

    def n_sent():
        return sum(one.path == RPC + "fc_know_faces" for one in rest.requests)

    store.apply(published())
    assert n_sent() == 1
    store.apply(published(1, a_run("r2"), before="r1"))
    assert n_sent() == 1
    faces.add(make_batch(["b"], vectors=faces.read().vectors[1:2], url=["https://photos.example/other.jpg"]))
    store.apply(published(2, a_run("r3"), before="r2"))
    assert n_sent() == 2
    with rest.database.connect() as db:
        as_user(db, opened.user)
        rows = db.execute("select vector_id, image_url from face_vector_clusters order by 1").fetchall()
    assert rows == [("a", "https://photos.example/1.jpg"), ("c", "https://photos.example/1.jpg")]


def test_a_run_that_was_let_go_can_be_published_again(opened):
    store = opened()
    before = None
    for i in range(8):
        store.apply(published(i, a_run(f"r{i}"), before=before))
        before = f"r{i}"
    assert "r0" not in [record.id for record in store.runs()]
    with pytest.raises(InputError, match="no run 'r0'"):
        store.run("r0")
    store.apply(published(8, a_run("r0"), before=before))
    assert store.read().run.id == "r0"
    assert store.run("r0").faces == a_run().faces


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_on_the_way_the_project_ends_equal_to_the_embedded_store(seed, rest, opened, tmp_path):
    rng = np.random.default_rng(seed)
    model = LocalPeopleStore(Database(tmp_path / "model", ANNA))
    stores = [opened(patience_s=20.0), opened(patience_s=20.0)]
    faults = [Fault.status(500), Fault.status(503), Fault.reset(), Fault.truncated(), Fault.short(), Fault.lost()]

    def any_of(values):
        return values[rng.integers(len(values))]

    def drawn():
        now = model.read()
        people = [f"p{i}" for i in range(5)]
        kinds = ("name", "cover", "hidden", "merged_into", "pin", "not_person", "mark", "person")
        said_of = {(any_of(kinds), any_of([*people, *"abcd"])) for _ in range(rng.integers(4))}
        keys = {(kind, of, any_of(people) if kind == "not_person" else "") for kind, of in said_of}
        facts = [
            Decision(*key, any_of([None, "p1", "p2", "Zoë \U0001f469"]), now.facts.get(key)) for key in sorted(keys)
        ]
        run, live = None, now.facts.get(("live_run", "", ""))
        if rng.random() < 0.4:
            run = a_run(
                f"r{rng.integers(9)}", owner=tuple(any_of([PersonId("p1"), PersonId("p2"), None]) for _ in "abcd")
            )
            with contextlib.suppress(InputError):  # the id is the content
                run = dataclasses.replace(model.run(run.id))
        shown = run.id if run else any_of([live, live, f"r{rng.integers(9)}"])
        if shown != live:
            facts.append(Decision("live_run", "", "", shown, live))
        erased = tuple({any_of([*people, *"abcd"]) for _ in range(2)}) if rng.random() < 0.15 else ()
        stale = int(rng.random() < 0.1)
        return ChangeSet(now.revision - stale, "anna", f"change {rng.random()}", tuple(facts), run, erased=erased)

    for _ in range(16):
        if rng.random() < 0.3:
            path = RPC + any_of(["fc_apply", "fc_", "fc_stage", "fc_begin_run", "fc_changes", "fc_run"])
            rest.faults.add(path, any_of(faults), times=int(rng.integers(1, 9)), after=int(rng.integers(2)))
        change, store = drawn(), any_of(stores)
        ours = theirs = None
        with contextlib.suppress(StoreUnavailableError):
            try:
                store.apply(change)
            except (StaleWriteError, InputError) as exc:
                theirs = str(exc)
        rest.faults.clear()
        if theirs or store.revision() > model.revision():
            try:
                model.apply(change)
            except (StaleWriteError, InputError) as exc:
                ours = str(exc)
        assert ours == theirs
        assert summary(any_of(stores)) == summary(model)
    assert summary(opened()) == summary(model)


def summary(store):
    now = store.read()
    runs = sorted((one.id, one.n_faces, one.n_people, one.n_noise) for one in store.runs())
    log = [dataclasses.replace(record, at="") for record in store.history(99)]
    run = now.run and (now.run.id, now.run.faces, now.run.owner, dict(now.run.reason), now.run.questions)
    return now.revision, dict(now.facts), run, runs, log


def as_user(db: psycopg.Connection, user: str) -> None:
    db.execute("select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text, false)", (user,))
