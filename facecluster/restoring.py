"""Puts a library back from a backup: everything checked first, built aside, and switched to in one step."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from facecluster import archive
from facecluster.archive import Library, Manifest, Reader
from facecluster.backup import check
from facecluster.contents import DEFINITION, contents
from facecluster.errors import FaceClusterError, InputError, StoreDeniedError, StoreUnavailableError
from facecluster.model import UserId
from facecluster.ports import Progress, part_of
from facecluster.stores.local import FORMAT, Database, sync, user_folder
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore

_SLACK = 2**20
_AT_WORKING_FOLDER, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
# Of a disk, or a system, that cannot exchange two names.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@dataclass(frozen=True)
class Restored:
    """What was put back, and where what was there before lies now; None where there was nothing."""

    manifest: Manifest
    kept: Path | None


def restore(path: Path, library: Path, replace: bool = False, progress: Progress | None = None) -> Restored:
    """Put the library of a backup back.

    Parameters
    ----------
    path : Path
        A file that `backup.back_up` wrote.
    library : Path
        Where it goes: a folder that is empty, or is not there, or holds an empty library.
    replace : bool
        A library that is there is kept under another name beside it.

    Raises
    ------
    InputError
        If the backup cannot be used, or the folder holds something already; nothing was changed.
    StoreUnavailableError
        If the library to be replaced is in use.
    """
    manifest = check(path, part_of(progress, 0.0, 0.4))
    _check_formats(path, manifest)
    place = checked_place(library, replace)

    def fill(aside: Path, tell: Progress | None) -> None:
        with archive.opened(path) as reader:
            if reader.manifest != manifest:
                raise InputError("it is another one by now")
            _extract(reader, aside, part_of(tell, 0.0, 0.8))
        for one in manifest.libraries:
            _check_library(path, aside, one, manifest.definition)
        if tell:
            tell(1.0, "Restored")

    kept = put_in_place(place, manifest.n_bytes, fill, part_of(progress, 0.4, 1.0))
    return Restored(manifest, kept)


def checked_place(library: Path, replace: bool) -> Path:
    """The folder that a library may be put at, with links followed.

    Raises
    ------
    InputError
        If there is something in it that would be lost, or that is no library at all.
    """
    place = library.expanduser().absolute().resolve()
    if not place.exists():
        return place
    if not place.is_dir() or (any(place.iterdir()) and not (place / "users").is_dir()):
        raise InputError(f"{place} holds something that is no library. Nothing was changed. Choose another folder.")
    if not replace and any(not _is_empty(path) for path in place.glob("users/*/library.db")):
        raise InputError(
            f"{place} holds a library already. Nothing was changed. Choose another folder with --to, or say --replace: "
            "the library that is there is then kept beside it under another name."
        )
    return place


def empty_user_folder(library: Path, user: UserId) -> Path:
    """The folder of a user's library that may be filled.

    Raises
    ------
    InputError
        If it holds a face, or anything was ever said in it.
    """
    place = user_folder(library.expanduser().absolute().resolve(), user)
    if (place / "library.db").exists() and not _is_empty(place / "library.db"):
        raise InputError(
            f"The library of {user!r} in {library} is not empty. Nothing was changed. Choose another one: set "
            "FACECLUSTER_LIBRARY or FACECLUSTER_USER."
        )
    return place


def put_in_place(
    place: Path, n_bytes: int, fill: Callable[[Path, Progress | None], None], progress: Progress | None = None
) -> Path | None:
    """Fill a folder aside and let it take the place of whatever is there, in one step.

    Returns
    -------
    Path | None
        Where what was there lies now; None where there was nothing.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
        if n_bytes + _SLACK > free:
            raise InputError(
                f"The library needs {n_bytes:,} bytes, and {free:,} are free in {place.parent}. Nothing was changed. "
                "Make room, or choose another folder with --to."
            )
        aside = place.with_name(f"{place.name}.restoring-{secrets.token_hex(4)}")
        aside.mkdir()
        try:
            fill(aside, progress)
            _sync_all(aside)
            return _switch(aside, place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as exc:
        raise StoreDeniedError(
            f"{place} cannot be written: {exc.strerror or exc}. Nothing was changed. Check the disk, and the rights of "
            "the folder around it."
        ) from exc


def _check_formats(path: Path, manifest: Manifest) -> None:
    newest = max((library.format for library in manifest.libraries), default=0)
    if newest > FORMAT:
        raise InputError(
            f"{path} holds a library of format {newest}, and this version reads up to {FORMAT}. Nothing was changed. "
            "Install a newer facecluster."
        )


def _extract(reader: Reader, aside: Path, progress: Progress | None) -> None:
    done, total = 0, max(reader.manifest.n_bytes, 1)
    for name in reader.manifest.files:
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for piece in reader.pieces(name):
                file.write(piece)
                done += len(piece)
                if progress:
                    progress(done / total, "Restoring")
            file.flush()
            os.fsync(file.fileno())


def _check_library(path: Path, aside: Path, wanted: Library, definition: int) -> None:
    """Open what was restored as the next process will, an older format upgraded, and compare all it says."""
    folder = aside / wanted.folder
    try:
        with closing(Database(folder, UserId(wanted.user))) as database:
            with database.read() as db:
                user = dict(db.execute("select key, value from meta")).get("user")
            faces = LocalFaceStore(database).read()
            found = contents(faces, LocalPeopleStore(database))
            same = (user, len(faces), found.snapshot.revision) == (wanted.user, wanted.faces, wanted.changes)
            if definition == DEFINITION:
                same = same and found.hash() == wanted.hash
    except FaceClusterError as exc:
        raise InputError(f"{path} holds a library that cannot be opened. Nothing was changed. {exc}") from exc
    if not same:
        raise InputError(
            f"{path} does not hold the library that it says: what {wanted.user!r} said, or the faces, are others. "
            "Nothing was changed. Use another backup."
        )


def _is_empty(path: Path) -> bool:
    """Whether a database holds no face and nothing was ever said; one that cannot be read may hold anything."""
    try:
        with closing(sqlite3.connect(path)) as db:
            if db.execute("pragma user_version").fetchone()[0] == 0:
                return True
            return not any(db.execute(f"select 1 from {what} limit 1").fetchone() for what in ("faces", "log"))  # noqa: S608
    except sqlite3.Error:
        return False


@contextmanager
def _alone_with(library: Path) -> Iterator[None]:
    """Nobody else has a database of the library open, nor opens one meanwhile."""
    with ExitStack() as stack:
        for path in library.rglob("library.db"):
            db = stack.enter_context(closing(sqlite3.connect(path, timeout=0, isolation_level=None)))
            try:
                mode = db.execute("pragma journal_mode=delete").fetchone()[0]  # refused while another has it open
                if mode == "delete":
                    db.execute("begin exclusive")
                    continue
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) and "busy" not in str(exc):
                    continue
            except sqlite3.DatabaseError:  # damaged: that is why a backup is restored
                continue
            raise StoreUnavailableError(
                f"The library {library} is in use. Nothing was changed. Stop the dashboard and whatever else has it "
                "open, then restore again."
            )
        yield


def _switch(aside: Path, place: Path) -> Path | None:
    with suppress(OSError):  # it is not there, or holds something
        place.rmdir()
    if not place.exists():
        aside.rename(place)
        sync(place.parent)
        return None
    kept = place.with_name(f"{place.name}.before-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    with _alone_with(place):
        if _exchange(aside, place):
            aside.rename(kept)
        else:
            place.rename(kept)
            try:
                aside.rename(place)
            except OSError:
                kept.rename(place)
                raise
        sync(place.parent)
    if _holds_nothing(kept):
        shutil.rmtree(kept, ignore_errors=True)
        return None
    return kept


def _holds_nothing(folder: Path) -> bool:
    """Whether there is nothing in a folder but libraries that were opened and never used."""
    files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    return all(path.name.startswith("library.db-") or (path.name == "library.db" and _is_empty(path)) for path in files)


def _exchange(a: Path, b: Path) -> bool:
    """Let two folders change names in one step, so that a crash leaves no moment without a library.

    False where that cannot be done here. Python has no call for it.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_WORKING_FOLDER, os.fsencode(a), _AT_WORKING_FOLDER, os.fsencode(b), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(b))


def _sync_all(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(Path(parent) / name)
        sync(Path(parent))
