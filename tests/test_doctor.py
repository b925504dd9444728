"""The doctor, on real stores: each thing that can be wrong is made wrong, and its sentence is looked for."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import jwt
import numpy as np
import pytest
from click.testing import CliRunner
from servers.pinecone_server import Fault, PineconeServer
from servers.postgres_server import shared_postgres
from servers.rest_server import RestServer
from small_library import make_library

from facecluster import cli, doctor, doctor_supabase, findings
from facecluster.config import Settings, load_settings
from facecluster.errors import StoreUnavailableError
from facecluster.findings import Finding, within
from facecluster.stores.local import FORMAT, user_folder
from facecluster.wiring import open_service

CHECKS_OF_PINECONE = [
    "Pinecone key",
    "Pinecone index",
    "Pinecone host",
    "Pinecone dimension",
    "Pinecone metric",
    "Pinecone kind",
    "Pinecone namespace",
    "Pinecone records",
    "Pinecone cache",
]
CHECKS_OF_SUPABASE = [
    "Supabase address",
    "Supabase key",
    "Supabase answer",
    "Supabase migration",
    "Supabase role",
    "Supabase policies",
    "Supabase clock",
    "Supabase row cap",
]
EVERYTHING = {
    "url": "https://res.cloudinary.com/x/upload/1.jpg",
    "folder": "2024",
    "face_crop": "",
    "blur_score": 100.0,
}


def looked(**settings):
    """Findings by check, in order; each within its time."""
    found = defaultdict(list)
    begun = time.perf_counter()
    for finding in doctor.examined(load_settings(**settings)):
        assert time.perf_counter() - begun < findings.LIMIT_S + 3, finding
        begun = time.perf_counter()
        assert finding.says
        assert "\n" not in finding.says
        found[finding.check].append(finding)
    return found


def only(found, check) -> Finding:
    assert len(found[check]) == 1, found[check]
    return found[check][0]


def wrong(found):
    return {one.check for of_check in found.values() for one in of_check if one.state == "wrong"}


# --- settings and disk -----------------------------------------------------------------------------------------------


def test_an_erasing_that_was_cut_short_is_told(tmp_path):
    make_library(tmp_path, publish=False)
    library = tmp_path / "library"
    assert "Erasing" not in looked(library=library)
    (next(library.rglob("library.db")).parent / "erasing.json").write_text("{}")
    assert only(looked(library=library), "Erasing").state == "wrong"


def test_an_embedded_library_is_well_and_nothing_hosted_is_asked(tmp_path):
    found = looked(library=tmp_path / "library")
    assert list(found) == ["Settings", "Folder", "Disk", "Library"]
    assert {one.state for of_check in found.values() for one in of_check} == {"ok"}
    assert not (tmp_path / "library").exists(), "looking must not make a library"


def test_a_library_that_is_there_is_looked_through(tmp_path):
    make_library(tmp_path)
    assert only(looked(library=tmp_path / "library"), "Library").says == f"Format {FORMAT}, undamaged."


def test_a_library_of_a_newer_version_is_told(tmp_path):
    service = make_library(tmp_path)
    path = user_folder(service.settings.library, service.user) / "library.db"
    with sqlite3.connect(path) as db:
        db.execute(f"pragma user_version = {FORMAT + 1}")
    db.close()
    finding = only(looked(library=tmp_path / "library"), "Library")
    assert finding.state == "wrong"
    assert "Install a newer facecluster" in finding.says


def test_a_damaged_library_is_told(tmp_path):
    folder = user_folder(tmp_path / "library", "local")
    folder.mkdir(parents=True)
    (folder / "library.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    finding = only(looked(library=tmp_path / "library"), "Library")
    assert finding.state == "wrong"
    assert "Restore it from a backup" in finding.says


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "library").write_text("no folder")
    finding = only(looked(library=tmp_path / "library"), "Folder")
    assert finding.state == "wrong"
    assert "set FACECLUSTER_LIBRARY" in finding.says


def test_a_disk_that_is_nearly_full_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LOW_DISK", 10**18)
    assert "Make room" in only(looked(library=tmp_path / "library"), "Disk").says


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"pinecone_namespace": "a"}, "PINECONE_NAMESPACE without PINECONE_API_KEY"),
        ({"pinecone_host": "h", "pinecone_grpc": True}, "PINECONE_HOST and PINECONE_GRPC without PINECONE_API_KEY"),
        ({"supabase_service_key": "sb_secret_x"}, "A Supabase key without SUPABASE_URL"),
    ],
)
def test_settings_that_contradict_are_told(settings, says):
    found = [one for one in doctor.settings_findings(load_settings(**settings)) if one.state == "wrong"]
    assert [one.says.startswith(says) for one in found] == [True]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "'local' alone may read the index"),
        ({"pinecone_namespace": "faces-{user}"}, "Each user has a namespace"),
        ({"pinecone_user_field": "owner"}, "whose 'owner' names them"),
        ({"pinecone_namespace": "faces-{User}"}, "'{User}', which is taken as it is"),
    ],
)
def test_who_sees_what_in_pinecone_is_told(settings, says):
    found = doctor.settings_findings(load_settings(**{"pinecone_api_key": "key", **settings}))
    assert any(says in one.says for one in found)


# --- Pinecone --------------------------------------------------------------------------------------------------------


def filled(server, n=120, namespace="", **metadata):
    vectors = np.random.default_rng(3).standard_normal((n, server.dimension)).astype(np.float32)
    facts = {**EVERYTHING, "face_crop": "https://res.cloudinary.com/x/upload/c.jpg", **metadata}
    facts = {name: value for name, value in facts.items() if value is not None}
    server.put([f"face-{i:04d}" for i in range(n)], vectors, [facts] * n, namespace)
    return server


@pytest.fixture
def index():
    with PineconeServer() as server:
        yield server


@pytest.fixture
def pinecone(monkeypatch, tmp_path):
    """The doctor, sent to a server whose index is looked up by name."""

    def look(server, **settings):
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        given = {"pinecone_api_key": server.api_key, "library": tmp_path / "library", **settings}
        return looked(**given)

    return look


def test_an_index_in_order_is_well_but_for_what_was_not_read_yet(index, pinecone):
    found = pinecone(filled(index), image_hosts="res.cloudinary.com")
    assert [check for check in found if check.startswith("Pinecone")] == CHECKS_OF_PINECONE
    assert {check: only(found, check).state for check in CHECKS_OF_PINECONE if only(found, check).state != "ok"} == {
        "Pinecone cache": "note"
    }
    assert "facecluster fetch" in only(found, "Pinecone cache").says
    assert "The default namespace holds 120 records" in only(found, "Pinecone namespace").says
    assert not (index.namespaces["__default__"].keys() - {f"face-{i:04d}" for i in range(120)}), "nothing is written"
    assert {one.method for one in index.requests if "upsert" in one.path or "delete" in one.path} == set()


def test_a_library_that_was_read_is_compared_with_the_index(index, pinecone, monkeypatch, tmp_path):
    given = {"pinecone_api_key": index.api_key, "pinecone_host": index.url, "library": tmp_path / "library"}
    service = open_service(load_settings(**given))
    service.fetch()
    assert only(pinecone(filled(index, 0), pinecone_host=index.url), "Pinecone cache").state == "ok"
    filled(index)
    service.fetch()
    found = pinecone(index, pinecone_host=index.url)
    assert only(found, "Pinecone cache").says == "All 120 faces of the index are here."


def test_a_refused_key_is_told_and_the_rest_is_skipped(index, pinecone):
    found = pinecone(index, pinecone_api_key="pcsk_canary")
    assert wrong(found) == {"Pinecone key"}
    assert "Copy it anew" in only(found, "Pinecone key").says
    assert {only(found, check).state for check in CHECKS_OF_PINECONE[1:-1]} == {"skipped"}
    assert only(found, "Pinecone cache").state == "note", "what lies here can be looked at all the same"
    assert "canary" not in str(found)
    found = pinecone(index, pinecone_api_key="pcsk_canary", pinecone_host=index.url)
    assert "Pinecone key" in wrong(found)
    assert "canary" not in str(found)


@pytest.mark.parametrize("key", ["pcsk_canary\n", "pcsk_canary und mehr", "pcsk_cänary"])
def test_a_key_that_was_copied_badly_is_told_before_it_is_sent(index, pinecone, key):
    found = pinecone(index, pinecone_api_key=key, supabase_url="https://a.supabase.co", supabase_service_key=key)
    assert wrong(found) == {"Pinecone key", "Supabase key"}
    assert "Copy it again" in only(found, "Pinecone key").says
    assert index.requests == []


def test_an_index_that_is_not_there_is_told_with_those_that_are(index, pinecone):
    found = pinecone(index, pinecone_index="faces-adaface")
    assert wrong(found) == {"Pinecone index"}
    assert "'faces-adaface'; this project has faces-arcface" in only(found, "Pinecone index").says


def test_an_index_of_documents_is_told_apart_from_an_empty_one(pinecone):
    with PineconeServer(documents=True) as server:
        found = pinecone(server)
    assert wrong(found) == {"Pinecone index"}
    assert "keeps documents (fields embedding)" in only(found, "Pinecone index").says


def test_an_address_of_another_index_is_told(index, pinecone):
    found = pinecone(filled(index), pinecone_host="https://faces-other-abc.svc.pinecone.io")
    assert "PINECONE_HOST is not the address of faces-arcface" in only(found, "Pinecone index").says


def test_with_an_address_the_key_need_not_look_up_the_index(index, pinecone):
    index.faults.add("/indexes", Fault.status(403), times=99)
    assert wrong(pinecone(filled(index))) == {"Pinecone key"}
    found = pinecone(index, pinecone_host=index.url)
    assert wrong(found) == set()
    assert only(found, "Pinecone key").state == "note"
    assert "serverless" in only(found, "Pinecone kind").says


@pytest.mark.parametrize("fault", [Fault.status(503), Fault.reset(), Fault.truncated(), Fault.stall(30)])
def test_an_index_that_does_not_answer_is_told_in_time(index, pinecone, fault):
    index.faults.add("/describe_index_stats", fault, times=99)
    found = pinecone(filled(index))
    assert wrong(found) == {"Pinecone host"}
    assert only(found, "Pinecone host").says.startswith("localhost ")
    assert {only(found, check).state for check in CHECKS_OF_PINECONE[3:-1]} == {"skipped"}


def test_records_that_cannot_be_read_do_not_stop_the_other_checks(index, pinecone):
    index.faults.add("/vectors/fetch?", Fault.status(500), times=99)
    found = pinecone(filled(index))
    assert wrong(found) == {"Pinecone records"}
    assert only(found, "Pinecone namespace").state == "ok"
    assert only(found, "Pinecone cache").state == "note"


def test_another_dimension_and_metric_are_told(pinecone):
    with PineconeServer(dimension=128, metric="euclidean") as server:
        found = pinecone(filled(server))
    assert wrong(found) == set()
    assert "ArcFace has 512" in only(found, "Pinecone dimension").says
    assert "euclidean and not cosine" in only(found, "Pinecone metric").says


def test_an_index_made_anew_with_another_model_is_told(pinecone, tmp_path):
    with PineconeServer(dimension=64) as server:
        given = {"pinecone_api_key": server.api_key, "library": tmp_path / "library", "pinecone_host": ""}
        found = pinecone(filled(server), **given)
        open_service(load_settings(**given)).fetch()
    with PineconeServer(dimension=512) as server:
        found = pinecone(filled(server), **given)
    assert "64" in only(found, "Pinecone dimension").says
    assert "Pinecone dimension" in wrong(found)


@pytest.mark.parametrize("by", ["name", "address"])
def test_a_pod_index_is_told_for_what_it_is(pinecone, by):
    with PineconeServer(pod=True) as server:
        found = pinecone(filled(server), pinecone_host=server.url if by == "address" else "")
        assert not [one for one in server.requests if one.path == "/vectors/list"], "it is known to be no use"
        if by == "address":
            server.faults.add("/indexes", Fault.status(403), times=99)
            found = pinecone(server, pinecone_host=server.url)
    assert wrong(found) == set()
    assert "cannot list" in only(found, "Pinecone kind").says
    assert "50 looked at" in only(found, "Pinecone records").says


def test_an_empty_namespace_names_those_that_hold_faces(index, pinecone):
    assert only(pinecone(index), "Pinecone namespace").says.startswith("The index is empty")
    filled(index, 30, "anna")
    filled(index, 20, "bert")
    found = pinecone(index)
    assert wrong(found) == {"Pinecone namespace"}
    assert "these do: anna (30), bert (20)" in only(found, "Pinecone namespace").says
    found = pinecone(index, pinecone_namespace="{user}", user="anna")
    assert "'anna' holds 30 records" in only(found, "Pinecone namespace").says


def test_a_namespace_that_pinecone_does_not_take_is_told(index, pinecone):
    found = pinecone(filled(index), pinecone_namespace="für-alle")
    assert "takes no namespace" in only(found, "Pinecone namespace").says
    assert "Pinecone namespace" in wrong(found)


def test_only_records_of_the_user_are_looked_at(index, pinecone):
    filled(index, owner="bert")
    assert wrong(pinecone(index, pinecone_user_field="owner", user="bert")) == set()
    found = pinecone(index, pinecone_user_field="owner", user="anna")
    assert "No record whose 'owner' is 'anna'" in only(found, "Pinecone records").says
    index.put(["last"], np.eye(1, 512, dtype=np.float32), [{"owner": "anna", "folder": "2024"}])
    assert "Of 1 looked at" in only(pinecone(index, pinecone_user_field="owner", user="anna"), "Pinecone records").says


def test_fields_that_are_missing_are_named_with_what_that_means(index, pinecone):
    found = pinecone(filled(index, url=None, blur_score=None, face_crop=None))
    says = only(found, "Pinecone records").says
    assert "50 without url (no photo opens" in says
    assert "50 without blur_score (every face counts as sharp)" in says
    assert "folder" not in says
    assert "Pictures" not in found


def test_hosts_of_pictures_that_are_not_allowed_are_offered(index, pinecone):
    filled(index, url="https://photos.example/1.jpg", face_crop="https://[broken")
    found = pinecone(index, image_hosts="res.cloudinary.com")
    assert only(found, "Pictures").says.endswith("FACECLUSTER_IMAGE_HOSTS=res.cloudinary.com,photos.example")


# --- Supabase --------------------------------------------------------------------------------------------------------


@pytest.fixture
def database():
    made = shared_postgres().database()
    yield made
    made.drop()


@pytest.fixture
def rest(database):
    with RestServer(database) as server:
        yield server


def supabase(rest, **settings):
    given = {"supabase_url": rest.url, "supabase_service_key": rest.service_key, **settings}
    return looked(**{name: value for name, value in given.items() if value})


def test_a_project_in_order_is_well(rest):
    found = supabase(rest)
    assert [check for check in found if check.startswith("Supabase")] == CHECKS_OF_SUPABASE
    assert wrong(found) == set()
    assert "Version 1" in only(found, "Supabase migration").says
    assert only(found, "Supabase role").says == "service_role"
    assert "8 policies" in only(found, "Supabase policies").says


def test_the_version_that_is_looked_for_is_that_of_the_migration(database):
    with database.connect() as db:
        assert db.execute("select fc_version()").fetchone()[0] == doctor_supabase.VERSION


def test_a_publishable_key_is_taken_and_told_nothing(rest):
    found = supabase(rest, supabase_service_key="", supabase_publishable_key=rest.publishable_key)
    assert wrong(found) == {"Supabase role"}
    assert "Set SUPABASE_SERVICE_KEY" in only(found, "Supabase role").says
    assert "tells a stranger nothing" in only(found, "Supabase answer").says
    assert only(found, "Supabase policies").state == "skipped"


def test_without_the_migration_the_file_to_run_is_named():
    made = shared_postgres().bare_database()
    with RestServer(made) as rest:
        found = supabase(rest)
    made.drop()
    assert wrong(found) == {"Supabase migration"}
    assert doctor_supabase.MIGRATION in only(found, "Supabase migration").says
    assert only(found, "Supabase answer").state == "ok"


@pytest.mark.parametrize(("version", "says"), [(0, "newer files of supabase/migrations"), (2, "a newer facecluster")])
def test_another_version_of_the_migration_is_told(rest, database, version, says):
    database.run(f"create or replace function fc_version() returns int language sql immutable as 'select {version}'")
    found = supabase(rest)
    assert wrong(found) == {"Supabase migration"}
    assert says in only(found, "Supabase migration").says


def test_a_table_without_forced_policies_is_named(rest, database):
    database.run("alter table fc_facts no force row level security; alter table fc_log disable row level security")
    found = supabase(rest)
    assert wrong(found) == {"Supabase policies"}
    assert "fc_facts, fc_log" in only(found, "Supabase policies").says


def test_a_clock_that_is_wrong_is_told(rest, monkeypatch):
    class Late(doctor_supabase.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(seconds=90)

    monkeypatch.setattr(doctor_supabase, "datetime", Late)
    found = supabase(rest)
    assert wrong(found) == {"Supabase clock"}
    assert "90 s ahead of the database's" in only(found, "Supabase clock").says


def test_a_key_of_another_project_is_told_and_not_printed(rest):
    found = supabase(rest, supabase_service_key="sb_secret_canary")
    assert wrong(found) == {"Supabase answer"}
    assert "Copy SUPABASE_SERVICE_KEY anew" in only(found, "Supabase answer").says
    assert "canary" not in str(found)


def test_a_key_that_a_service_repeats_is_masked(rest):
    body = json.dumps({"code": "XX000", "message": f"who is {rest.service_key}?", "details": None, "hint": None})
    rest.faults.add("/rest/v1/", Fault.status(500, body.encode()), times=99)
    says = only(supabase(rest), "Supabase answer").says
    assert "who is ****?" in says
    assert rest.service_key not in says


def test_a_project_that_does_not_answer_is_told_in_time(rest):
    rest.faults.add("/rest/v1/", Fault.stall(30), times=99)
    found = supabase(rest)
    assert "does not answer" in only(found, "Supabase answer").says
    assert {only(found, check).state for check in CHECKS_OF_SUPABASE[3:]} == {"skipped"}


@pytest.mark.parametrize("fault", [Fault.reset(), Fault.truncated(), Fault.short()])
def test_an_answer_that_is_no_answer_is_told(rest, fault):
    rest.faults.add("/rest/v1/", fault, times=99)
    assert wrong(supabase(rest)) == {"Supabase answer"}


def test_nobody_at_the_address_is_told():
    found = looked(supabase_url="http://127.0.0.1:9", supabase_service_key="sb_secret_x")
    assert "127.0.0.1:9 does not answer" in only(found, "Supabase answer").says


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("abcdefgh", "does not begin with https://"),
        ("postgresql://postgres:canary@db.abc.supabase.co/postgres", "does not begin with https://"),
        ("https://[abc", "is no address"),
        ("https://abc.supabase.co:canary", "is no address"),
        ("https://supabase.com/dashboard/project/abcdefgh/settings", "https://abcdefgh.supabase.co"),
        ("https://abcdefgh.supabase.co/rest/v1", "Set it to https://abcdefgh.supabase.co."),
        ("https://me:canary@abcdefgh.supabase.co", "Set it to https://abcdefgh.supabase.co."),
        ("http://abcdefgh.supabase.co", "sends keys unencrypted"),
    ],
)
def test_an_address_that_is_none_is_told_and_no_password_in_it(url, says):
    found = looked(supabase_url=url, supabase_service_key="sb_secret_x")
    assert wrong(found) == {"Supabase address"}
    assert says in only(found, "Supabase address").says
    assert "canary" not in str(found)


def old_key(role):
    return jwt.encode({"role": role, "iss": "supabase"}, "a secret of at least 32 characters, for HS256")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "SUPABASE_URL is set without a key"),
        ({"supabase_service_key": "sb_publishable_x"}, "SUPABASE_SERVICE_KEY holds a publishable"),
        ({"supabase_service_key": old_key("anon")}, "SUPABASE_SERVICE_KEY holds a publishable"),
        ({"supabase_publishable_key": "sb_secret_x"}, "opens every row"),
        ({"supabase_publishable_key": old_key("service_role")}, "opens every row"),
        ({"supabase_service_key": old_key("service_role")}, "keep it on one trusted server"),
        ({"supabase_publishable_key": old_key("anon")}, "a token of their own"),
        ({"supabase_service_key": "no-key-that-is-known"}, "keep it on one trusted server"),
    ],
)
def test_a_key_in_the_wrong_setting_is_told(keys, says):
    assert says in doctor_supabase.key_finding(load_settings(supabase_url="https://a.supabase.co", **keys)).says


def test_the_row_cap_that_other_programs_meet_is_told(rest, database):
    with database.connect() as db:
        db.execute("""select set_config('request.jwt.claims', '{"sub": "anna"}', true)""")
        db.execute("insert into fc_live values ('anna', 'r', now())")
        db.execute("insert into fc_people values ('anna', 'p', true, null, false, null, null, 'p', now(), now())")
        db.execute("insert into fc_run_faces select 'anna', 'r', 'f' || n, 'p', 0, 1 from generate_series(1, 1500) n")
    assert "1,000 rows: other programs" in only(supabase(rest), "Supabase row cap").says
    rest.max_rows = 100_000
    assert "more than 1,000 rows come whole" in only(supabase(rest), "Supabase row cap").says


# --- the page on all of it -------------------------------------------------------------------------------------------

ROOT = Path(cli.__file__).parent.parent
PAGE = (ROOT / "docs" / "backends.md").read_text("utf-8")


def first_cells(heading):
    table = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][2:]


def test_every_sentence_that_the_page_quotes_is_one_that_the_program_says():
    program = "".join(path.read_text("utf-8") for path in (ROOT / "facecluster").rglob("*.py"))
    quoted = first_cells("When something fails")
    assert len(quoted) == 10
    for sentence in quoted:
        assert max(sentence.split("…"), key=len).strip() in program, sentence


def test_every_setting_of_a_hosted_store_is_on_the_page():
    fields = {str(field.alias) for field in Settings.model_fields.values()}
    hosted = {name for name in fields if name.startswith(("PINECONE_", "SUPABASE_", "IDX_"))}
    shown = {name.strip("`") for name in first_cells("Settings")}
    assert hosted <= shown <= fields


def test_the_files_that_the_page_names_are_there():
    for name in re.findall(r"\b(?:supabase|tests|facecluster|docs)/[\w/.]+\.(?:py|sql|md)", PAGE):
        assert (ROOT / name).is_file(), name


# --- time, and the command -------------------------------------------------------------------------------------------


def test_work_that_takes_too_long_is_left_behind():
    begun = time.perf_counter()
    with pytest.raises(StoreUnavailableError, match=r"within 0.5 seconds"):
        within(0.5, lambda: time.sleep(30))
    assert time.perf_counter() - begun < 10
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def call(*args):
    return CliRunner().invoke(cli.cli, ["doctor", *args], catch_exceptions=False)


def test_the_command_prints_a_line_a_check_and_succeeds():
    result = call()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok"] * 4


def test_the_command_fails_where_something_is_wrong(monkeypatch):
    monkeypatch.setenv("SUPABASE_URL", "https://a.supabase.co")
    assert call().exit_code == 1
    result = call("--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["ok"] is False
    assert {"check": "Supabase key", "state": "wrong"}.items() <= said["checks"][5].items()


def test_the_hosted_pair_is_well_once_it_is_filled_and_published(rest, index, monkeypatch, tmp_path):
    for name, value in {
        "PINECONE_API_KEY": index.api_key,
        "PINECONE_CONTROLLER_HOST": index.url,
        "SUPABASE_URL": rest.url,
        "SUPABASE_SERVICE_KEY": rest.service_key,
        "FACECLUSTER_IMAGE_HOSTS": "res.cloudinary.com",
    }.items():
        monkeypatch.setenv(name, value)
    filled(index, 40)
    command = [sys.executable, "-m", "facecluster", "recluster", "--publish"]
    subprocess.run(command, cwd=Path(cli.__file__).parent.parent, check=True, capture_output=True)
    result = call()
    assert result.exit_code == 0, result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"ok"}, result.stdout
    assert not {index.api_key, rest.service_key} & set(result.stdout.split())
    for request in [*index.requests, *rest.requests]:
        assert not any(write in request.path for write in ("upsert", "delete", "update")), request
