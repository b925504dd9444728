"""The command line as other programs and a user at a terminal meet it."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from servers.pinecone_server import Fault, PineconeServer
from small_library import faces, make_library, open_library, write_faces

import facecluster
from facecluster import cli, exporting, tables

COMMANDS = [
    "import",
    "fetch",
    "recluster",
    "people",
    "rename",
    "find",
    "export-person",
    "erase-person",
    "retention",
    "runs",
    "name-run",
    "history",
    "backup",
    "restore",
    "export",
    "import-library",
    "verify",
    "status",
    "doctor",
    "serve",
    "demo",
]
PLAN = ["run", "kept", "grown", "split", "merged", "new", "vanishing", "names_at_risk", "questions", "gauges"]


@pytest.fixture
def service(tmp_path):
    """The library that the environment names."""
    return make_library(tmp_path)


def call(*args, code=0):
    """Run a command in this process, as `main` does, and return what it printed."""
    result = CliRunner().invoke(cli.cli, list(args), catch_exceptions=True)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error
    assert result.exit_code == code, result.output
    return result.stdout


def call_process(*args, stdin=subprocess.DEVNULL, **environment):
    """Run a command as a user does."""
    root = Path(facecluster.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-m", "facecluster", *args],
        cwd=root,
        env={**os.environ, **environment},
        stdin=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


# --- help and mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    text = call(command, "--help")
    assert text.startswith("Usage:")
    assert len(text.splitlines()) > 3
    assert command in call("--help")


def test_the_jobs_of_the_dashboard_are_no_commands_for_users():
    assert not {"work", "warm-up"} & set(call("--help").split())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["import", "no such file.npz"], "There is no file"),
        (["import", "pyproject.toml"], "faces are read from"),
        (["import"], "Missing argument"),
        (["recluster", "--epsilon", "7"], "CLUSTER_EPSILON cannot be 7.0"),
        (["recluster", "--epsilon", "nan"], "CLUSTER_EPSILON"),
        (["recluster", "--min-samples", "0"], "CLUSTER_MIN_SAMPLES"),
        (["recluster", "--min-cluster-size", "1"], "CLUSTER_MIN_CLUSTER_SIZE"),
        (["recluster", "--blur-threshold", "-1"], "CLUSTERING_BLUR_THRESHOLD"),
        (["recluster", "--method", "magic"], "'magic' is not one of"),
        (["recluster", "--epsilon", "many"], "not a valid float"),
        (["rename", "p-nobody", "Anna"], "There is no person 'p-nobody'"),
        (["export", "--json", "--csv"], "Choose one of"),
        (["--user", "", "people"], "The setting FACECLUSTER_USER"),
        (["--library", "", "people"], "The setting FACECLUSTER_LIBRARY"),
        (["no-such-command"], "No such command"),
        (["people", "--no-such-flag"], "No such option"),
    ],
)
def test_a_mistake_of_the_user_is_one_sentence_and_exit_code_2(service, args, says):
    result = call_process(*args)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_user_that_is_no_text_is_a_sentence_too(tmp_path):
    result = call_process("people", FACECLUSTER_USER="\udcff\udcfe")
    assert result.returncode == 2
    assert "FACECLUSTER_USER cannot be" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_name_that_is_too_long_is_refused(service):
    person = service.view().people()[0].id
    result = call_process("rename", person, "x" * 10_000)
    assert result.returncode == 2
    assert "200 characters" in result.stderr


# --- import, people, rename, status ----------------------------------------------------------------------------------


def test_an_import_is_reported_and_the_second_one_changes_nothing(tmp_path):
    columns = faces()
    columns["vectors"][3] = np.nan
    path = write_faces(tmp_path / "faces.npz", **columns)
    report = json.loads(call("import", str(path), "--json"))
    assert {key: report[key] for key in ("added", "replaced", "unchanged")} == {
        "added": 59,
        "replaced": 0,
        "unchanged": 0,
    }
    assert [refusal["id"] for refusal in report["refused"]] == ["face-003"]
    assert set(report) == {"added", "replaced", "unchanged", "refused", "without_picture", "blocked"}
    assert "59 unchanged" in call("import", str(path))


def test_an_empty_library_has_an_answer_to_everything(tmp_path):
    assert json.loads(call("people", "--json")) == []
    assert "Nobody yet" in call("people")
    assert json.loads(call("export", "--json")) == {"run": None, "people": [], "faces": []}
    assert call("export", "--csv") == ""
    assert json.loads(call("recluster", "--json"))["gauges"]["faces"] == 0
    assert json.loads(call("status", "--json"))["faces"] == 0
    assert json.loads(call("verify", "--json"))


def test_people_are_listed_with_the_keys_of_the_design(service):
    rows = json.loads(call("people", "--json"))
    assert all(list(row) == ["cluster_id", "name", "face_count", "hidden", "cover"] for row in rows)
    assert [row["cluster_id"] for row in rows] == [card.id for card in service.view().cards]
    assert {row["cover"] for row in rows} <= set(service.view().faces.ids)
    service.hide([rows[0]["cluster_id"]])
    assert json.loads(call("people", "--json"))[0]["hidden"] is True
    assert "(hidden)" in call("people")


def test_renaming_confirms_only_when_told_to(service):
    first, second = (card.id for card in service.view().people()[:2])
    assert "Ünï “Q” 😀" in call("rename", first, "Ünï “Q” 😀")
    assert not any(kind == "pin" for kind, _, _ in service.view().snapshot.facts)
    call("rename", first, "Anna", "--confirm")
    assert service.view().card_of[first].n_confirmed == service.view().card_of[first].n_faces
    assert f"{first} has the same name" in call("rename", second, "anna")
    assert "has no name" in call("rename", second, "")


def test_status_shows_library_counts_settings_and_no_secret(service, monkeypatch):
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "sb-canary")
    text, found = call("status"), json.loads(call("status", "--json"))
    assert (found["faces"], found["user"]) == (60, "local")
    assert found["settings"]["CLUSTER_EPSILON"] == "0.35"
    assert "canary" not in text + json.dumps(found)


def test_a_user_without_faces_is_told_of_those_who_have_some(service):
    assert "'local' (60 faces)" in call("--user", "somebody", "status")
    assert json.loads(call("--user", "somebody", "status", "--json"))["other_users"] == {"local": 60}


def test_the_library_flag_wins_over_the_environment(service, tmp_path):
    assert json.loads(call("--library", str(tmp_path / "elsewhere"), "people", "--json")) == []
    assert len(json.loads(call("people", "--json"))) > 3


# --- recluster -------------------------------------------------------------------------------------------------------


def test_recluster_prints_the_plan_and_writes_nothing(service):
    before = service.view().snapshot
    plan = json.loads(call("recluster", "--epsilon", "1.0", "--json"))
    assert list(plan) == PLAN
    assert plan["run"] is None
    assert "Nothing was written" in call("recluster", "--epsilon", "1.0")
    after = open_library(service.settings.library).view().snapshot
    assert (after.revision, after.facts) == (before.revision, before.facts)
    assert len(service.runs()) == 1


def test_recluster_says_what_the_second_layer_moved_and_shows_hdbscan_alone(service):
    gauges = json.loads(call("recluster", "--min-cluster-size", "2", "--json"))["gauges"]
    kinds = ("attached", "taken_out", "split_off", "moved", "in_new_people")
    words = ", ".join(f"{gauges[kind]} {kind.replace('_', ' ')}" for kind in kinds if gauges[kind])
    assert words
    assert f"Over HDBSCAN's clusters: {words} (" in call("recluster", "--min-cluster-size", "2")
    alone = json.loads(call("recluster", "--min-cluster-size", "2", "--no-refine", "--json"))["gauges"]
    assert not any(alone[kind] for kind in kinds)
    assert alone["people"] != gauges["people"]
    assert "Over HDBSCAN" not in call("recluster", "--min-cluster-size", "2", "--no-refine")


def test_publish_publishes_exactly_the_plan_that_is_printed(service):
    call("rename", service.view().people()[0].id, "Anna")
    printed = json.loads(call("recluster", "--epsilon", "1.0", "--json"))
    published = json.loads(call("recluster", "--epsilon", "1.0", "--json", "--publish"))
    assert published.pop("run") == service.view().snapshot.run.id
    assert printed.pop("run") is None
    assert published == printed
    listed = {line["cluster_id"]: line["after"] for kind in PLAN[1:7] for line in published[kind] if line["after"]}
    assert listed == {card.id: card.n_faces for card in service.view().people(show_hidden=True)}
    assert [q["id"] for q in published["questions"]] == [q.id for q in service.view().snapshot.run.questions]
    assert {line["name"] for kind in PLAN[1:7] for line in published[kind]} >= {"Anna"}
    for line in (line for kind in PLAN[1:7] for line in published[kind]):
        assert {"cluster_id", "name", "before", "after", "gained", "lost"} <= set(line)
        assert line["after"] - line["before"] == line["gained"] - line["lost"]


def test_flags_that_are_left_out_take_the_settings_and_never_the_last_run(service, monkeypatch):
    call(
        "recluster",
        "--epsilon",
        "1.0",
        "--min-samples",
        "1",
        "--min-cluster-size",
        "5",
        "--method",
        "leaf",
        "--publish",
    )
    monkeypatch.setenv("CLUSTER_EPSILON", "0.2")
    call("recluster", "--publish")
    params = service.view().snapshot.run.params
    expected = {"epsilon": 0.2, "min_samples": 3, "min_cluster_size": 3, "method": "eom", "blur_threshold": 50.0}
    assert {key: params[key] for key in expected} == expected
    assert (params["refine"], params["engine"]) == (True, "fast")


def test_every_flag_reaches_the_run(service):
    flags = ["--min-samples", "2", "--min-cluster-size", "4", "--epsilon", "0.6", "--method", "cut"]
    call("recluster", *flags, "--blur-threshold", "5", "--no-refine", "--publish")
    assert list(service.view().snapshot.run.params.values()) == [5.0, "fast", 0.6, "cut", 4, 2, False]  # by name


def test_the_hdbscan_package_can_cluster_end_to_end(service):
    plan = json.loads(call("recluster", "--engine", "hdbscan", "--json", "--publish"))
    assert plan["gauges"]["people"] > 3
    assert service.view().snapshot.run.params["engine"] == "hdbscan"


def test_a_second_publish_has_nothing_left_to_change(service):
    call("recluster", "--publish")
    plan = json.loads(call("recluster", "--json"))
    assert plan["gauges"]["churn"] == 0
    assert not any(plan[kind] for kind in ("grown", "split", "merged", "new", "vanishing", "questions"))


def test_json_is_alone_on_stdout(service):
    result = call_process("recluster", "--json")
    assert json.loads(result.stdout)["run"] is None
    assert result.returncode == 0


def test_names_survive_a_recluster_from_the_command_line(service):
    named = [card.id for card in service.view().people()[:3]]
    for i, person in enumerate(named):
        call("rename", person, f"Person {i}")
    call("recluster", "--epsilon", "1.0", "--publish")
    rows = {row["cluster_id"]: row for row in json.loads(call("people", "--json"))}
    assert [rows[person]["name"] for person in named] == ["Person 0", "Person 1", "Person 2"]
    assert all(rows[person]["face_count"] for person in named)


def test_verify_finds_our_tree_and_labels_equal_to_those_of_hdbscan(service):
    found = json.loads(call("verify", "--json"))
    assert found
    assert call("verify")


# --- runs and erasing ------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_with_the_live_one_and_their_names(service):
    call("recluster", "--epsilon", "1.0", "--publish")
    rows = json.loads(call("runs", "--json"))
    assert list(rows[0]) == ["id", "at", "author", "name", "live", "faces", "people", "in_nobody", "params"]
    assert [row["live"] for row in rows] == [True, False]
    assert [row["id"] for row in rows] == [run.id for run in service.runs()]
    assert rows[0]["params"]["epsilon"] == 1.0
    assert "“Before the trip” and is kept" in call("name-run", rows[1]["id"], "Before the trip")
    assert [row["name"] for row in json.loads(call("runs", "--json"))] == ["", "Before the trip"]
    lines = call("runs").splitlines()
    assert "(live)" in lines[0]
    assert lines[1].endswith("Before the trip")
    assert "has no name" in call("name-run", rows[1]["id"], "")


def test_history_is_listed_newest_first_for_people_and_for_programs(service):
    person = service.view().people()[0].id
    service.rename(person, "+1 Anna")
    service.undo(service.rename(person, "Bea"))
    n = service.view().snapshot.revision
    records = json.loads(call("history", "--json"))
    assert [one["revision"] for one in records] == list(range(n, 0, -1))
    assert records[0]["undoes"] == n - 1
    rows = list(csv.DictReader(io.StringIO(call("history", "--csv"))))
    named = next(row for row in rows if row["revision"] == str(n - 2))
    assert (named["kind"], named["subject"], named["value"]) == ("name", person, "'+1 Anna")
    lines = call("history", "--limit", "2").splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(f"(takes back {n - 1})")
    assert "Choose one" in CliRunner().invoke(cli.cli, ["history", "--json", "--csv"]).output


def test_a_run_that_is_not_there_cannot_be_named(service):
    result = call_process("name-run", "run-nobody", "x")
    assert result.returncode == 2
    assert "There is no run 'run-nobody'" in result.stderr


def test_a_library_without_runs_says_what_makes_one(tmp_path):
    assert "facecluster recluster --publish" in call("runs")


def test_a_person_is_erased_only_with_the_very_number_of_their_faces(service):
    person = service.view().people()[0]
    call("rename", person.id, "Anna")
    asked = call_process("erase-person", person.id)
    assert asked.returncode == 2
    assert f"“Anna”: {person.n_faces} faces" in asked.stderr
    assert f"--yes-erase {person.n_faces}" in asked.stderr
    result = call_process("erase-person", person.id, "--yes-erase", str(person.n_faces - 1))
    assert result.returncode == 2
    assert "Nothing was erased" in result.stderr
    assert len(service.view().faces) == 60
    assert call("erase-person", person.id, "--yes-erase", str(person.n_faces)).startswith("Erased “Anna”")
    after = service.view()
    assert len(after.faces) == 60 - person.n_faces
    assert person.id not in after.number
    assert "Anna" not in str(service.history())


@pytest.mark.parametrize(("typed", "is_erased"), [("{n}", True), ("", False), ("yes", False), ("1", False)])
def test_at_a_terminal_the_number_is_asked_for(service, typed, is_erased):
    person = service.view().people()[0]
    keyboard, terminal = pty.openpty()
    os.write(keyboard, typed.format(n=person.n_faces).encode() + b"\n")
    result = call_process("erase-person", person.id, stdin=terminal)
    os.close(terminal)
    os.close(keyboard)
    assert "It cannot be undone" in result.stdout
    assert (person.id not in service.view().number) is is_erased
    assert ("Nothing was erased" in result.stderr) is not is_erased


# --- faces in a hosted index -----------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index that holds the faces of the small library, and nothing read of it yet."""
    with PineconeServer(dimension=16) as server:
        put(server, faces())
        monkeypatch.setenv("PINECONE_API_KEY", server.api_key)
        monkeypatch.setenv("PINECONE_HOST", server.url)
        yield server


