"""R22: backups of random libraries while others write, every broken archive, kills on the way, every older format."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from facecluster import archive, backup, restoring
from facecluster.errors import FaceClusterError, InputError, StoreDataError
from facecluster.stores.local import FORMAT
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore
from trust.measure import Found, Measure, cases

_SPAWN = multiprocessing.get_context("forkserver")  # a process for each death, without starting Python anew
_BACKUPS_EACH = 20
_SPAWN.set_forkserver_preload(["pytest", "whole_library", "facecluster.restoring", "stores.test_local_kills"])


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- while others write ----------------------------------------------------------------------------------------------


def write_for_ever(library: Path, seed: int) -> None:
    """Another process that imports, says and erases; before each import is said what the import before brought."""
    import whole_library as wl
    from contracts.changes import change, said

    from facecluster.model import FaceId

    rng = np.random.default_rng(seed)
    db = wl.database(library)
    faces, people = LocalFaceStore(db), LocalPeopleStore(db)
    n = 0
    while True:
        n += 1
        faces.add(wl.batch(rng, [f"w-{n}-{i}" for i in range(3)]))
        people.apply(change(people.revision(), said("name", f"w-{n}", f"Batch {n}")))
        if n % 7 == 0:
            faces.remove([FaceId(f"w-{n - 3}-0")])


def holds_one_moment(library: Path) -> str:
    """What is wrong with a library that `write_for_ever` wrote to, "" for nothing."""
    import whole_library as wl

    found = wl.contents_in(library)
    brought = {int(face.split("-")[1]) for face in found.faces.ids if face.startswith("w-")}
    told = {int(s.removeprefix("w-")) for k, s, _ in found.snapshot.facts if k == "name" and s.startswith("w-")}
    if not told <= brought or len(brought - told) > 1:
        return f"faces of {max(brought, default=0)} imports and words about {max(told, default=0)}: no one moment"
    if not np.allclose(np.linalg.norm(found.faces.vectors, axis=1), 1, atol=1e-5):
        return "vectors of another moment"
    pictures = wl.pictures_in(library)  # each is checked against its hash as it is read
    return "" if len(pictures) == len(found.faces) else "pictures are missing"


def under_writes(seed: int, seconds: float, most: int | None = None) -> Found:
    """Random libraries, each backed up while another process writes to it, restored and compared."""
    found, n_moments = Found(), 0
    end = time.monotonic() + seconds
    for library in cases(seconds):
        left = _BACKUPS_EACH if most is None else min(_BACKUPS_EACH, most - found.n)
        n_moments += _while_written_to(found, seed + library, max(end - time.monotonic(), 0), left)
        if most is not None and found.n >= most:
            break
    found.note = f"{library + 1:,} libraries, {n_moments:,} different moments"
    return found


def _while_written_to(found: Found, seed: int, seconds: float, most: int) -> int:
    """One library; how many different moments were caught. At the end once more at rest, against the library itself."""
    import whole_library as wl

    revisions = set()
    with folder() as place:
        library = place / "library"
        wl.fill(library, seed)
        writer = _SPAWN.Process(target=write_for_ever, args=(library, seed))
        writer.start()
        try:
            for n in cases(seconds, most):
                manifest = backup.back_up(library, place / f"{n}.backup")
                restoring.restore(place / f"{n}.backup", place / "restored")
                wrong = holds_one_moment(place / "restored")
                if wl.hash_of(place / "restored") != manifest.libraries[0].hash:
                    wrong = wrong or "another hash than was written down"
                if wrong:
                    found.failures.append(f"seed {seed}, backup {n}: {wrong}")
                revisions.add(manifest.libraries[0].changes)
                found.n += 1
                shutil.rmtree(place / "restored")
                (place / f"{n}.backup").unlink()
            if not writer.is_alive():
                found.failures.append(f"seed {seed}: the writer stopped, so nothing was written meanwhile")
        finally:
            writer.kill()
            writer.join()
        before = wl.hash_of(library)
        backup.back_up(library, place / "last.backup")
        restoring.restore(place / "last.backup", place / "last")
        if not before == wl.hash_of(place / "last") == wl.hash_of(library):
            found.failures.append(f"seed {seed}: at rest, the restored library is another one")
    return len(revisions)


# --- broken archives -------------------------------------------------------------------------------------------------


def broken(data: bytes, n: int, rng: np.random.Generator) -> tuple[str, bytes]:
    """A broken form of an archive: every byte in turn, every length in turn, and what an attacker would write."""
    way = n % 8
    at = (n * 7919) % len(data)  # a prime: all places come up, spread over the file from the start
    if way < 4:
        flipped = data[at] ^ (1 << int(rng.integers(8)))
        return f"byte {at} became {flipped}", data[:at] + bytes([flipped]) + data[at + 1 :]
    if way == 4:
        return f"cut after {at} bytes", data[:at]
    if way == 5:
        return f"16 zeros at {at}", data[:at] + bytes(16) + data[at + 16 :]
    if way == 6:
        to = int(rng.integers(len(data)))
        return f"100 bytes of {at} at {to}", (data[:to] + data[at : at + 100] + data[to + 100 :])[: len(data)]
    return rewritten(data, rng)


def rewritten(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """An archive packed anew by somebody who means harm."""
    deeds: list[Callable[[list[tuple[zipfile.ZipInfo, bytes]]], str]] = [
        _climb,
        _link,
        _pack,
        _leave_out,
        _other_bytes,
        _double,
        _stranger,
    ]
    import io

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
        comment = archive.comment
    what = deeds[int(rng.integers(len(deeds)))](entries)
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for info, content in entries:
            archive.writestr(info, content, info.compress_type)
        archive.comment = comment
    return what, out.getvalue()


def _climb(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    entries.insert(0, (zipfile.ZipInfo("../../climbed.txt"), b"here"))
    return "a name that climbs out"


def _link(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    info = entries[0][0]
    info.create_system, info.external_attr = 3, 0o120777 << 16
    entries[0] = (info, b"/etc/passwd")
    return "a link"


def _pack(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    entries[0][0].compress_type = zipfile.ZIP_DEFLATED
    entries[0] = (entries[0][0], bytes(20_000_000))
    return "a file that unpacks to far more than the archive has"


def _leave_out(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    return f"without {entries.pop(0)[0].filename}"


def _other_bytes(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    info, content = entries[0]
    entries[0] = (info, content[:-1] + bytes([content[-1] ^ 1]))
    return "other bytes with a right checksum"


def _double(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    entries.append(entries[0])
    return "a file twice"


def _stranger(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> str:
    entries.append((zipfile.ZipInfo(entries[0][0].filename + "x"), b"x"))
    return "a file that no list names"


def broken_archives(seed: int, seconds: float, most: int | None = None) -> Found:
    """Restore broken archives over a library: a sentence and nothing changed, or exactly what was backed up."""
    import whole_library as wl

    found, rng = Found(), np.random.default_rng(seed)
    n_harmless = 0
    with folder() as place:
        wl.fill(place / "library", seed)
        wl.fill(place / "other", seed + 1)
        backup.back_up(place / "library", place / "good.backup")
        wanted, data = wl.hash_of(place / "library"), (place / "good.backup").read_bytes()
        there = wl.tree(place / "other")
        bad, target = place / "bad.backup", place / "target"
        shutil.copytree(place / "other", target)
        for n in cases(seconds, most):
            what, content = broken(data, n, rng)
            bad.write_bytes(content)
            found.n += 1
            try:
                restored = restoring.restore(bad, target, replace=True)
            except InputError as exc:
                wrong = "" if wl.tree(target) == there else "refused, and the library there was changed"
                wrong = wrong or ("" if "Nothing was changed" in str(exc) else f"it does not say so: {exc}")
            except Exception as exc:  # noqa: BLE001  what is not ours is a failure to say it in one sentence
                wrong = f"{type(exc).__name__}: {exc}"
            else:
                n_harmless += 1
                wrong = "" if wl.hash_of(target) == wanted else "taken, and it is another library"
                assert restored.kept is not None
                shutil.rmtree(target)
                shutil.rmtree(restored.kept)
                shutil.copytree(place / "other", target)
            left = [p.name for p in place.iterdir() if p.name not in ("library", "other", "target") and p != bad]
            if wrong or left != ["good.backup"]:
                found.failures.append(f"seed {seed}, case {n}, {what}: {wrong or left}")
    found.note = f"{n_harmless:,} broken in what nobody reads, and restored whole"
    return found


# --- kills -----------------------------------------------------------------------------------------------------------


def killed_at(point: int, deed: str, place: Path) -> None:
    """Back up or restore in this process, and be killed before the call of this number that reaches the disk."""
    left = point

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    points = [(os, "fsync"), (os, "link"), (os, "rename"), (os, "mkdir"), (os, "rmdir"), (os, "unlink")]
    points += [(restoring, "_exchange"), (Path, "rename"), (Path, "unlink")]  # type: ignore[list-item]
    for owner, name in points:
        mock.patch.object(owner, name, counting(getattr(owner, name))).start()
    if deed == "restore":
        restoring.restore(place / "good.backup", place / "target", replace=True)
    else:
        backup.back_up(place / "library", place / "new.backup")


def kills(seed: int, seconds: float, step: int = 1) -> Found:
    """Kill a backup and a restoring before every call that reaches the disk, or before every `step`-th."""
    del seconds
    import whole_library as wl

    found = Found()
    with folder() as start:
        wl.fill(start / "library", seed)
        wl.fill(start / "target", seed + 1)
        backup.back_up(start / "library", start / "good.backup")
        new, old = wl.hash_of(start / "library"), wl.hash_of(start / "target")
        for deed in ("restore", "backup"):
            died, point = -signal.SIGKILL, 1 + seed % step
            while died == -signal.SIGKILL:
                with folder() as place:
                    shutil.copytree(start, place / "x")
                    died = _outcome(point, deed, place / "x")
                    wrong = _after_a_kill(place / "x", deed, old, new)
                if died not in (0, -signal.SIGKILL):
                    wrong = f"it ended with {died}"
                found.n += 1
                if wrong:
                    found.failures.append(f"seed {seed}, {deed} killed at {point}: {wrong}")
                point += step
    return found


def _outcome(point: int, deed: str, place: Path) -> int | None:
    process = _SPAWN.Process(target=killed_at, args=(point, deed, place))
    process.start()
    process.join()
    return process.exitcode


def _after_a_kill(place: Path, deed: str, old: str, new: str) -> str:
    import whole_library as wl

    if deed == "backup":
        if not (place / "new.backup").exists():
            return ""
        try:
            backup.check(place / "new.backup")
        except FaceClusterError as exc:
            return str(exc)
        return ""
    if not (place / "target" / "users").is_dir():
        return "there is no library any more"
    is_new = wl.hash_of(place / "target") == new
    if not is_new and wl.hash_of(place / "target") != old:
        return "neither the old library nor the new one"
    beside = [path for path in place.glob("target.*") if (path / "users").is_dir()]
    if is_new and not any(wl.hash_of(path) == old for path in beside):
        return "the old library is gone"
    return ""


# --- formats ---------------------------------------------------------------------------------------------------------


def formats(seed: int, seconds: float) -> Found:
    """Every format that was ever released: backed up, restored, opened; killed in its upgrade; a newer one refused."""
    del seed, seconds
    import whole_library as wl
    from stores import test_local_kills as local_kills
    from stores.format_1 import FORMAT_1

    found = Found()
    scripts = {1: FORMAT_1}
    if set(scripts) != set(range(1, FORMAT)):
        found.failures.append(f"there are formats up to {FORMAT}, and libraries of {sorted(scripts)} are kept")
    for number, script in scripts.items():
        with folder() as place:
            path = _library_of(script, place / "library")
            manifest = backup.back_up(place / "library", place / "old.backup")
            with closing(sqlite3.connect(path)) as db:
                if db.execute("pragma user_version").fetchone()[0] != number:
                    found.failures.append(f"backing up a library of format {number} changed it")
            with archive.opened(place / "old.backup") as reader:
                (place / "as it is").write_bytes(b"".join(reader.pieces(f"{manifest.libraries[0].folder}/library.db")))
            with closing(sqlite3.connect(place / "as it is")) as db:
                if db.execute("pragma user_version").fetchone()[0] != number:
                    found.failures.append(f"the backup of a library of format {number} is of another one")
            restoring.restore(place / "old.backup", place / "restored")
            hashes = {wl.hash_of(place / "restored"), wl.hash_of(place / "library"), manifest.libraries[0].hash}
            found.n += 1
            if len(hashes) != 1:
                found.failures.append(f"format {number}: not the same library after restoring")
            point, died = 0, -signal.SIGKILL
            while died == -signal.SIGKILL:
                point += 1
                killed = _library_of(script, place / f"killed-{point}")
                died = local_kills.outcome(point, killed.parent, "open") or 0
                found.n += 1
                if wl.hash_of(place / f"killed-{point}") not in hashes:
                    found.failures.append(f"format {number}: killed at statement {point} of its upgrade, it is another")
    _newer(found)
    return found


def _library_of(script: str, library: Path) -> Path:
    import whole_library as wl

    with closing(wl.database(library)) as database:
        path = database.path
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)
    return path


def _newer(found: Found) -> None:
    import whole_library as wl

    with folder() as place:
        wl.fill(place / "library", 1)
        path = next((place / "library").glob("users/*/library.db"))
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"pragma user_version = {FORMAT + 1}")
        for deed in (lambda: wl.database(place / "library"), lambda: backup.back_up(place / "library", place / "b")):
            found.n += 1
            before = path.read_bytes()
            try:
                deed()
            except StoreDataError as exc:
                if f"format {FORMAT + 1}" not in str(exc) or path.read_bytes() != before:
                    found.failures.append(f"a newer format: {exc}")
            else:
                found.failures.append("a newer format was opened")


MEASURES = [
    Measure(
        "R22a",
        "A backup made while others write is one moment, and restores to the same hash",
        "backups",
        2_000,
        3,
        under_writes,
    ),
    Measure(
        "R22b",
        "A broken or hostile backup is refused in one sentence, and changes nothing",
        "archives",
        20_000,
        3,
        broken_archives,
    ),
    Measure("R22c", "A backup or a restoring killed anywhere leaves the old or the new", "kills", 60, 0, kills),
    Measure("R22d", "Every older format opens as it was, also after a killed upgrade", "openings", 12, 0, formats),
]
