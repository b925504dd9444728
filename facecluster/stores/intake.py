"""Faces on their way into a local cache: kept aside as they come, and shown all at once when all have come.

Rows wait in the table `incoming`, vectors in `incoming.f32`, pictures in `incoming.bin`. What was kept aside stays
when the work is cancelled, fails or is killed, and the next look at the source fetches only the rest. Nobody who
reads sees any of it before `settle`, which is one transaction.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from facecluster.errors import StoreDataError, StoreUnavailableError
from facecluster.importing import Refusal
from facecluster.model import Coverage, FaceBatch, Fetched
from facecluster.stores.blocked import Blocked
from facecluster.stores.local import run_script, translated
from facecluster.stores.local_faces import LocalFaceStore, coverage_in, meta_of, put, put_coverage, rows_of

# A kill loses at most this many faces, or what came in so many seconds; each portion is synced to the disk.
_PORTION = 1_000
_PORTION_S = 2.0
_BLOCK = 8_192  # rows of one read and write of vectors
# How long values that were kept aside count as just read, for who asks to read everything again.
_FRESH_S = 3_600.0
_LOOK_S = 0.1
_NO_PICTURE = (0, 0, b"")  # offset, length, hash

_TABLES = """
create table if not exists incoming(
    id text primary key, photo text not null, url text not null, folder text not null, crop_url text not null,
    blur_score real, box_left real, box_top real, box_right real, box_bottom real,
    crop_offset integer not null, crop_length integer not null, crop_sha blob not null, slot integer not null
) without rowid;
create temp table if not exists listed(id text primary key) without rowid;
create temp table if not exists refused(id text primary key, reason text not null) without rowid;
delete from listed;
delete from refused;
"""
_DIFFERS = " or ".join(
    f"f.{name} is not i.{name}"
    for name in (
        "photo", "url", "folder", "crop_url", "blur_score", "box_left", "box_top", "box_right", "box_bottom",
    )
)  # fmt: skip
# Every face that stays or comes: id, its row before, its slot, whether its metadata or picture is another one.
_PLACES = f"""
select f.id, f.place, coalesce(i.slot, -1), i.id is not null and ({_DIFFERS} or i.crop_length > 0)
from (select *, row_number() over (order by id) - 1 as place from faces) f left join incoming i using (id)
where (i.id is not null or not :everything) and f.id in (select id from listed)
union all
select id, -1, slot, 1 from incoming i
where id in (select id from listed) and not exists (select 1 from faces where id = i.id)
order by 1
"""  # noqa: S608  (constants)
# One statement for a page of ids: after each one, other threads may hold the interpreter for 5 ms.
_NOTE = "insert or ignore into listed select value from json_each(?) returning id"
_WANTED = """
select value from json_each(:ids) where not exists (select 1 from incoming where id = value)
and not exists (select 1 from refused where id = value)
and (:everything or not exists (select 1 from faces where id = value))
"""
_HERE = """
select count(*) from listed where exists (select 1 from incoming where id = listed.id)
or (not :everything and exists (select 1 from faces where id = listed.id))
"""
_TAKE = """
insert or replace into faces
select i.id, i.photo, i.url, i.folder, i.crop_url, i.blur_score, i.box_left, i.box_top, i.box_right, i.box_bottom,
    case when i.crop_length then i.crop_offset + :start else coalesce(f.crop_offset, 0) end,
    case when i.crop_length then i.crop_length else coalesce(f.crop_length, 0) end,
    case when i.crop_length then i.crop_sha else coalesce(f.crop_sha, x'') end
