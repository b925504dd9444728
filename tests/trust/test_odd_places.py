"""Libraries on full, read-only and network drives, under a clock that jumps, and with a worker's files torn."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import datetime, timedelta

import pytest
import small_library
from contracts.changes import everything

from facecluster.errors import FaceClusterError, StoreDeniedError, StoreError
from facecluster.jobs import Jobs, read_spec
from facecluster.ports import KEPT_RUNS
from facecluster.stores import drives, local, local_people
from trust.acts import copied, make_template, told


@contextlib.contextmanager
def small_drive(place, megabytes):
    """A real file system of its own."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user may not mount a drive")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_drive_that_is_really_full_loses_nothing_and_goes_on_when_there_is_room(tmp_path):
    template = make_template(tmp_path / "template")
    with small_drive(tmp_path / "drive", 4) as drive:
        library = shutil.copytree(template, drive / "library")
        service = small_library.open_library(library)
        person = service.view().people()[0].id
        before = told(library)
        ballast = drive / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(StoreError, match=r"(full|[Nn]o space).*Nothing was"):
            service.import_files([template.parent / "more.npz"])
        with contextlib.suppress(StoreError):  # a page that is left over may do; an OSError is none of ours
            service.prepare(0.0, (4,))
        assert told(library) == before
        ballast.unlink()
        assert service.import_files([template.parent / "more.npz"]).added == 10
        service.rename(person, "Anna")
        assert small_library.open_library(library).view().person(person).name == "Anna"


def test_a_drive_that_is_read_only_is_one_sentence(tmp_path):
    template = make_template(tmp_path / "template")
    person = small_library.open_library(template).view().people()[0].id
    with small_drive(tmp_path / "drive", 8) as drive:
        copied(template, drive / "library")
        subprocess.run(["mount", "-o", "remount,ro", str(drive)], check=True)
        with pytest.raises(
            StoreDeniedError, match=r"cannot be written.*Nothing was changed\. Check the folder's rights"
        ):
            small_library.open_library(drive / "library").rename(person, "Anna")
        subprocess.run(["mount", "-o", "remount,rw", str(drive)], check=True)
        small_library.open_library(drive / "library").rename(person, "Anna")


MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:40 / /mnt/nas rw,relatime - nfs4 nas:/photos rw
41 22 0:41 / /mnt/nas/local\040disk rw - ext4 /dev/sdb rw
42 22 0:42 / /home/anna/remote rw - fuse.sshfs anna@far: rw
43 22 0:43 / /mnt/c rw - 9p C:\134 rw
"""


@pytest.mark.parametrize(
    ("folder", "journal"),
    [
        ("/srv/library", "wal"), ("/mnt/nas/library", "delete"), ("/mnt/nas", "delete"), ("/mnt/nassau", "wal"),
        ("/mnt/nas/local disk/library", "wal"), ("/home/anna/remote/x", "delete"), ("/mnt/c/Users", "delete"),
    ],
)  # fmt: skip
def test_the_log_beside_a_library_is_left_away_on_a_drive_of_a_network(folder, journal, tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, "utf-8")
    assert drives.journal_for(local.Path(folder), mounts) == journal
    assert drives.journal_for(local.Path(folder), tmp_path / "nowhere") == "wal"


def test_the_kind_of_a_drive_is_what_the_system_says():
    if not local.Path("/proc/self/mountinfo").exists():
        pytest.skip("this system has no list of drives in /proc")
    assert drives.kind_of_drive(local.Path("/proc/self")) == "proc"


def test_a_library_on_a_drive_of_a_network_holds_what_was_said_and_lets_others_in(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "journal_for", lambda folder: "delete")
    service = small_library.make_library(tmp_path)
    other = small_library.open_library(tmp_path / "library")
    anna, ben = (card.id for card in service.view().people()[:2])
    service.rename(anna, "Anna")
    other.rename(ben, "Ben")
    assert {service.view().person(anna).name, service.view().person(ben).name} == {"Anna", "Ben"}
    (path,) = (tmp_path / "library").glob("users/*/library.db")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_jumps_by_years_changes_no_order(tmp_path, monkeypatch, years):
    service = small_library.make_library(tmp_path)
    person, first = service.view().people()[0].id, service.runs()[0].id
    service.name_run(first, "kept, whatever comes after it")

    class Elsewhen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=365 * years)

    service.rename(person, "first")
    monkeypatch.setattr(local_people, "datetime", Elsewhen)
    service.rename(person, "second")
    published = []
    for epsilon in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        service.publish(service.plan(small_library.Params(2, 3, epsilon, "cut", 50.0)))
        published.append(service.view().snapshot.run.id)
    monkeypatch.undo()
    newest = list(dict.fromkeys(reversed(published)))
    assert [run.id for run in service.runs()] == [*newest[:KEPT_RUNS], first]
    service.rename(person, "third")
    log = service.history(100)
    assert [record.revision for record in log] == list(range(len(log), 0, -1))
    names = [said.value for record in log for said in record.decisions if said.kind == "name"]
    assert names[:3] == ["third", "second", "first"]
    revision = service.view().snapshot.revision
    service.undo(revision)
    assert service.view().person(person).name == "second"


def test_work_that_cannot_be_started_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be started: Not a directory .*Nothing was changed"):
        Jobs(tmp_path / "file" / "jobs", tmp_path, "local").start("map")


@pytest.mark.parametrize("torn", [b"", b"\0" * 40, b'{"status": "run', b"[]"])
def test_a_state_of_a_job_that_a_power_cut_tore_is_a_job_that_may_be_started(tmp_path, torn):
    jobs = Jobs(tmp_path / "jobs", tmp_path, "local")
    (tmp_path / "jobs").mkdir()
    job = jobs.id("map")
    (tmp_path / "jobs" / f"{job}.state").write_bytes(torn)
    assert jobs.state(job).status == "none"
    with pytest.raises(FaceClusterError, match="There is no job"):
        read_spec(tmp_path / "jobs" / f"{job}.state")


def test_what_an_embedded_store_says_is_the_same_under_both_journals(tmp_path, monkeypatch):
    from contracts.builders import database_of
    from contracts.changes import a_run, publish, said

    from facecluster.stores.local_people import LocalPeopleStore

    found = []
    for journal in ("wal", "delete"):
        monkeypatch.setattr(local, "journal_for", lambda folder, journal=journal: journal)
        store = LocalPeopleStore(database_of(tmp_path / journal, "anna"))
        publish(store, a_run(), said("person", "p1", "1"), said("person", "p2", "1"), said("name", "p1", "Anna"))
        found.append(everything(store))
    assert found[0][:2] == found[1][:2]
