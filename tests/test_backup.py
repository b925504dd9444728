"""Backing up and restoring as a user at the command line meets them, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import whole_library as wl
from click.testing import CliRunner

from facecluster import archive, backup, cli, restoring
from facecluster.errors import CancelledError, InputError, StoreDataError, StoreUnavailableError
from facecluster.stores.local_faces import LocalFaceStore


@pytest.fixture
def library(tmp_path) -> Path:
    """Two users' libraries, in the folder that the environment names."""
    wl.fill(tmp_path / "library", 3)
    wl.fill(tmp_path / "library", 4, "bert")
    return tmp_path / "library"


@pytest.fixture
def file(library, tmp_path) -> Path:
    backup.back_up(library, tmp_path / "of today")
    return tmp_path / "of today"


def call(*args: str) -> str:
    result = CliRunner().invoke(cli.cli, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def hashes(folder: Path) -> list[str]:
    return [wl.hash_of(folder), wl.hash_of(folder, "bert")]


def test_one_command_backs_up_everybody_and_another_puts_it_back(library, tmp_path):
    wanted, pictures = hashes(library), wl.pictures_in(library)
    said = call("backup", str(tmp_path / "b"))
    assert all(found in said for found in wanted)
    assert "checked" in said
    assert "is whole" in call("backup", "--verify", str(tmp_path / "b"))
    shutil.rmtree(library)
    assert "as it was at" in call("restore", str(tmp_path / "b"))
    assert hashes(library) == wanted
    assert wl.pictures_in(library) == pictures
    assert any(pictures.values())


def test_the_hash_is_what_status_says_and_moves_with_what_is_said(library, monkeypatch):
    monkeypatch.setenv("FACECLUSTER_USER", "anna")
    before = call("status", "--hash").strip()
    assert before == wl.hash_of(library)
    face = wl.contents_in(library).faces.ids[0]
    database = wl.database(library)
    people = wl.LocalPeopleStore(database)
    people.apply(wl.change(people.revision(), wl.said("mark", face, "ignored")))
    after = call("status", "--hash").strip()
    assert after != before
    people.apply(wl.change(people.revision(), wl.said("mark", face, None, before="ignored")))
    assert call("status", "--hash").strip() not in (before, after), "history is part of it"
    LocalFaceStore(database).remove([face])
    assert call("status", "--hash").strip() not in (before, after)


def test_what_can_be_made_again_stays_out_and_is_said(library, tmp_path):
    folder = next(library.glob("users/*"))
    for name in ("cache", "jobs", "uploads"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "something").write_bytes(b"x")
    (folder / "vectors.999.f32").write_bytes(b"of an import that was killed")
    (folder / "consent.json").write_bytes(b"what another part of the program keeps here")
    (folder / "a link").symlink_to("/etc/passwd")
    (library / "sessions.db").write_bytes(b"who is signed in comes back with no backup")
    manifest = backup.back_up(library, tmp_path / "b")
    assert {"cache", "jobs", "uploads"} < set(manifest.left_out)
    kept = {name.split("/", 2)[2] for name in manifest.files if folder.name in name}
    assert kept >= {"consent.json", "library.db"}
    assert not kept & {"vectors.999.f32", "a link", "cache/something"}
    restoring.restore(tmp_path / "b", tmp_path / "back")
    assert (tmp_path / "back" / "users" / folder.name / "consent.json").read_bytes().startswith(b"what another")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["users"]


def test_the_copy_of_a_hosted_index_is_backed_up_with_the_rest(library, tmp_path):
    copy = next(library.glob("users/*")) / "hosted" / "of-an-index"
    store = LocalFaceStore(wl.Database(copy, "anna"))
    store.add(wl.batch(wl.np.random.default_rng(1), ["h1", "h2"]))
    manifest = backup.back_up(library, tmp_path / "b")
    assert [one.faces for one in manifest.libraries if "/hosted/" in one.folder] == [2]
    restoring.restore(tmp_path / "b", tmp_path / "back")
    back = LocalFaceStore(wl.Database(tmp_path / "back" / copy.relative_to(library), "anna"))
    assert back.read().fingerprint == store.read().fingerprint


def test_a_backup_is_for_nobody_else_to_read(file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_a_backup_tells_how_far_it_is_and_can_be_stopped(library, tmp_path):
    heard: list[float] = []

    def stop(done: float, _: str) -> None:
        heard.append(done)
        if done > 0.5:
            raise CancelledError("Stopped.")

    with pytest.raises(CancelledError):
        backup.back_up(library, tmp_path / "b", stop)
    assert heard == sorted(heard)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library"]


@pytest.mark.parametrize("there", ["file", "folder", "dangling link"])
def test_nothing_is_overwritten(library, tmp_path, there):
    to = tmp_path / "b"
    {"file": lambda: to.write_bytes(b"mine"), "folder": to.mkdir, "dangling link": lambda: to.symlink_to("no")}[there]()
    with pytest.raises(InputError, match=r"There is a .* already. Nothing was backed up"):
        backup.back_up(library, to)
    assert os.path.lexists(to)


def test_what_comes_up_meanwhile_is_not_overwritten_either(library, tmp_path, monkeypatch):
    real = backup.check
    monkeypatch.setattr(backup, "check", lambda *args: ((tmp_path / "b").write_bytes(b"mine"), real(*args)))
    with pytest.raises(InputError, match="by now"):
        backup.back_up(library, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_a_backup_goes_elsewhere_than_into_the_library(library):
    with pytest.raises(InputError, match="in the library itself"):
        backup.back_up(library, library / "users" / "b")


def test_where_there_is_no_library_none_is_made(tmp_path):
    with pytest.raises(InputError, match="no library in"):
        backup.back_up(tmp_path / "nothing", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_library_is_not_backed_up_in_silence(library, tmp_path):
    vectors = next(library.glob("users/*/vectors.*.f32"))
    data = bytearray(vectors.read_bytes())
    data[5] ^= 1
    vectors.write_bytes(data)
    with pytest.raises(StoreDataError, match=r"not those that were imported. Nothing was backed up"):
        backup.back_up(library, tmp_path / "b")
    vectors.write_bytes(data[:-4])
    with pytest.raises(StoreDataError, match=r"not of that size. Nothing was backed up"):
        backup.back_up(library, tmp_path / "b")
    vectors.unlink()
    with pytest.raises(StoreDataError, match=r"are not there. Nothing was backed up"):
        backup.back_up(library, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_backup_that_reads_back_as_something_else_is_not_kept(library, tmp_path, monkeypatch):
    """The disk lies: what was written is not what comes back."""
    real = archive.Writer.finish

    def damaged(writer, manifest):
        real(writer, manifest)
        file = writer._zip.fp
        at = file.tell()
        file.seek(200)
        file.write(b"\xff\xff\xff")
        file.seek(at)

    monkeypatch.setattr(archive.Writer, "finish", damaged)
    with pytest.raises(InputError, match="Nothing was"):
        backup.back_up(library, tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library"]


def test_a_full_disk_is_one_sentence(library, file, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(InputError, match="10 are free"):
        backup.back_up(library, tmp_path / "b")
    with pytest.raises(InputError, match=r"10 are free.*Nothing was changed"):
        restoring.restore(file, tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", file.name]


# --- restoring -------------------------------------------------------------------------------------------------------


def test_a_library_is_not_restored_over_unless_told_and_then_kept(library, file, tmp_path):
    wl.fill(tmp_path / "other", 9)
    old, before = wl.hash_of(tmp_path / "other"), wl.tree(tmp_path / "other")
    with pytest.raises(InputError, match=r"holds a library already. Nothing was changed.*--replace"):
        restoring.restore(file, tmp_path / "other")
    assert wl.tree(tmp_path / "other") == before
    found = restoring.restore(file, tmp_path / "other", replace=True)
    assert hashes(tmp_path / "other") == hashes(library)
    assert found.kept is not None
    assert found.kept.name.startswith("other.before-")
    assert wl.hash_of(found.kept) == old
    assert not list(tmp_path.glob("*restoring*"))


@pytest.mark.parametrize("make", ["nothing", "an empty folder", "a library that was only opened"])
def test_an_empty_place_needs_no_word(library, file, tmp_path, make):
    to = tmp_path / "new" / "library"
    if make == "an empty folder":
        to.mkdir(parents=True)
    elif make != "nothing":
        wl.database(to).close()
    restoring.restore(file, to)
    assert hashes(to) == hashes(library)


def test_a_folder_of_something_else_is_never_replaced(file, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="no library"):
        restoring.restore(file, tmp_path / "photos", replace=True)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_a_library_in_use_is_not_replaced(library, file, tmp_path):
    user = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n"
            "db.execute('select count(*) from faces').fetchall(); print('open', flush=True); sys.stdin.read()",
            str(next(library.glob("users/*/library.db"))),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"open\n"
        before = wl.tree(library)
        with pytest.raises(StoreUnavailableError, match=r"is in use. Nothing was changed. Stop the dashboard"):
            restoring.restore(file, library, replace=True)
        assert wl.tree(library) == before
        user.communicate()
    restoring.restore(file, library, replace=True)


def test_a_damaged_library_can_be_replaced(library, file):
    wanted = hashes(library)
    for path in library.glob("users/*/library.db"):
        path.write_bytes(b"SQLite format 3\0" + b"rubbish" * 999)
    with pytest.raises(InputError, match="--replace"):
        restoring.restore(file, library)
    restoring.restore(file, library, replace=True)
    assert hashes(library) == wanted


def test_a_disk_that_cannot_exchange_names_restores_all_the_same(library, file, tmp_path, monkeypatch):
    monkeypatch.setattr(restoring, "_exchange", lambda *_: False)
    wl.fill(tmp_path / "other", 9)
    old = wl.hash_of(tmp_path / "other")
    found = restoring.restore(file, tmp_path / "other", replace=True)
    assert found.kept is not None
    assert (hashes(tmp_path / "other"), wl.hash_of(found.kept)) == (hashes(library), old)


def test_names_are_exchanged_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in {name}").touch()
    assert restoring._exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["in b"]
    with pytest.raises(FileNotFoundError):
        restoring._exchange(tmp_path / "a", tmp_path / "not there")


def repacked(file: Path, change) -> Path:
    """The same archive with another manifest, consistent in itself."""
    with zipfile.ZipFile(file) as found:
        entries = {name: found.read(name) for name in found.namelist()}
    manifest = json.loads(entries.pop(archive.MANIFEST))
    change(manifest, entries)
    data = json.dumps(manifest).encode()
    to = file.with_name("repacked")
    with zipfile.ZipFile(to, "w") as made:
        for name, content in {**entries, archive.MANIFEST: data}.items():
            made.writestr(zipfile.ZipInfo(name), content)
        made.comment = b"facecluster backup " + archive.hashlib.sha256(data).hexdigest().encode()
    return to


def renamed(name: str):
    def change(manifest, entries):
        old = next(iter(entries))
        entries[name], manifest["files"][name] = entries.pop(old), manifest["files"].pop(old)

    return change


def sized(manifest, entries):
    next(iter(manifest["files"].values()))["bytes"] = 10**15


HOSTILE = {
    "climbs out": renamed("users/../../x"),
    "absolute": renamed("/etc/cron.d/x"),
    "drive": renamed("C:\\x"),
    "of nobody": renamed("users/short/library.db"),
    "too deep": renamed("users/" + "0" * 64 + "/a" * 9),
    "no such size": sized,
    "text as a size": lambda m, e: next(iter(m["files"].values())).update(bytes="9"),
    "no size": lambda m, e: next(iter(m["files"].values())).pop("bytes"),
    "a newer archive": lambda m, e: m.update(facecluster_backup=archive.FORMAT + 1),
    "no archive of ours": lambda m, e: m.pop("facecluster_backup"),
    "a newer library": lambda m, e: m["libraries"][0].update(format=99),
    "somebody else's": lambda m, e: m["libraries"][0].update(user="mallory"),
    "another hash": lambda m, e: m["libraries"][0].update(hash="0" * 64),
    "a library elsewhere": lambda m, e: m["libraries"][0].update(folder="../.."),
    "a list of lists": lambda m, e: m.update(files=[[]] * 3),
}


@pytest.mark.parametrize("how", list(HOSTILE))
def test_an_archive_that_lies_with_right_hashes_is_refused(library, file, tmp_path, how):
    bad = repacked(file, HOSTILE[how])
    before = wl.tree(tmp_path)
    with pytest.raises(InputError, match="Nothing was changed"):
        restoring.restore(bad, library, replace=True)
    assert wl.tree(tmp_path) == before


def test_a_list_that_was_rewritten_is_refused(file):
    with zipfile.ZipFile(file) as found:
        entries, comment = {name: found.read(name) for name in found.namelist()}, found.comment
    entries[archive.MANIFEST] = entries[archive.MANIFEST].replace(b'"user": "anna"', b'"user": "anne"')
    with zipfile.ZipFile(file, "w") as made:
        for name, content in entries.items():
            made.writestr(zipfile.ZipInfo(name), content)
        made.comment = comment
    with pytest.raises(InputError, match="its list of files is not the one that was written"):
        backup.check(file)


def test_a_library_damaged_within_right_hashes_is_refused(library, file, tmp_path):
    def change(manifest, entries):
        name = next(name for name in entries if name.endswith("library.db"))
        data = bytearray(entries[name])
        data[4096 * 2 : 4096 * 3] = os.urandom(4096)
        entries[name] = bytes(data)
        manifest["files"][name]["sha256"] = archive.hashlib.sha256(data).hexdigest()

    with pytest.raises(InputError, match="Nothing was changed"):
        restoring.restore(repacked(file, change), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_mistakes_are_one_sentence(tmp_path, file):
    for args, words in {
        ("backup", "--verify", str(tmp_path / "not there")): "There is no file",
        ("restore", str(tmp_path)): "damaged or no backup",
        ("restore", str(file)): "holds a library already",
    }.items():
        found = subprocess.run(
            [sys.executable, "-m", "facecluster", *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "FACECLUSTER_LIBRARY": str(tmp_path / "library")},
        )
        assert (found.returncode, found.stdout) == (2, "")
        assert words in found.stderr
        assert found.stderr.count("\n") == 1


def test_json_tells_what_is_in_it(library, tmp_path):
    made = json.loads(call("backup", "--json", str(tmp_path / "b")))
    assert {one["user"]: one["hash"] for one in made["libraries"]} == dict(
        zip(("anna", "bert"), hashes(library), strict=True)
    )
    back = json.loads(call("restore", "--json", "--to", str(tmp_path / "back"), str(tmp_path / "b")))
    assert (back.pop("kept"), back) == (None, made)


def test_a_library_restored_is_as_durable_as_any(library, file, tmp_path):
    restoring.restore(file, tmp_path / "back")
    for path in (tmp_path / "back").glob("users/*/library.db"):
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("pragma journal_mode").fetchone()[0] == "wal"
            assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