from incoming i left join faces f using (id) where i.id in (select id from listed)
"""
_LEAVE = """
delete from faces
where id not in (select id from listed) or (:everything and id not in (select id from incoming))
"""


@dataclass(frozen=True)
class Tally:
    """What a look at the source has found so far.

    Attributes
    ----------
    listed, here, refused, pictureless : int
        Ids that the source listed; faces of them that are here or kept aside; that cannot be used; that came without
        the picture they should have.
    blocked : int
        Faces of people who were erased and may not come back: left out, and named by nothing.
    reasons : tuple[Refusal, ...]
        The first that were refused.
    """

    listed: int
    here: int
    refused: int
    pictureless: int
    blocked: int
    reasons: tuple[Refusal, ...]


@dataclass(frozen=True)
class _Places:
    """Where each face of the next generation comes from: its old row or its slot, -1 for none."""

    ids: list[str]
    rows: NDArray[np.int64]
    slots: NDArray[np.int64]
    differs: NDArray[np.bool_]
    n_before: int


class Intake:
    """One look at a source, from its list of ids to the generation that shows them. For one thread.

    Parameters
    ----------
    cache : LocalFaceStore
        Where the faces go.
    source : str
        Of which the ids are; another one than before makes everything come again.
    dimension : int
        Of the vectors of the source.
    everything : bool
        Faces that are here come again too.
    blocked : Blocked | None
        Faces that may not come back; None for no such list.
    """

    def __init__(
        self, cache: LocalFaceStore, source: str, dimension: int, everything: bool, blocked: Blocked | None = None
    ) -> None:
        self._blocked = blocked
        self._n_blocked = 0
        self._cache = cache
        self._db = cache.database.alone()
        self._source = source
        self._dimension = dimension
        self._waiting: list[FaceBatch] = []
        self._kept_at = time.monotonic()
        self._pictureless = 0
        self._everything = everything
        self._vectors = self._db.folder / "incoming.f32"
        self._crops = self._db.folder / "incoming.bin"

    def __enter__(self) -> Self:
        with self._db.write() as db:
            run_script(db, _TABLES)
            meta = meta_of(db)
            other = (meta.get("source", self._source), meta.get("dimension", str(self._dimension)))
            self._everything |= other != (self._source, str(self._dimension))
            made_for = (self._source, self._dimension)
            kept = json.loads(meta.get("incoming", "{}"))
            age = time.time() - kept.get("since", 0.0)
            is_usable = (kept.get("source"), kept.get("dimension")) == made_for and self._is_there(kept)
            if not is_usable or (self._everything and not 0 <= age < _FRESH_S):
                _discard(db)
                begun = {"source": self._source, "dimension": self._dimension, "since": time.time()}
                put(db, "incoming", json.dumps({**begun, "slots": 0, "end": 0}))
        return self

    def _is_there(self, kept: dict[str, Any]) -> bool:
        """Whether the files hold all that was kept aside: a row without its vector would be shown as zeros."""
        ends = ((self._vectors, kept["slots"] * self._dimension * 4), (self._crops, kept["end"]))
        return all(end <= (path.stat().st_size if path.is_file() else 0) for path, end in ends)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep()
        self._db.close()

    # --- what the source lists -----------------------------------------------------------------------------------

    def note(self, ids: Sequence[str]) -> list[str]:
        """Take ids down as listed, once each: those of them that were not listed before in this look."""
        with self._db.read() as db:  # the list is a temporary table: nobody has to wait for it
            return [row[0] for row in db.execute(_NOTE, (json.dumps(ids),))]

    def wanted(self, ids: Sequence[str]) -> list[str]:
        """Those of these ids that must be fetched: neither kept aside, nor refused, nor here already."""
        with self._db.read() as db:
            asked = {"ids": json.dumps(ids), "everything": self._everything}
            return [row[0] for row in db.execute(_WANTED, asked)]

    def unlisted(self, after: str, limit: int) -> list[str]:
        """Faces that are here and that the source did not list, in order of their ids."""
        with self._db.read() as db:
            return [
                row[0]
                for row in db.execute(
                    "select id from faces where id > ? and id not in (select id from listed) order by id limit ?",
                    (after, limit),
                )
            ]

    def start_over(self) -> None:
        """Forget what was listed: the source is about to list once more."""
        self._keep()
        self._n_blocked = 0
        with self._db.write() as db:
            db.execute("delete from listed")

    # --- what comes ----------------------------------------------------------------------------------------------

    def receive(self, batch: FaceBatch) -> None:
        """Keep checked faces aside, but for those of people who were erased and may not come back."""
        if batch.ids and self._blocked is not None:
            is_blocked = self._blocked.among(batch)
            self._n_blocked += int(is_blocked.sum())
            batch = batch.only(~is_blocked) if is_blocked.any() else batch
        if batch.ids:
            self._waiting.append(batch)
        is_enough = sum(len(one.ids) for one in self._waiting) >= _PORTION
        if is_enough or time.monotonic() - self._kept_at > _PORTION_S:
            self._keep()

    def refuse(self, refusals: Sequence[Refusal], pictureless: int = 0) -> None:
        """Take down faces that cannot be used, and how many came without their picture."""
        self._pictureless += pictureless
        if refusals:
            with self._db.write() as db:
                rows = ((refusal.face, refusal.reason) for refusal in refusals)
                db.executemany("insert or replace into refused values(?, ?)", rows)

    def tally(self) -> Tally:
        """How it stands."""
        self._keep()
        with self._db.read() as db:
            refused = "refused where id in (select id from listed)"
            first = db.execute(f"select id, reason from {refused} order by id limit 3")  # noqa: S608  (a constant)
            return Tally(
                _count(db, "listed"),
                int(db.execute(_HERE, {"everything": self._everything}).fetchone()[0]),
                _count(db, refused),
                self._pictureless,
                self._n_blocked,
                tuple(Refusal(*row) for row in first.fetchall()),
            )

    def n_aside(self) -> int:
        """Faces that are kept aside."""
        self._keep()
        with self._db.read() as db:
            return _count(db, "incoming")

    def _keep(self) -> None:
        """Write down what waits: vectors and pictures first, synced, then the rows that name their places."""
        batches, self._waiting, self._kept_at = self._waiting, [], time.monotonic()
        if not batches:
            return
        with self._db.write() as db:
            meta = meta_of(db)
            kept = json.loads(meta["incoming"])
            rows: list[tuple[object, ...]] = []
            self._vectors.touch()
            self._crops.touch()
            with self._vectors.open("r+b") as vectors, self._crops.open("r+b") as crops:
                # What stands behind was given up, and may be of somebody who was erased since.
                vectors.seek(vectors.truncate(kept["slots"] * self._dimension * 4))
                crops.seek(crops.truncate(kept["end"]))
                for batch in batches:
                    vectors.write(np.ascontiguousarray(batch.vectors, "<f4").data)
                    for row, crop in zip(rows_of(batch), batch.crops, strict=True):
                        where = self._picture(db, meta, row[0], crop, kept["end"]) if crop else _NO_PICTURE
                        if where[1]:
                            crops.write(crop)
                        kept["end"] += where[1]
                        rows.append((*row, *where, kept["slots"]))
                        kept["slots"] += 1
                for file in (vectors, crops):
                    file.flush()
                    os.fsync(file.fileno())
            db.executemany("insert or replace into incoming values(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
            put(db, "incoming", json.dumps(kept))

    def _picture(
        self, db: sqlite3.Connection, meta: dict[str, str], face: str, crop: bytes, end: int
    ) -> tuple[int, int, bytes]:
        """Place, length and hash of a picture that came; nothing where the cache has it already."""
        found = db.execute("select crop_offset, crop_length, crop_sha from faces where id = ?", (face,)).fetchone()
        if found is not None and self._cache.holds(meta, found, crop):
            return _NO_PICTURE
        return end, len(crop), sha256(crop).digest()

    # --- the one switch ------------------------------------------------------------------------------------------

    def settle(self, coverage: Coverage) -> Fetched:
        """Show what was listed and came, let go of what is not listed, and say how much that is; all or nothing."""
        self._keep()
        with self._db.write() as db:
            meta = meta_of(db)
            places = self._places(db)
            added, removed = int((places.rows < 0).sum()), places.n_before - int((places.rows >= 0).sum())
            is_moved = self._compare(meta, places)
            replaced = int((places.differs & (places.rows >= 0)).sum())
            if is_moved or added or removed:
                blocks = self._blocks(meta, places)
                self._cache.commit_generation(db, meta, places.ids, self._dimension, blocks)
            if added or removed or replaced:
                self._take(db, meta, removed)
            if added or removed or replaced or coverage != coverage_in(meta):
                put(db, "metadata_version", str(int(meta_of(db).get("metadata_version", 0)) + 1))
            put_coverage(db, coverage)
            put(db, "source", self._source)
            _discard(db)
        forget_files(self._cache)
        self._cache.sweep()
        return Fetched(added, replaced, removed, coverage)

    def _places(self, db: sqlite3.Connection) -> _Places:
        ids: list[str] = []
        rows, slots, differs = array("q"), array("q"), array("b")
        for face, row, slot, is_other in db.execute(_PLACES, {"everything": self._everything}):
            ids.append(face)
            rows.append(row)
            slots.append(slot)
            differs.append(is_other)
        return _Places(
            ids,
            np.frombuffer(rows, np.int64),
            np.frombuffer(slots, np.int64),
            np.frombuffer(differs, np.int8).astype(np.bool_),
            _count(db, "faces"),
        )

    def _compare(self, meta: dict[str, str], places: _Places) -> bool:
        """Mark faces whose vector came as another one; whether there are any."""
        both = np.flatnonzero((places.rows >= 0) & (places.slots >= 0))
        if not len(both):
            return False
        if int(meta["dimension"]) != self._dimension:
            places.differs[both] = True
            return True
        is_moved = False
        for at in _portions(both):
            old = self._cache.mapped(meta, places.n_before)[places.rows[at]]
            other = (old != self._rows(places.slots[at])).any(axis=1)
            places.differs[at] |= other
            is_moved |= bool(other.any())
        return is_moved

    def _blocks(self, meta: dict[str, str], places: _Places) -> Iterator[NDArray[np.float32]]:
        """The vectors of the next generation, some rows at a time."""
        for at in _portions(np.arange(len(places.ids))):
            out = np.empty((len(at), self._dimension), np.float32)
            is_new = places.slots[at] >= 0
            out[is_new] = self._rows(places.slots[at][is_new])
            if not is_new.all():
                out[~is_new] = self._cache.mapped(meta, places.n_before)[places.rows[at][~is_new]]
            yield out

    def _rows(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors that are kept aside; read, not mapped, so that a million of them need no memory."""
        out = np.empty((len(slots), self._dimension), "<f4")
        if not len(slots):
            return out
        width = self._dimension * 4
        with self._vectors.open("rb") as file:
            for row, slot in zip(out, slots.tolist(), strict=True):
                if os.preadv(file.fileno(), [row.data], slot * width) != width:
                    raise StoreDataError(f"{self._vectors} is cut short. Nothing was changed. Read everything again.")
        return out

    def _take(self, db: sqlite3.Connection, meta: dict[str, str], removed: int) -> None:
        kept = json.loads(meta["incoming"])
        start = self._cache.append_crops(db, meta, self._crops, kept["end"])
        db.execute(_LEAVE, {"everything": self._everything})
        db.execute(_TAKE, {"start": start})
        if removed:
            self._cache.rewrite_crops(db, meta_of(db))


