"""Faces of the embedded library: rows in SQLite, vectors in one flat file, crops in another.

`vectors.G.f32` holds little-endian float32 rows in the order of the face ids, so reading is a memory map and no copy.
Adding faces writes the next generation aside, syncs it, and then commits the row that names it: a crash leaves the
old generation or the new one. `crops.G.bin` only grows until faces are removed; bytes after the last committed offset
are never read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from facecluster.errors import InputError, StoreDataError, StoreUnavailableError
from facecluster.model import FaceBatch, FaceId, FaceSet, Fetched, content_fingerprint
from facecluster.ports import Progress
from facecluster.stores.local import Database, translated

_COLUMNS = (
    "id, photo, url, folder, crop_url, blur_score, box_left, box_top, box_right, box_bottom, "
    "crop_offset, crop_length, crop_sha"
)
# A row as it is compared and written, without the place of its crop.
_Row = tuple[str, str, str, str, str, float | None, float | None, float | None, float | None, float | None]


# Another process may sweep a generation between our reading its name and opening its file. It must write once for
# each time that happens, so a handful of fresh snapshots always suffices.
_SNAPSHOTS = 8
_T = TypeVar("_T")


class LocalFaceStore:
    """A `FaceStore` in one folder."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def version(self) -> str:
        """Generation and fingerprint of what `read` returns."""
        with self._db.read() as db:
            meta = _meta(db)
        return f"{meta.get('generation', '0')}:{meta.get('metadata_version', '0')}"

    def read(self, progress: Progress | None = None) -> FaceSet:
        """All faces, ordered by id; the vectors are a read-only memory map."""
        del progress  # half a second at a million faces
        meta, rows, vectors = self._from_snapshot(self._read_all)
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in _COLUMNS.split(",")]
        return FaceSet(
            ids=tuple(FaceId(i) for i in columns[0]),
            vectors=vectors,
            photo=columns[1],
            url=columns[2],
            folder=columns[3],
            crop_urls=columns[4],
            blur_score=np.array(columns[5], np.float32),
            boxes=np.array(columns[6:10], np.float32).T.copy(),
            fingerprint=meta.get("fingerprint", content_fingerprint((), np.empty((0, 0), np.float32))),
        )

    def must_fetch(self) -> bool:
        """No: this is where the faces are."""
        return False

    def fetch(self, everything: bool = False, progress: Progress | None = None) -> Fetched:
        """Nothing: this is where the faces are."""
        del everything, progress
        return Fetched()

    def add(self, batch: FaceBatch) -> tuple[int, int, int]:
        """Write faces: (added, replaced, unchanged). Vectors must be unit rows of the library's dimension."""
        if not batch.ids:
            return 0, 0, 0
        with self._db.write() as db:
            meta = _meta(db)
            old_ids = [row[0] for row in db.execute("select id from faces order by id")]
            old = self._map(meta, len(old_ids))
            if len(old_ids) and old.shape[1] != batch.vectors.shape[1]:
                raise InputError(
                    f"The faces have {batch.vectors.shape[1]} numbers each, and this library holds vectors of "
                    f"{old.shape[1]}. Nothing was imported. Use another library for another model."
                )
            place = {face: row for row, face in enumerate(old_ids)}
            known = {
                face: db.execute(f"select {_COLUMNS} from faces where id = ?", (face,)).fetchone()  # noqa: S608
                for face in batch.ids
                if face in place
            }
            changed = [
                i
                for i, face in enumerate(batch.ids)
                if face not in known
                or known[face][:10] != _row(batch, i)
                or (batch.crops[i] and not self._holds(meta, known[face], batch.crops[i]))
                or not np.array_equal(old[place[face]], batch.vectors[i])
            ]
            if changed:
                self._write_crops_and_rows(db, meta, batch, changed, known)
                self._write_vectors(db, meta, old_ids, old, batch, changed)
            replaced = sum(batch.ids[i] in known for i in changed)
        self._sweep()
        return len(changed) - replaced, replaced, len(batch.ids) - len(changed)

    def remove(self, faces: Sequence[FaceId]) -> int:
        """Forget these faces; their crops' bytes go with the rewritten file."""
        gone = set(faces)
        with self._db.write() as db:
            meta = _meta(db)
            ids = [row[0] for row in db.execute("select id from faces order by id")]
            if gone.isdisjoint(ids):
                return 0
            keep = np.array([face not in gone for face in ids], np.bool_)
            vectors = self._map(meta, len(ids))
            db.executemany("delete from faces where id = ?", ((face,) for face in ids if face in gone))
            left = [face for face in ids if face not in gone]
            self._commit_generation(db, meta, left, np.asarray(vectors)[keep])
            self._rewrite_crops(db, meta)
        self._sweep()
        return int((~keep).sum())

    def crop(self, face: FaceId) -> bytes:
        """The cut-out picture, b"" where there is none or the face is unknown."""
        return self._from_snapshot(lambda db: self._read_crop(db, face))

    def _from_snapshot(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `read` makes of one snapshot, or of a fresh one where the files of the first were swept meanwhile."""
        seen = ""
        for _ in range(_SNAPSHOTS):
            with self._db.read() as db:
                now = str(_meta(db))
                try:
                    return read(db)
                except (StoreDataError, FileNotFoundError):
                    if now == seen:  # nobody wrote meanwhile: the file is really gone or cut short
                        raise
                    seen = now
        raise StoreUnavailableError(
            f"The library {self._db.path} is rewritten faster than it can be read. Nothing was changed. Try again."
        )

    def _read_all(self, db: sqlite3.Connection) -> tuple[dict[str, str], list[tuple[Any, ...]], NDArray[np.float32]]:
        meta = _meta(db)
        rows = db.execute(f"select {_COLUMNS} from faces order by id").fetchall()  # noqa: S608  (a constant)
        return meta, rows, self._map(meta, len(rows))

    def _read_crop(self, db: sqlite3.Connection, face: FaceId) -> bytes:
        row = db.execute("select crop_offset, crop_length, crop_sha from faces where id = ?", (face,)).fetchone()
        if row is None or row[1] == 0:
            return b""
        path = self._crops(_meta(db))
        with suppress(FileNotFoundError), path.open("rb") as file:
            data = _piece(file, row[0], row[1])
            if sha256(data).digest() == row[2]:
                return data
        raise StoreDataError(f"The picture of face {face!r} is damaged in {path}. Import it again to mend it.")

    def _holds(self, meta: dict[str, str], row: tuple[Any, ...], crop: bytes) -> bool:
        """Whether the picture of a row is this one, and is really there: importing again mends a damaged file."""
        if row[12] != sha256(crop).digest() or not self._crops(meta).is_file():
            return False
        with self._crops(meta).open("rb") as file:
            return _piece(file, row[10], row[11]) == crop

    def _map(self, meta: dict[str, str], n: int) -> NDArray[np.float32]:
        dimension = int(meta.get("dimension", 0))
        if n == 0:
            return np.empty((0, dimension), np.float32)
        path = self._vectors(meta["generation"])
        with suppress(FileNotFoundError):
            return self._mapped(path, n, dimension)
        raise StoreDataError(
            f"The library lists {n:,} faces, and {path} is not there. "
            "Nothing was changed. Restore the folder from a backup, or import the faces again."
        )

    def _mapped(self, path: Path, n: int, dimension: int) -> NDArray[np.float32]:
        size = path.stat().st_size
        if size != n * dimension * 4:
            raise StoreDataError(
                f"The library lists {n:,} faces, and {path} holds {size:,} bytes instead of {n * dimension * 4:,}. "
                "Nothing was changed. Restore the folder from a backup, or import the faces again."
            )
        return np.memmap(path, "<f4", "r", shape=(n, dimension))

    def _vectors(self, generation: str) -> Path:
        return self._db.folder / f"vectors.{generation}.f32"

    def _crops(self, meta: dict[str, str]) -> Path:
        return self._db.folder / f"crops.{meta.get('crops_generation', '0')}.bin"

    def _write_crops_and_rows(
        self,
        db: sqlite3.Connection,
        meta: dict[str, str],
        batch: FaceBatch,
        changed: list[int],
        known: dict[str, tuple[Any, ...]],
    ) -> None:
        end = int(meta.get("crops_end", 0))
        rows: list[tuple[object, ...]] = []
        path = self._crops(meta)
        path.touch()
        with path.open("r+b") as file:
            file.seek(end)
            for i in changed:
                crop = batch.crops[i]
                if crop:
                    file.write(crop)
                    where: tuple[object, ...] = (end, len(crop), sha256(crop).digest())
                    end += len(crop)
                else:  # a file without pictures does not take away the ones that are there
                    before = known.get(batch.ids[i])
                    where = before[10:13] if before else (0, 0, b"")
                rows.append((*_row(batch, i), *where))
            file.flush()
            os.fsync(file.fileno())
        db.executemany("insert or replace into faces values(?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
        _put(db, "crops_end", str(end))
        _put(db, "metadata_version", str(int(meta.get("metadata_version", 0)) + 1))

    def _write_vectors(
        self,
        db: sqlite3.Connection,
        meta: dict[str, str],
        old_ids: list[str],
        old: NDArray[np.float32],
        batch: FaceBatch,
        changed: list[int],
    ) -> None:
        new_row = {batch.ids[i]: i for i in changed}
        place = {face: row for row, face in enumerate(old_ids)}
        ids = sorted(place.keys() | new_row.keys())
        vectors = np.empty((len(ids), batch.vectors.shape[1]), np.float32)
        is_new = np.array([face in new_row for face in ids], np.bool_)
        vectors[is_new] = batch.vectors[[new_row[face] for face in ids if face in new_row]]
        kept = [place[face] for face in ids if face not in new_row]
        if kept:
            vectors[~is_new] = old[kept]
        if len(ids) == len(old_ids) and np.array_equal(vectors, old):
            return  # only metadata or pictures changed: hierarchies stay valid
        self._commit_generation(db, meta, ids, vectors)

    def _commit_generation(
        self, db: sqlite3.Connection, meta: dict[str, str], ids: list[str], vectors: NDArray[np.float32]
    ) -> None:
        generation = str(int(meta.get("generation", 0)) + 1)
        with self._vectors(generation).open("wb") as file:
            file.write(np.ascontiguousarray(vectors, "<f4").data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self._db.folder)
        _put(db, "generation", generation)
        _put(db, "dimension", str(vectors.shape[1]))
        _put(db, "fingerprint", content_fingerprint(tuple(ids), vectors))

    def _rewrite_crops(self, db: sqlite3.Connection, meta: dict[str, str]) -> None:
        rows = db.execute("select id, crop_offset, crop_length from faces where crop_length > 0").fetchall()
        old = self._crops(meta)
        generation = str(int(meta.get("crops_generation", 0)) + 1)
        new = self._crops({"crops_generation": generation})
        end = 0
        with new.open("wb") as target:
            if rows:
                with old.open("rb") as source:
                    for face, offset, length in rows:
                        # A picture cut short keeps its place, so the others keep theirs; its hash tells on it.
                        target.write(_piece(source, offset, length).ljust(length, b"\0"))
                        db.execute("update faces set crop_offset = ? where id = ?", (end, face))
                        end += length
            target.flush()
            os.fsync(target.fileno())
        _sync_folder(self._db.folder)
        _put(db, "crops_generation", generation)
        _put(db, "crops_end", str(end))
        _put(db, "metadata_version", str(int(meta.get("metadata_version", 0)) + 1))

    def _sweep(self) -> None:
        """Delete generations that no row names; whoever still has one mapped keeps it until it lets go."""
        with self._db.write() as db, translated(self._db.path):
            meta = _meta(db)
            current = {self._vectors(meta.get("generation", "0")), self._crops(meta)}
            for path in [*self._db.folder.glob("vectors.*.f32"), *self._db.folder.glob("crops.*.bin")]:
                if path not in current:
                    with suppress(OSError):  # the write has succeeded; what cannot be deleted now goes at the next one
                        path.unlink()


def _meta(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("select key, value from meta").fetchall())


def _put(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("insert or replace into meta values(?, ?)", (key, value))


def _row(batch: FaceBatch, i: int) -> _Row:
    return (
        batch.ids[i],
        batch.photo[i],
        batch.url[i],
        batch.folder[i],
        batch.crop_urls[i],
        _known(batch.blur_score[i]),
        _known(batch.boxes[i, 0]),
        _known(batch.boxes[i, 1]),
        _known(batch.boxes[i, 2]),
        _known(batch.boxes[i, 3]),
    )


def _piece(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _known(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its bytes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