def put(server, columns):
    metadata = [
        {"url": str(url), "folder": str(folder), "blur_score": float(blur)}
        for url, folder, blur in zip(columns["url"], columns["folder"], columns["blur_score"], strict=True)
    ]
    server.put(columns["ids"].tolist(), columns["vectors"], metadata)


def asked(server, path):
    return sum(request.path == path for request in server.requests)


def test_an_embedded_library_has_nothing_to_fetch(service):
    assert "nothing to fetch" in call("fetch")
    assert json.loads(call("fetch", "--json")) == {"added": 0, "replaced": 0, "removed": 0, "coverage": None}


def test_fetch_brings_what_is_new_and_drops_what_is_gone(index):
    said = json.loads(call("fetch", "--json"))
    assert said["added"] == 60
    assert said["coverage"] == {"n_read": 60, "n_there": 60, "is_complete": True, "why": ""}
    del index.records()["face-000"]
    put(index, faces(seed=1, prefix="new"))
    before = asked(index, "/vectors/fetch")
    text = call("fetch")
    assert "60 faces added, 0 replaced, 1 removed." in text
    assert "All 119 faces of the index are here." in text
    assert asked(index, "/vectors/fetch") == before + 1


def test_only_refresh_sees_a_new_vector_under_an_old_id(index):
    call("fetch")
    index.put(["face-000"], np.eye(1, 16, dtype=np.float32), [{}])
    assert json.loads(call("fetch", "--json"))["replaced"] == 0
    assert json.loads(call("fetch", "--refresh", "--json"))["replaced"] == 1