@contextmanager
def alone(cache: LocalFaceStore, patience_s: float) -> Iterator[None]:
    """Keep other processes and threads from fetching, adding and removing meanwhile.

    Raises
    ------
    StoreUnavailableError
        If somebody else is at it for longer than `patience_s`.
    """
    path = cache.database.folder / "source.lock"
    end = time.monotonic() + patience_s
    with translated(path):
        file = path.open("ab")
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > end:
                    raise StoreUnavailableError(
                        "Faces are being fetched, added or erased by somebody else right now. Nothing was changed. "
                        "Try again when that is done."
                    ) from exc
                time.sleep(_LOOK_S)
        yield


def forget(cache: LocalFaceStore, faces: Sequence[str]) -> None:
    """Leave nothing of these faces among what is kept aside."""
    with cache.database.write() as db:
        if not _has_aside(db):
            return
        kept = "select 1 from incoming where id in (select value from json_each(?)) limit 1"
        if db.execute(kept, (json.dumps(list(faces)),)).fetchone() is None:
            return
        _discard(db)
    forget_files(cache)


def forget_aside(cache: LocalFaceStore) -> None:
    """Leave nothing aside at all: bytes that a killed process wrote there are named by no row."""
    with cache.database.write() as db:
        if _has_aside(db):
            _discard(db)
    forget_files(cache)


def forget_files(cache: LocalFaceStore) -> None:
    """Delete the files of what was kept aside; no row names a place in them any more."""
    for name in ("incoming.f32", "incoming.bin"):
        path: Path = cache.database.folder / name
        with translated(path):
            path.unlink(missing_ok=True)


def _discard(db: sqlite3.Connection) -> None:
    db.execute("delete from incoming")
    db.execute("delete from meta where key = 'incoming'")


def _has_aside(db: sqlite3.Connection) -> bool:
    return bool(db.execute("select 1 from sqlite_master where name = 'incoming'").fetchone())


def _count(db: sqlite3.Connection, what: str) -> int:
    return int(db.execute(f"select count(*) from {what}").fetchone()[0])  # noqa: S608  (constants)


def _portions(places: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(places), _BLOCK):
        yield places[start : start + _BLOCK]
