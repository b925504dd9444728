"""The embedded library: one folder per user, one SQLite file in it, opened safely by several processes at once."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from weakref import WeakSet

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from facecluster.errors import StoreDataError, StoreDeniedError, StoreError, StoreUnavailableError
from facecluster.model import UserId
from facecluster.stores.drives import journal_for

FORMAT = 2
_File = tuple[int, int] | None  # device and number of a file, None for none

_PATIENCE_S = 30.0
_MOST_IDLE = 8  # connections to one file
_FORGETTING_MS = 3_000

# On its own, because erasing somebody lifts it for the length of a transaction.
APPEND_ONLY = """
create trigger log_is_append_only_1 before update on log begin select raise(abort, 'the log is append-only'); end;
create trigger log_is_append_only_2 before delete on log begin select raise(abort, 'the log is append-only'); end;
"""

# WITHOUT ROWID where the key is the row: half the pages for the tables that hold a row per face.
SCHEMA = (
    """
create table meta(key text primary key, value text not null) without rowid;
create table faces(
    id text primary key, photo text not null, url text not null, folder text not null, crop_url text not null,
    blur_score real, box_left real, box_top real, box_right real, box_bottom real,
    crop_offset integer not null, crop_length integer not null, crop_sha blob not null
) without rowid;
create table facts(
    kind text not null, subject text not null, object text not null, value text not null,
    primary key(kind, subject, object)
) without rowid;
create table log(
    revision integer primary key, at text not null, author text not null, title text not null,
    undoes integer, decisions text not null, n_erased integer not null default 0
);
create table runs(
    id text primary key, at text not null, author text not null, params text not null, fingerprint text not null,
    n_faces integer not null, n_people integer not null, n_noise integer not null,
    reason text not null, questions text not null
) without rowid;
create table run_faces(
    run_id text not null references runs, face_id text not null, owner text, label integer not null,
    strength real not null, primary key(run_id, face_id)
) without rowid;
"""
    + APPEND_ONLY
)

# What makes a library of each format one of the next.
_UPGRADES = {1: "alter table log add column n_erased integer not null default 0;"}


def user_folder(library: Path, user: UserId) -> Path:
    """Where one user's library lies: the hash keeps any text a safe folder name."""
    return library / "users" / hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


class Database:
    """The SQLite file of one user: connections shared by all threads, errors translated, writes serialised.

    Full sync and WAL: a commit that returned survives power loss, and readers keep their snapshot while
    another process writes. On a drive of a network there is no WAL, and readers wait.
    """

    def __init__(self, folder: Path, user: UserId) -> None:
        self.folder = folder
        self.path = folder / "library.db"
        # A page is a new thread. Opening takes a dozen turns of the interpreter, and those of fifty pages that ended
        # were closed by the garbage collector, 4 ms each.
        self._idle: list[tuple[sqlite3.Connection, _File]] = []
        self._n_unused = 0  # of them, since `close_unused` looked last
        with _lock:
            _DATABASES.add(self)
        with translated(self.path):
            folder.mkdir(parents=True, exist_ok=True)
        self._journal = journal_for(folder)  # the list of mounts is long
        with self.write() as db:
            self._prepare(db, user)

    def _prepare(self, db: sqlite3.Connection, user: UserId) -> None:
        found = db.execute("pragma user_version").fetchone()[0]
        if found > FORMAT:
            raise StoreDataError(
                f"The library {self.path} has format {found}, and this version reads up to {FORMAT}. "
                "Nothing was opened. Install a newer facecluster."
            )
        if found == 0:
            run_script(db, SCHEMA)
            db.execute("insert into meta values('user', ?)", (user,))
        for older in range(found or FORMAT, FORMAT):
            run_script(db, _UPGRADES[older])
        if found < FORMAT:
            db.execute(f"pragma user_version = {FORMAT}")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One that nobody else uses meanwhile."""
        file = _file(self.path)
        db = self._idle_on(file) or self._open()
        try:
            yield db
        finally:
            if db.in_transaction or len(self._idle) >= _MOST_IDLE:
                db.close()
            else:
                self._idle.append((db, file))

    def _idle_on(self, file: _File) -> sqlite3.Connection | None:
        """An idle connection to this very file: a library that was restored lies under the same name."""
        while True:
            try:
                db, opened = self._idle.pop()
            except IndexError:
                return None
            finally:
                self._n_unused = min(self._n_unused, len(self._idle))
            if opened == file:
                return db
            db.close()

    def _open(self) -> sqlite3.Connection:
        # Transactions are ours to begin and end: isolation_level=None keeps sqlite3 from guessing.
        db = sqlite3.connect(self.path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        _set_journal(db, self._journal)
        # Deleted rows are overwritten: who was erased is not left behind in free pages of the file.
        for pragma in ("synchronous=full", "foreign_keys=on", "secure_delete=on"):
            db.execute(f"pragma {pragma}")
        return db

    def alone(self) -> Database:
        """The same file by a connection of its own, whose temporary tables nobody else sees; for one thread."""
        found = copy(self)
        found._idle = []
        return found

    def close(self) -> None:
        """Let go of the file, as far as nobody uses it now; the next use opens it again."""
        while self._idle:
            self._idle.pop()[0].close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its first statement."""
        with translated(self.path), self._transaction("begin immediate") as db:
            yield db

    def forget(self) -> bool:
        """Empty the write-ahead log, where what was deleted still stands; whether nobody stood in the way.

        The next checkpoint does it otherwise.
        """
        with self._connection() as db:
            db.execute(f"pragma busy_timeout = {_FORGETTING_MS}")  # somebody may look at an older moment for long
            try:
                # Where somebody does, SQLite raises nothing: it says so in the first column.
                return bool(db.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0)
            except sqlite3.DatabaseError:  # the deletion itself is written
                return False
            finally:
                db.execute(f"pragma busy_timeout = {int(_PATIENCE_S * 1000)}")

    def compact(self) -> bool:
        """Write the file anew and empty the log: no byte of what was deleted is left; False where a reader forbids it.

        Overwriting deleted rows is not enough: where a page of the tree is filled anew, SQLite leaves what stood
        between its rows.
        """
        with translated(self.path), self._connection() as db:
            db.execute("vacuum")
        return self.forget()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: everything read inside belongs to the same moment."""
        with translated(self.path), self._transaction("begin") as db:
            yield db

    @contextmanager
    def glance(self) -> Iterator[sqlite3.Connection]:
        """For one statement, which is a snapshot of its own; three take turns with other threads, and each waits."""
        with translated(self.path), self._connection() as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute(begin)
            try:
                yield db
                _commit(db)
            except BaseException:
                if db.in_transaction:  # a full disk makes SQLite roll back by itself
                    db.execute("rollback")
                raise


_DATABASES: WeakSet[Database] = WeakSet()
_lock = threading.Lock()


def close_unused() -> None:
    """Close the connections that nobody has needed since the last call: each is up to three open files."""
    with _lock:
        databases = list(_DATABASES)
    for database in databases:
        idle = database._idle
        for _ in range(min(database._n_unused, len(idle))):
            with suppress(IndexError):  # somebody takes the last one
                idle.pop(0)[0].close()
        database._n_unused = len(idle)


def _file(path: Path) -> _File:
    """Which file lies under a name; None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_COMMITTING = "while it was being completed"