def test_recluster_looks_for_new_faces_first_unless_told_not_to(index):
    plan = json.loads(call("recluster", "--json"))
    assert list(plan) == [*PLAN, "source"]
    assert plan["source"] == {"read": 60, "there": 60, "complete": True}
    put(index, faces(seed=1, prefix="new"))
    assert json.loads(call("recluster", "--no-fetch", "--json"))["gauges"]["faces"] == plan["gauges"]["faces"]
    more = json.loads(call("recluster", "--json", "--publish"))
    assert more["source"]["read"] == 120
    assert more["gauges"]["faces"] == 2 * plan["gauges"]["faces"]
    assert json.loads(call("runs", "--json"))[0]["params"]["source"] == more["source"]
    index.put(["face-000"], np.eye(1, 16, dtype=np.float32), [{}])
    before = asked(index, "/vectors/fetch")
    call("recluster", "--refresh")
    assert asked(index, "/vectors/fetch") > before
    assert "Choose one of" in call_process("recluster", "--no-fetch", "--refresh").stderr


def test_a_library_that_is_not_whole_says_so_before_the_plan(tmp_path, monkeypatch):
    with PineconeServer(dimension=16, pod=True) as server:
        put(server, faces())
        monkeypatch.setenv("PINECONE_API_KEY", server.api_key)
        monkeypatch.setenv("PINECONE_HOST", server.url)
        assert "pod index" in call("recluster").splitlines()[0]
        assert json.loads(call("recluster", "--json"))["source"]["complete"] is False


