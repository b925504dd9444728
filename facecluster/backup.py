"""Backs up an embedded library while it is in use: every database of one moment, with the files that belong to it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from facecluster import __version__, archive
from facecluster.archive import Library, Manifest
from facecluster.contents import DEFINITION, contents
from facecluster.errors import InputError, StoreDataError
from facecluster.model import UserId, content_fingerprint
from facecluster.ports import Progress, part_of
from facecluster.stores.local import FORMAT, Database, sync, translated
from facecluster.stores.local_faces import face_set, meta_of, rows_in
from facecluster.stores.local_people import LocalPeopleStore

# Computed again from the faces, or work under way: neither is worth carrying.
_LEFT_OUT = ("cache", "jobs", "uploads")
_TRANSIENT = re.compile(r".*\.(lock|tmp)|.*-(wal|shm|journal)|incoming\..*|(vectors|crops)\.\d+\.(f32|bin)")
_SNAPSHOTS = 8  # as in local_faces: another process must write once for each time that a file is gone
_PATIENCE_S = 30.0
_PAGES = 2_000  # 8 MB of a database between two words of progress
_SLACK = 2**20


@dataclass
class _Piece:
    """A file that goes into the archive, open, and how much of it."""

    name: str
    file: IO[bytes]
    n_bytes: int


def back_up(library: Path, to: Path, progress: Progress | None = None) -> Manifest:
    """Write a backup of all users of an embedded library into one file, and check it; others may go on working.

    Parameters
    ----------
    library : Path
        The folder of the setting FACECLUSTER_LIBRARY.
    to : Path
        A file that does not exist yet, outside the library. It appears once it is whole and was read back.

    Raises
    ------
    InputError
        If there is something of that name, it would lie in the library, or there is nothing to back up.
    StoreDataError
        If the library is not whole. A backup that could not be restored is none.
    """
    to, library = to.absolute(), library.resolve()
    databases = sorted(library.glob("users/*/library.db")) + sorted(library.glob("users/*/hosted/*/library.db"))
    _check_place(to, library, databases)
    aside = to.with_name(f".{to.name}.{secrets.token_hex(4)}.writing")
    with _written_aside(aside, to), ExitStack() as stack:
        aside.mkdir(mode=0o700)  # the faces of people: nobody else's business
        whole = aside / "backup"
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            manifest = _write(library, databases, file, aside, stack, part_of(progress, 0.0, 0.6))
            file.flush()
            os.fsync(file.fileno())
        check(whole, part_of(progress, 0.6, 1.0))
        _publish(whole, to)
    return manifest


def check(path: Path, progress: Progress | None = None) -> Manifest:
    """Read a backup and hash all that is in it.

    Raises
    ------
    InputError
        If it could not be restored.
    """
    with archive.opened(path) as reader:
        return reader.check(progress)


def _check_place(to: Path, library: Path, databases: list[Path]) -> None:
    if os.path.lexists(to):
        raise InputError(f"There is a {to} already. Nothing was backed up, and it stays as it is. Choose another name.")
    if not to.parent.is_dir():
        raise InputError(f"There is no folder {to.parent}. Nothing was backed up. Make it, or choose another one.")
    if to.parent.resolve().is_relative_to(library):
        raise InputError(f"{to} would lie in the library itself. Nothing was backed up. Choose a folder elsewhere.")
    if not databases:
        raise InputError(f"There is no library in {library}. Nothing was backed up. Set FACECLUSTER_LIBRARY.")


@contextmanager
def _written_aside(aside: Path, to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InputError(
            f"{to} cannot be written: {exc.strerror or exc}. Nothing was backed up. Check the disk, and the rights of "
            "its folder."
        ) from exc
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _publish(whole: Path, to: Path) -> None:
    """Give the file its name, in one step and only if nobody else has it."""
    try:
        os.link(whole, to)
    except FileExistsError as exc:
        raise InputError(f"There is a {to} by now. It stays as it is, and nothing was backed up.") from exc
    except OSError:  # a disk that knows no second names
        whole.rename(to)
    sync(to.parent)


def _write(
    library: Path, databases: list[Path], file: IO[bytes], aside: Path, stack: ExitStack, progress: Progress | None
) -> Manifest:
    libraries, pieces, left_out = [], [], set[str]()
    for number, path in enumerate(databases):
        copy = aside / str(number)
        copy.mkdir()
        tell = part_of(progress, 0.3 * number / len(databases), 0.3 * (number + 1) / len(databases))
        found = _one(path, path.parent.relative_to(library).as_posix(), copy, stack, tell)
        if found is not None:
            libraries.append(found[0])
            pieces += found[1]
    for folder in sorted({path.parent for path in databases}):
        pieces += _others(folder, library, left_out, stack)
    total = sum(piece.n_bytes for piece in pieces)
    free = shutil.disk_usage(aside).free
    if total + _SLACK > free:
        raise InputError(
            f"The backup needs {total:,} bytes, and {free:,} are free in {aside.parent}. Nothing was backed up. "
            "Make room."
        )
    done = 0

    def tell_bytes(n: int) -> None:
        nonlocal done
        done += n
        if progress:
            progress(0.3 + 0.7 * done / max(total, 1), "Writing the backup")

    with archive.Writer(file) as writer:
        for piece in pieces:
            writer.add(piece.name, piece.file, piece.n_bytes, tell_bytes)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(__version__, now, DEFINITION, tuple(libraries), tuple(sorted(left_out)), writer.files)
        writer.finish(manifest)
    return manifest


def _one(
    path: Path, folder: str, copy: Path, stack: ExitStack, progress: Progress | None
) -> tuple[Library, list[_Piece]] | None:
    """A copy of one database, and the files that it names, opened; None where it is only just being made."""
    with translated(path), closing(sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)) as db:
        for _ in range(_SNAPSHOTS):
            db.execute("begin")
            version = db.execute("pragma user_version").fetchone()[0]
            if version == 0:
                return None
            if version > FORMAT:
                raise StoreDataError(
                    f"The library {path} has format {version}, and this version knows up to {FORMAT}. "
                    "Nothing was backed up. Use the facecluster that made it."
                )
            meta = meta_of(db)
            try:
                files: dict[str, IO[bytes]] = {
                    name: stack.enter_context((path.parent / name).open("rb")) for name in _flat_files(meta)
                }
                break
            except FileNotFoundError:  # swept since: the next moment names other files
                db.execute("rollback")
        else:
            raise StoreDataError(
                f"The files that {path} names are not there. Nothing was backed up. Import the faces again, or restore "
                "an older backup."
            )
        # Within the transaction: the copy is of the moment in which the files were opened.
        _copy(db, copy / "library.db", progress)
    described = _described(path, copy, folder, version, files)
    database = copy / "library.db"
    files["library.db"] = stack.enter_context(database.open("rb"))
    ends = {name: os.fstat(file.fileno()).st_size for name, file in files.items()}
    ends |= {name: int(meta["crops_end"]) for name in files if name.startswith("crops.")}
    return described, [_Piece(f"{folder}/{name}", file, ends[name]) for name, file in files.items()]


def _flat_files(meta: dict[str, str]) -> list[str]:
    """Names of the files of vectors and pictures at this moment."""
    vectors = [f"vectors.{meta['generation']}.f32"] if "generation" in meta else []
    return vectors + ([f"crops.{meta.get('crops_generation', '0')}.bin"] if int(meta.get("crops_end", 0)) else [])


def _copy(db: sqlite3.Connection, to: Path, progress: Progress | None) -> None:
    """Copy a database page by page, in the transaction that is open, and check the copy."""

    def tell(_: int, left: int, total: int) -> None:
        if progress:
            progress(1 - left / max(total, 1), "Copying the database")

    with closing(sqlite3.connect(to)) as copy:
        db.backup(copy, pages=_PAGES, progress=tell)
        found = copy.execute("pragma integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreDataError(
            f"The library is damaged ({found}). Nothing was backed up. Restore an older backup beside it and compare."
        )


def _described(path: Path, copy: Path, folder: str, version: int, files: dict[str, IO[bytes]]) -> Library:
    """What a copied library holds; vectors that are not those it was left with are not backed up in silence."""
    if version < FORMAT:  # the copy stays as it is, so that a version of then can restore it
        copy = copy / "of this format"
        copy.mkdir()
        shutil.copyfile(copy.parent / "library.db", copy / "library.db")
    with closing(sqlite3.connect(copy / "library.db")) as db:
        user = UserId(meta_of(db)["user"])
    database = Database(copy, user)
    with closing(database):
        with database.read() as db:
            meta, rows = meta_of(db), rows_in(db)
        file = next((file for name, file in files.items() if name.startswith("vectors.")), None)
        faces = face_set(meta, rows, _mapped(path, meta, len(rows), file))
        if len(faces) and content_fingerprint(faces.ids, faces.vectors) != faces.fingerprint:
            raise StoreDataError(
                f"The vectors beside {path} are not those that were imported. Nothing was backed up. "
                "Import the faces again, or restore an older backup."
            )
        found = contents(faces, LocalPeopleStore(database))
        return Library(folder, user, version, len(faces), found.snapshot.revision, found.hash())


def _mapped(path: Path, meta: dict[str, str], n: int, file: IO[bytes] | None) -> NDArray[np.float32]:
    dimension = int(meta.get("dimension", 0))
    if n == 0:
        return np.empty((0, dimension), np.float32)
    if file is None or os.fstat(file.fileno()).st_size != n * dimension * 4:
        raise StoreDataError(
            f"The library {path} lists {n:,} faces, and the file of their vectors is not of that size. "
            "Nothing was backed up. Import the faces again, or restore an older backup."
        )
    return np.memmap(file, "<f4", "r", shape=(n, dimension))


def _others(folder: Path, library: Path, left_out: set[str], stack: ExitStack) -> list[_Piece]:
    """Files beside a database that belong to it and that it does not name."""
    found = []
    for path in sorted(folder.iterdir()):
        name = path.relative_to(library).as_posix()
        if path.name in _LEFT_OUT:
            left_out.add(path.name)
        elif path.name == "library.db" or path.name == "hosted" or _TRANSIENT.fullmatch(path.name):
            continue
        elif path.is_symlink() or not path.is_file() or not archive.is_name(name):
            left_out.add(name)
        else:
            with suppress(FileNotFoundError):
                file = stack.enter_context(path.open("rb"))
                found.append(_Piece(name, file, os.fstat(file.fileno()).st_size))
    return found