def _commit(db: sqlite3.Connection) -> None:
    """End a transaction; a disk that fails here may have everything all the same, as the next process will find."""
    try:
        db.execute("commit")
    except sqlite3.OperationalError as exc:
        exc.add_note(_COMMITTING)
        raise


# SQLite waits for locks by itself, but not here, where two processes that just made the file both want it alone.
@retry(
    retry=retry_if_exception(lambda exc: isinstance(exc, sqlite3.OperationalError) and "locked" in str(exc)),
    stop=stop_after_delay(_PATIENCE_S),
    wait=wait_random(0.01, 0.05),
    reraise=True,
)
def _set_journal(db: sqlite3.Connection, journal: str) -> None:
    db.execute(f"pragma journal_mode={journal}")


def sync(path: Path) -> None:
    """Have the bytes of a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into our own errors."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc) or "busy" in str(exc):
            raise StoreUnavailableError(
                f"The library {path} has been held by another process for {_PATIENCE_S:.0f} seconds. "
                "Nothing was written. Try again."
            ) from exc
        if "readonly" in str(exc) or "unable to open" in str(exc):
            raise StoreDeniedError(
                f"The library {path} cannot be written: {exc}. Nothing was changed. Check the folder's rights, "
                "or set FACECLUSTER_LIBRARY to another one."
            ) from exc
        outcome = "Nothing was written. Check the disk, then try again."
        if _COMMITTING in getattr(exc, "__notes__", ()):
            outcome = "Whether this was written shows when the library is opened again: all of it or nothing. Reload."
        raise StoreError(f"The library {path} failed: {exc}. {outcome}") from exc
    except sqlite3.DatabaseError as exc:
        raise StoreDataError(
            f"The library {path} cannot be read: {exc}. Nothing was written. Restore it from a backup."
        ) from exc
    except OSError as exc:
        raise StoreDeniedError(
            f"The library {path} cannot be used: {exc.strerror or exc}. Nothing was changed. "
            "Check the disk and the folder's rights."
        ) from exc


def users_with_faces(library: Path) -> dict[UserId, int]:
    """Users of a library and how many faces each has, for the page that helps to find a lost library."""
    found: dict[UserId, int] = {}
    for path in sorted(library.glob("users/*/library.db")):
        with translated(path):
            db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                if db.execute("pragma user_version").fetchone()[0] == 0:
                    continue  # another process is just making it, or was killed while it did
                user = db.execute("select value from meta where key = 'user'").fetchone()[0]
                found[UserId(user)] = db.execute("select count(*) from faces").fetchone()[0]
            finally:
                db.close()
    return found


def run_script(db: sqlite3.Connection, script: str) -> None:
    """Run statements inside the transaction there is; `executescript` would end it."""
    part = ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            db.execute(part)
            part = ""