def test_a_whole_library_says_nothing_of_it(index):
    assert call("recluster").splitlines()[0].split()[1] == "people,"


def test_status_reads_nothing_and_shows_where_faces_are_kept(index):
    found = json.loads(call("status", "--json"))
    assert (found["faces"], found["other_users"]) == (0, {})
    assert "facecluster fetch" in call("status")
    assert index.requests == []
    call("fetch")
    found = json.loads(call("status", "--json"))
    assert found["faces"] == 60
    assert "index faces-arcface" in found["faces_from"]
    assert found["coverage"] == "All 60 faces of the index are here."
    assert "faces from " in call("status")
    assert index.api_key not in call("status")


def test_a_command_that_needs_faces_reads_them_when_nobody_did(index):
    assert len(json.loads(call("export", "--json"))["faces"]) == 60


def test_an_import_goes_into_the_index(index, tmp_path):
    path = write_faces(tmp_path / "more.npz", **faces(seed=2, prefix="more"))
    assert "60 faces added" in call("import", str(path))
    assert "more-000" in index.records()
    assert "60 unchanged" in call("import", str(path))


def test_erasing_a_person_erases_the_vectors_in_the_index_too(index):
    call("recluster", "--publish")
    person = json.loads(call("people", "--json"))[0]
    asked_first = call_process("erase-person", person["cluster_id"])
    assert "here and in the Pinecone index" in asked_first.stderr
    call("erase-person", person["cluster_id"], "--yes-erase", str(person["face_count"]))
    assert len(index.records()) == 60 - person["face_count"]
    assert person["cover"] not in index.records()


