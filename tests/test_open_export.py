"""The open export read by another program, imported again to the same library, and refused when it was changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import whole_library as wl
from click.testing import CliRunner
from small_library import make_library, open_library

from facecluster import cli, open_export
from facecluster.errors import InputError, StaleWriteError
from facecluster.model import UserId
from facecluster.open_import import import_library

ANNA = UserId("anna")


def call(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.cli, list(args), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def library(tmp_path) -> Path:
    wl.fill(tmp_path / "library", 10)
    return tmp_path / "library"


@pytest.fixture
def folder(library, tmp_path) -> Path:
    call("--user", "anna", "export", "--all", str(tmp_path / "out"))
    return tmp_path / "out"


def test_an_export_becomes_the_same_library_for_whoever_imports_it(library, folder, tmp_path):
    said = call("--library", str(tmp_path / "new"), "--user", "bert", "import-library", str(folder))
    assert wl.hash_of(library) in said
    assert wl.hash_of(tmp_path / "new", "bert") == wl.hash_of(library)
    assert wl.pictures_in(tmp_path / "new", "bert") == wl.pictures_in(library)
    old, new = wl.contents_in(library), wl.contents_in(tmp_path / "new", "bert")
    assert (new.snapshot.facts, new.log, new.runs) == (old.snapshot.facts, old.log, old.runs)
    assert old.log
    assert len(old.runs) == 2


def test_the_imported_library_goes_on(tmp_path):
    """Not a museum: it is clustered, named and undone like the one it came from, and its plan is empty as there."""
    service = make_library(tmp_path)
    person = service.view().cards[0].id
    service.rename(person, "Anna", confirm=True)
    call("export", "--all", str(tmp_path / "out"))
    call("--library", str(tmp_path / "new"), "import-library", str(tmp_path / "out"))
    again = open_library(tmp_path / "new")
    assert again.contents().hash() == service.contents().hash()
    assert again.view().person(person).name == "Anna"
    again.undo(service.view().snapshot.revision)
    assert again.view().person(person).name == ""
    call("--library", str(tmp_path / "new"), "recluster", "--min-samples", "2", "--publish")


# A program that knows nothing of facecluster: it runs where the package cannot be imported.
OTHER_PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import pyarrow.parquet as pq
assert not any(name.startswith("facecluster") for name in sys.modules)
folder = Path(sys.argv[1])
read = lambda name: json.loads((folder / name).read_text("utf-8"))
head, people, facts, history, runs = (read(f"{name}.json") for name in "export people facts history runs".split())
for name, digest in head["files"].items():
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
faces = pq.read_table(folder / "faces.parquet").to_pylist()
for face in faces:
    if face["crop"]:
        assert Path(face["crop"]).stem == hashlib.sha256((folder / face["crop"]).read_bytes()).hexdigest()
rows = pq.read_table(folder / "run_faces.parquet").to_pylist()
print(json.dumps({
    "names": {p["id"]: p["name"] for p in people if p["name"]},
    "vectors": {f["id"]: f["vector"] for f in faces},
    "whose": {f["id"]: f["person"] for f in faces},
    "pictures": {f["id"]: f["crop"] is not None for f in faces},
    "facts": [[f["kind"], f["subject"], f["object"], f["value"], f["author"], f["at"], f["revision"]] for f in facts],
    "titles": [c["title"] for c in history],
    "live": [r["id"] for r in runs if r["live"]],
    "rows": {r["id"]: sum(row["run"] == r["id"] for row in rows) for r in runs},
}))
"""


