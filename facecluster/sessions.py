"""Who is signed in: a small file below the library, so that a session can be ended from the command line."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from facecluster.errors import StoreUnavailableError
from facecluster.identity import Identity
from facecluster.model import UserId

# How often "last seen" is written: a page runs many times a minute.
_SEEN_EVERY_S = 60.0
# An ended session is kept this long: the browser's cookie of the sign-in itself lives for 31 days at most, and it must
# not be taken a second time while it does.
_KEPT_S = 32 * 86_400.0
_PATIENCE_S = 5.0

_SCHEMA = """
create table if not exists sessions(
    token blob primary key, nonce blob not null unique, issuer text not null, subject text not null,
    email text not null, name text not null, began real not null, ends real not null, seen real not null,
    ended real, why text not null default ''
) without rowid;
create index if not exists by_person on sessions(issuer, subject);
"""


@dataclass(frozen=True)
class Lifetimes:
    """How long a session lasts, in seconds: whatever happens, and without anything being done."""

    absolute_s: float
    idle_s: float


@dataclass(frozen=True)
class SignedIn:
    """A session that is alive. `id` names it on screens and is no secret; times are in seconds since 1970."""

    id: str
    who: Identity
    began: float
    seen: float
    ends: float

    @property
    def user(self) -> UserId:
        """Whose session it is."""
        return self.who.user


class Sessions:
    """All sessions of one installation. Every question is asked of the file: another process may have ended one."""

    def __init__(self, library: Path, lifetimes: Lifetimes) -> None:
        self._path = library / "sessions.db"
        self._lifetimes = lifetimes
        self._is_made = False
        self._lock = Lock()

    def begin(self, who: Identity, nonce: str) -> str | None:
        """Begin a session and return its secret; None where this very sign-in was taken before.

        Only a hash of the secret is kept: who reads the file cannot sign in with it.
        """
        token, now = secrets.token_urlsafe(32), time.time()
        row = (_hash(token), _hash(nonce), who.issuer, who.subject, who.email, who.name, now)
        with self._open() as db:
            db.execute("delete from sessions where coalesce(ended, ends) < ?", (now - _KEPT_S,))
            try:
                db.execute(
                    "insert into sessions values(?, ?, ?, ?, ?, ?, ?, ?, ?, null, '')",
                    (*row, now + self._lifetimes.absolute_s, now),
                )
            except sqlite3.IntegrityError:
                return None
        return token

    def find(self, token: str) -> SignedIn | None:
        """The session of a secret, where it is alive."""
        if not token:
            return None
        with self._open() as db:
            row = db.execute(f"{_SELECT} where token = ?", (_hash(token),)).fetchone()
        return self._alive(row)

    def touch(self, session: SignedIn, token: str) -> None:
        """Note that something was done."""
        now = time.time()
        if now - session.seen > min(_SEEN_EVERY_S, self._lifetimes.idle_s / 4):
            with self._open() as db:
                db.execute("update sessions set seen = ? where token = ? and ended is null", (now, _hash(token)))

    def end(self, token: str, why: str) -> None:
        """End one session: for each of its windows, at once."""
        with self._open() as db:
            db.execute(
                "update sessions set ended = ?, why = ? where token = ? and ended is null",
                (time.time(), why, _hash(token)),
            )

    def end_of(self, person: str, why: str) -> int:
        """End the sessions of a user (issuer|subject), an e-mail address, or a session id: how many there were."""
        chosen = [s.id for s in self.all() if person in (s.user, s.id) or person.lower() == s.who.email.lower() != ""]
        now = time.time()
        with self._open() as db:
            for id in chosen:
                db.execute("update sessions set ended = ?, why = ? where substr(hex(token), 1, 10) = ?", (now, why, id))
        return len(chosen)

    def all(self) -> list[SignedIn]:
        """Sessions that are alive, newest first."""
        with self._open() as db:
            rows = db.execute(f"{_SELECT} order by began desc").fetchall()
        return [alive for row in rows if (alive := self._alive(row)) is not None]

    def _alive(self, row: tuple[str, str, str, str, str, float, float, float, float | None] | None) -> SignedIn | None:
        if row is None:
            return None
        id, issuer, subject, email, name, began, ends, seen, ended = row
        now = time.time()
        # The settings in force count, not those under which it began: a shorter life ends sessions that are open.
        ends = min(ends, began + self._lifetimes.absolute_s)
        if ended is not None or now >= ends or now >= seen + self._lifetimes.idle_s or began > now + 60:
            return None
        return SignedIn(id, Identity(issuer, subject, email, name), began, seen, ends)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction. One each time costs 0.1 ms, and belongs to no thread."""
        try:
            with self._lock:
                if not self._is_made or not self._path.exists():  # somebody may have removed it
                    self._make()
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE_S)) as db, db:
                yield db
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as exc:
            raise StoreUnavailableError(
                f"Who is signed in could not be read from {self._path}: {exc}. Nothing was shown or changed. Check the "
                "disk and the folder's rights, or remove that file: everybody then signs in again."
            ) from exc

    def _make(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        with closing(sqlite3.connect(self._path, timeout=_PATIENCE_S)) as db:
            db.execute("pragma journal_mode=wal")
            db.executescript(_SCHEMA)
        self._is_made = True


_SELECT = "select substr(hex(token), 1, 10), issuer, subject, email, name, began, ends, seen, ended from sessions"


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