def test_an_index_that_does_not_answer_is_a_sentence(index):
    index.faults.add("/", Fault.status(401), times=99)
    result = call_process("fetch")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert index.api_key not in result.stderr


# --- export ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path):
    """A library whose every text would be run by a spreadsheet, with one pinned face."""
    columns = faces()
    columns["folder"] = np.array([("=1+1", "+1", "-1", "@a", "\tx", "＝1", "plain", "")[i % 8] for i in range(60)])
    columns["photo"] = np.array([f"=HYPERLINK({i})" for i in range(60)])
    service = make_library(tmp_path / "hostile", publish=False)
    service.import_files([write_faces(tmp_path / "hostile.npz", **columns)])
    service.publish(service.plan(service.defaults))
    person = service.view().people()[0].id
    service.rename(person, '=cmd|"/c calc"!A1')
    service.confirm(person, [service.view().faces.ids[int(service.view().rows(person)[0])]])
    return service


def test_an_export_holds_run_people_and_every_face(hostile):
    view = hostile.view()
    found = json.loads(call("--library", str(hostile.settings.library), "export", "--json"))
    assert list(found) == ["run", "people", "faces"]
    assert found["run"]["id"] == view.snapshot.run.id
    assert found["run"]["params"] == dict(view.snapshot.run.params)
    assert found["people"] == json.loads(json.dumps(exporting.people_table(view)))
    assert [face["id"] for face in found["faces"]] == list(view.faces.ids)
    for face in found["faces"]:
        assert list(face) == ["id", "cluster_id", "name", "strength", "pinned", "reason", "photo", "folder"]
        assert face["cluster_id"] == view.owner(face["id"])
        assert 0 <= face["strength"] <= 1
    assert sum(face["pinned"] for face in found["faces"]) == 1
    assert any(face["cluster_id"] is None for face in found["faces"])