def test_another_program_reads_all_of_it(library, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-c", OTHER_PROGRAM, str(folder)],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, wanted = json.loads(done.stdout), wl.contents_in(library)
    facts = wanted.snapshot.facts
    assert found["names"] == {s: v for (kind, s, _), v in facts.items() if kind == "name"}
    assert found["names"]
    for face, vector in zip(wanted.faces.ids, wanted.faces.vectors, strict=True):
        assert np.array_equal(np.array(found["vectors"][face], np.float32), vector)
    assert found["pictures"] == {face: bool(data) for face, data in wl.pictures_in(library).items()}
    assert {tuple(fact[:3]): fact[3] for fact in found["facts"]} == facts
    by = {(*one.key,): record for record in wanted.log for one in record.decisions}
    for fact in found["facts"]:
        record = by[tuple(fact[:3])]
        assert fact[4:] == [record.author, record.at, record.revision]
    assert found["titles"] == [record.title for record in wanted.log]
    assert found["live"] == [facts["live_run", "", ""]]
    assert found["rows"] == {run.id: run.n_faces for run in wanted.runs}


def test_the_readme_names_every_file_and_column(folder):
    text = (folder / "README.md").read_text("utf-8")
    for path in folder.iterdir():
        assert path.name in text or path.name == "README.md"
    for name in ("faces.parquet", "run_faces.parquet"):
        for column in pq.read_schema(folder / name).names:
            assert f"`{column}`" in text or column in ("box_top", "box_right"), column
    for name in ("people", "facts", "history"):
        for key in json.loads((folder / f"{name}.json").read_text("utf-8"))[0]:
            assert f"`{key}`" in text, key


def test_the_program_in_the_readme_runs(folder):
    text = (folder / "README.md").read_text("utf-8")
    program = text.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "face-000" in done.stdout


def test_an_export_is_for_nobody_else_to_read_and_overwrites_nothing(folder, tmp_path):
    assert folder.stat().st_mode & 0o077 == 0
    before = wl.tree(folder)
    with pytest.raises(InputError, match=r"something in .* already. Nothing was exported"):
        call("--user", "anna", "export", "--all", str(folder))
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(InputError, match="Nothing was exported"):
        call("--user", "anna", "export", "--all", str(tmp_path / "file"))
    assert wl.tree(folder) == before
    (tmp_path / "empty").mkdir()
    call("--user", "anna", "export", "--all", str(tmp_path / "empty"))
    assert not list(tmp_path.glob(".*writing"))


def test_pictures_of_two_moments_are_not_mixed(library, tmp_path):
    service = open_library(library, "anna")
    view, found = service.view(), service.contents()
    store = wl.LocalFaceStore(wl.database(library))
    face = next(face for face in view.faces.ids if store.crop(face))
    store.add(replace(wl.batch(np.random.default_rng(5), [face]), crops=(wl.picture(np.random.default_rng(6)),)))
    with pytest.raises(StaleWriteError, match=r"was changed while .* Nothing was exported"):
        open_export.export_all(ANNA, view, found, service.crop, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library"]


def test_an_empty_library_is_exported_and_imported(tmp_path):
    call("export", "--all", str(tmp_path / "out"))
    call("--library", str(tmp_path / "new"), "import-library", str(tmp_path / "out"))
    assert wl.hash_of(tmp_path / "new", "local") == wl.hash_of(tmp_path / "library", "local")


def test_a_library_that_holds_something_is_not_imported_over(library, folder):
    before = wl.tree(library)
    with pytest.raises(InputError, match=r"is not empty. Nothing was changed"):
        import_library(folder, library, ANNA)
    assert wl.tree(library) == before


def test_beside_another_users_library_there_is_room(library, folder):
    before = wl.hash_of(library)
    import_library(folder, library, UserId("bert"))
    assert wl.hash_of(library) == before == wl.hash_of(library, "bert")


def test_a_hosted_library_is_not_imported_into(folder, monkeypatch):
    monkeypatch.setenv("PINECONE_API_KEY", "a key")
    with pytest.raises(InputError, match=r"embedded store alone.*Nothing was changed"):
        call("import-library", str(folder))


# --- hostile exports -------------------------------------------------------------------------------------------------


def rewritten(folder: Path, name: str, change) -> None:
    """Change a file and its hash in export.json: a lie that is consistent in itself."""
    path = folder / name
    if name.endswith(".json"):
        value = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(change(value) or value), "utf-8")
    else:
        table = pq.read_table(path)
        pq.write_table(change(table), path, compression="none", use_dictionary=False)
    if name != "export.json":
        head = json.loads((folder / "export.json").read_text("utf-8"))
        head["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "export.json").write_text(json.dumps(head), "utf-8")


def column(name: str, value: object, row: int = 0):
    def change(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        values = table.column(name).to_pylist()
        values[row] = value
        return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))

    return change


def packed(folder: Path) -> None:
    table = pq.read_table(folder / "faces.parquet")
    pq.write_table(table, folder / "faces.parquet", compression="zstd")
    head = json.loads((folder / "export.json").read_text("utf-8"))
    head["files"]["faces.parquet"] = hashlib.sha256((folder / "faces.parquet").read_bytes()).hexdigest()
    (folder / "export.json").write_text(json.dumps(head), "utf-8")


def with_crop(deed):
    def change(folder: Path) -> None:
        path = next((folder / "crops").glob("*/*"))
        path.unlink()
        deed(path)

    return change


def a_text_file(folder: Path) -> None:
    """Not a picture, under the right name of what it holds."""
    data = b"\xff\xd8\xff" + b"no picture" * 9
    name = open_export.crop_name(data)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    rewritten(folder, "faces.parquet", column("crop", name))


def json_(name: str, **said: object):
    return lambda folder: rewritten(folder, name, lambda rows: rows[0].update(said))


HOSTILE = {
    "no head": lambda f: (f / "export.json").unlink(),
    "a head of nothing": lambda f: (f / "export.json").write_text("{}"),
    "a head that is no JSON": lambda f: (f / "export.json").write_bytes(b"\xff\xfe{"),
    "a deep head": lambda f: (f / "export.json").write_text("[" * 200_000),
    "a newer format": lambda f: rewritten(f, "export.json", lambda h: h.update(facecluster_export=99)),
    "another hash": lambda f: rewritten(f, "export.json", lambda h: h.update(hash="0" * 64)),
    "other counts": lambda f: rewritten(f, "export.json", lambda h: h.update(faces=h["faces"] + 1)),
    "vectors of a million": lambda f: rewritten(f, "export.json", lambda h: h.update(dimension=10**6)),
    "a missing file": lambda f: (f / "facts.json").unlink(),
    "a folder as a file": lambda f: ((f / "facts.json").unlink(), (f / "facts.json").mkdir()),
    "a link as a file": lambda f: ((f / "facts.json").unlink(), (f / "facts.json").symlink_to("/etc/passwd")),
    "a changed name": lambda f: (f / "facts.json").write_text((f / "facts.json").read_text("utf-8") + " "),
    "a parquet file cut short": lambda f: os.truncate(f / "faces.parquet", 100),
    "no parquet file": lambda f: (f / "faces.parquet").write_bytes(b"PAR1" * 9),
    "packed": packed,
    "a fact less": lambda f: rewritten(f, "facts.json", lambda rows: rows[1:]),
    "a fact twice": lambda f: rewritten(f, "facts.json", lambda rows: [*rows, rows[0]]),
    "an unknown kind": json_("facts.json", kind="admin"),
    "a number as a name": json_("facts.json", value=7),
    "a huge text": json_("facts.json", value="x" * 1_000_001),
    "a NUL": json_("facts.json", value="a\0b"),
    "a mark that is none": json_("facts.json", kind="mark", value="rm -rf"),
    "a live run that is not there": lambda f: rewritten(
        f, "facts.json", lambda rows: [{**r, "value": "nobody"} if r["kind"] == "live_run" else r for r in rows]
    ),
    "a change left out": lambda f: rewritten(f, "history.json", lambda rows: rows[:1] + rows[2:]),
    "the last change left out": lambda f: rewritten(f, "history.json", lambda rows: rows[:-1]),
    "another author": json_("history.json", author="mallory"),
    "an undo of the future": json_("history.json", undoes=99),
    "a run left out": lambda f: rewritten(f, "runs.json", lambda rows: rows[1:]),
    "a run twice": lambda f: rewritten(f, "runs.json", lambda rows: [*rows, rows[0]]),
    "a label that is none": lambda f: rewritten(f, "run_faces.parquet", column("label", -9)),
    "a strength that is none": lambda f: rewritten(f, "run_faces.parquet", column("strength", float("nan"))),
    "a face twice in a run": lambda f: rewritten(f, "run_faces.parquet", column("face", "face-001", 3)),
    "an id with a bell": lambda f: rewritten(f, "faces.parquet", column("id", "\x07")),
    "no id": lambda f: rewritten(f, "faces.parquet", column("id", "")),
    "ids not in order": lambda f: rewritten(f, "faces.parquet", column("id", "zzz")),
    "a vector of zeros": lambda f: rewritten(f, "faces.parquet", column("vector", [0.0] * 8)),
    "a vector of NaN": lambda f: rewritten(f, "faces.parquet", column("vector", [float("nan")] * 8)),
    "another vector": lambda f: rewritten(f, "faces.parquet", column("vector", [1.0] + [0.0] * 7)),
    "an endless score": lambda f: rewritten(f, "faces.parquet", column("blur_score", float("inf"))),
    "half a box": lambda f: rewritten(f, "faces.parquet", column("box_left", 1e5)),
    "a column more": lambda f: rewritten(f, "faces.parquet", lambda t: t.append_column("x", pa.nulls(len(t)))),
    "a picture elsewhere": lambda f: rewritten(f, "faces.parquet", column("crop", "../../../etc/passwd")),
    "a picture that is gone": with_crop(lambda path: None),
    "a picture of somebody else": with_crop(lambda path: path.write_bytes(wl.picture(np.random.default_rng(99)))),
    "a picture that is a link": with_crop(lambda path: path.symlink_to("/etc/passwd")),
    "a picture that never ends": with_crop(lambda path: os.mkfifo(path)),
    "a picture that is a folder": with_crop(lambda path: path.mkdir()),
    "a picture that is none": a_text_file,
}


# These are libraries that could be. The others must be refused where the hash says nothing, too: whoever writes an
# export of their own writes its hash, or names one that we do not know.
SEEN_BY_THE_HASH_ALONE = ("another hash", "a fact less", "another author", "another vector")


def pretend_to_another_hash(folder: Path) -> None:
    with suppress(FileNotFoundError, ValueError, RecursionError):
        head = json.loads((folder / "export.json").read_text("utf-8"))
        if head:
            head["definition"] = 0
            (folder / "export.json").write_text(json.dumps(head), "utf-8")


@pytest.mark.parametrize("how", list(HOSTILE))
def test_an_export_that_is_not_what_it_was_changes_nothing(folder, tmp_path, how):
    HOSTILE[how](folder)
    if how not in SEEN_BY_THE_HASH_ALONE:
        pretend_to_another_hash(folder)
    new = tmp_path / "new"
    with closing(wl.database(new, "carl")):
        pass
    before = wl.tree(new)
    with pytest.raises(InputError, match="Nothing was changed") as refused:
        import_library(folder, new, ANNA)
    assert "\n" not in str(refused.value)
    assert wl.tree(new) == before
    assert not list(new.rglob("*restoring*"))


def test_no_path_in_an_export_is_opened_outside_of_it(folder, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"x")
    rewritten(folder, "faces.parquet", column("crop", "../secret"))
    opened, real = [], os.open
    monkeypatch.setattr(
        os, "open", lambda path, *args, **more: (opened.append(Path(path)), real(path, *args, **more))[1]
    )
    with pytest.raises(InputError, match=r"names a picture '../secret'.*Nothing was changed"):
        import_library(folder, tmp_path / "new", ANNA)
    assert [path for path in opened if "secret" in path.name] == []


def test_a_hostile_export_that_is_consistent_is_only_a_library(folder, tmp_path):
    """Somebody may write an export of their own; all that comes of it is a library, and the names in it are text."""
    shutil.copytree(folder, tmp_path / "mine")
    rewritten(
        tmp_path / "mine",
        "facts.json",
        lambda rows: [{**r, "value": "<script>alert(1)</script>"} if r["kind"] == "name" else r for r in rows],
    )
    with pytest.raises(InputError, match="another hash"):
        import_library(tmp_path / "mine", tmp_path / "new", ANNA)