def test_no_cell_of_the_csv_is_run_as_a_formula(hostile):
    text = call("--library", str(hostile.settings.library), "export", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 60
    for row in rows:
        assert all(not cell.startswith(tables._FORMULA) for cell in row.values())
    table = exporting.faces_table(hostile.view())
    assert [row["folder"].removeprefix("'") for row in rows] == [face["folder"] for face in table]
    assert {row["cluster_id"] for row in rows} >= {""}


def test_negative_numbers_stay_numbers_in_a_table():
    assert tables.safe_cell(-1.5) == -1.5
    assert tables.safe_cell("-1.5") == "'-1.5"
    assert tables.safe_cell(None) == ""


def test_parquet_holds_the_same_faces_and_the_parameters(hostile, tmp_path):
    path = tmp_path / "faces.parquet"
    assert "60 faces written" in call("--library", str(hostile.settings.library), "export", "--parquet", str(path))
    table = pq.read_table(path)
    assert table.to_pylist()[0].keys() == exporting.faces_table(hostile.view())[0].keys()
    assert table.column("cluster_id").to_pylist() == [f["cluster_id"] for f in exporting.faces_table(hostile.view())]
    assert json.loads(table.schema.metadata[b"facecluster.params"])["method"] == "eom"


def test_parquet_of_an_empty_library_can_be_read(tmp_path):
    path = tmp_path / "empty.parquet"
    call("export", "--parquet", str(path))
    assert pq.read_table(path).num_rows == 0


@pytest.mark.parametrize("where", ["", "no such folder/faces.parquet"])
def test_a_place_that_cannot_be_written_is_a_sentence(service, tmp_path, where):
    result = call_process("export", "--parquet", str(tmp_path / where) if where else str(tmp_path))
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
