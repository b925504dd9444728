"""Faces of the embedded library: rows in SQLite, vectors in one flat file, crops in another.

`vectors.G.f32` holds little-endian float32 rows in the order of the face ids, so reading is a memory map and no copy.
Adding faces writes the next generation aside, syncs it, and then commits the row that names it: a crash leaves the
old generation or the new one. `crops.G.bin` only grows until faces are removed; bytes after the last committed offset
are never read.

The same files are the cache of a hosted index; `meta` then says how much of the index is here.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from facecluster.errors import InputError, StoreDataError, StoreDeniedError, StoreError, StoreUnavailableError
from facecluster.model import Coverage, FaceBatch, FaceId, FaceSet, Fetched, content_fingerprint
from facecluster.ports import Progress
from facecluster.stores.local import Database, sync, translated

_COLUMNS = (
    "id, photo, url, folder, crop_url, blur_score, box_left, box_top, box_right, box_bottom, "
    "crop_offset, crop_length, crop_sha"
)
_VERSION = (
    "select (select value from meta where key = 'generation'), (select value from meta where key = 'metadata_version')"
)
# A row as it is compared and written, without the place of its crop.
_Row = tuple[str, str, str, str, str, float | None, float | None, float | None, float | None, float | None]


# Another process may sweep a generation between our reading its name and opening its file. It must write once for
# each time that happens, so a handful of fresh snapshots always suffices.
_SNAPSHOTS = 8
_BLOCK = 8_192  # rows of vectors that are copied at once
_T = TypeVar("_T")


class LocalFaceStore:
    """A `FaceStore` in one folder."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def version(self) -> str:
        """Generation and fingerprint of what `read` returns."""
        with self.database.glance() as db:
            generation, metadata = db.execute(_VERSION).fetchone()
        return f"{generation or '0'}:{metadata or '0'}"

    def read(self, progress: Progress | None = None) -> FaceSet:
        """All faces, ordered by id; the vectors are a read-only memory map."""
        del progress  # half a second at a million faces
        return face_set(*self._from_snapshot(self._read_all))

    def coverage(self) -> Coverage | None:
        """How much of a hosted index is here; None where nobody said."""
        with self.database.read() as db:
            return coverage_in(meta_of(db))

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
        with self.database.write() as db:
            meta = meta_of(db)
            old_ids = [row[0] for row in db.execute("select id from faces order by id")]
            changed, known = self._changed(db, meta, old_ids, batch)
            if changed:
                self._write_crops_and_rows(db, meta, batch, changed, known)
                self._write_vectors(db, meta, old_ids, self.mapped(meta, len(old_ids)), batch, changed)
            replaced = sum(batch.ids[i] in known for i in changed)
            _recount(db, meta, len(changed) - replaced)
        with suppress(StoreError):  # the faces are written: what is left over goes at the next write
            self.sweep()
        return len(changed) - replaced, replaced, len(batch.ids) - len(changed)

    def fill(self, db: sqlite3.Connection, batches: Iterable[FaceBatch]) -> None:
        """Write the faces of a library that holds none, batch by batch, ids ascending throughout."""
        meta, ids = meta_of(db), list[str]()

        def written() -> Iterator[NDArray[np.float32]]:
            for batch in batches:
                now = {**meta, "crops_end": meta_of(db).get("crops_end", "0")}
                self._write_crops_and_rows(db, now, batch, list(range(len(batch.ids))), {})
                ids.extend(batch.ids)
                yield batch.vectors

        first = next(blocks := written(), None)
        if first is not None:
            self.commit_generation(db, meta, ids, first.shape[1], chain([first], blocks))

    def changed(self, batch: FaceBatch) -> list[int]:
        """Places in the batch of faces that `add` would write."""
        with self.database.read() as db:
            ids = [row[0] for row in db.execute("select id from faces order by id")]
            return self._changed(db, meta_of(db), ids, batch)[0]

    def _changed(
        self, db: sqlite3.Connection, meta: dict[str, str], old_ids: list[str], batch: FaceBatch
    ) -> tuple[list[int], dict[str, tuple[Any, ...]]]:
        """Faces of the batch that are new or other than here, and the rows of those that are here."""
        old = self.mapped(meta, len(old_ids))
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
            for i, (face, row) in enumerate(zip(batch.ids, rows_of(batch), strict=True))
            if face not in known
            or known[face][:10] != row
            or (batch.crops[i] and not self.holds(meta, known[face][10:], batch.crops[i]))
            or not np.array_equal(old[place[face]], batch.vectors[i])
        ]
        return changed, known

    def remove(self, faces: Sequence[FaceId]) -> int:
        """Forget these faces; their crops' bytes go with the rewritten file.

        Raises
        ------
        StoreDeniedError
            If an older file of vectors or pictures cannot be deleted; the rows are gone by then.
        """
        n_gone = self._remove(set(faces))
        # Also where none was here: whoever removed them before may have been killed on the way to this.
        left = self.sweep()
        if left:
            raise StoreDeniedError(
                f"The faces are removed, but {left[0]}, which holds them, cannot be deleted. Mend the folder's rights, "
                "then repeat it."
            )
        if n_gone:
            self.database.forget()
        return n_gone

    def _remove(self, gone: set[FaceId]) -> int:
        with self.database.write() as db:
            meta = meta_of(db)
            ids = [row[0] for row in db.execute("select id from faces order by id")]
            if gone.isdisjoint(ids):
                return 0
            keep = np.array([face not in gone for face in ids], np.bool_)
            vectors = self.mapped(meta, len(ids))
            db.executemany("delete from faces where id = ?", ((face,) for face in ids if face in gone))
            left = [face for face in ids if face not in gone]
            blocks = (vectors[start : start + _BLOCK][keep[start : start + _BLOCK]] for start in _starts(len(ids)))
            self.commit_generation(db, meta, left, vectors.shape[1], blocks)
            self.rewrite_crops(db, meta)
            _recount(db, meta, -int((~keep).sum()))
            return int((~keep).sum())

    def crop(self, face: FaceId) -> bytes:
        """The cut-out picture, b"" where there is none or the face is unknown."""
        return self._from_snapshot(lambda db: self._read_crop(db, face))

    def _from_snapshot(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `read` makes of one snapshot, or of a fresh one where the files of the first were swept meanwhile."""
        seen = ""
        for _ in range(_SNAPSHOTS):
            with self.database.read() as db:
                try:
                    return read(db)
                except (StoreDataError, FileNotFoundError):
                    now = str(meta_of(db))
                    if now == seen:  # nobody wrote meanwhile: the file is really gone or cut short
                        raise
                    seen = now
        raise StoreUnavailableError(
            f"The library {self.database.path} is rewritten faster than it can be read. Nothing was changed. Try again."
        )

    def _read_all(self, db: sqlite3.Connection) -> tuple[dict[str, str], list[tuple[Any, ...]], NDArray[np.float32]]:
        meta, rows = meta_of(db), rows_in(db)
        return meta, rows, self.mapped(meta, len(rows))

    def _read_crop(self, db: sqlite3.Connection, face: FaceId) -> bytes:
        # One statement: each of them lets go of the interpreter, and a page asks for two dozen pictures.
        row = db.execute(
            "select crop_offset, crop_length, crop_sha, (select value from meta where key = 'crops_generation') "
            "from faces where id = ?",
            (face,),
        ).fetchone()
        if row is None or row[1] == 0:
            return b""
        path = self._crops({"crops_generation": row[3] or "0"})
        with suppress(FileNotFoundError), path.open("rb") as file:
            data = _piece(file, row[0], row[1])
            if sha256(data).digest() == row[2]:
                return data
        raise StoreDataError(f"The picture of face {face!r} is damaged in {path}. Import it again to mend it.")

    def holds(self, meta: dict[str, str], row: tuple[Any, ...], crop: bytes) -> bool:
        """Whether a picture (offset, length, hash) is this one, and is really there: importing mends damaged files."""
        if row[2] != sha256(crop).digest() or not self._crops(meta).is_file():
            return False
        with self._crops(meta).open("rb") as file:
            return _piece(file, row[0], row[1]) == crop

    def mapped(self, meta: dict[str, str], n: int) -> NDArray[np.float32]:
        """The vectors, a read-only memory map; `n` faces are listed."""
        dimension = int(meta.get("dimension", 0))
        if n == 0:
            return np.empty((0, dimension), np.float32)
        path = self._vectors(meta["generation"])
        with suppress(FileNotFoundError):
            return self._opened(path, n, dimension)
        raise StoreDataError(
            f"The library lists {n:,} faces, and {path} is not there. "
            "Nothing was changed. Restore the folder from a backup, or import the faces again."
        )

    def _opened(self, path: Path, n: int, dimension: int) -> NDArray[np.float32]:
        size = path.stat().st_size
        if size != n * dimension * 4:
            raise StoreDataError(
                f"The library lists {n:,} faces, and {path} holds {size:,} bytes instead of {n * dimension * 4:,}. "
                "Nothing was changed. Restore the folder from a backup, or import the faces again."
            )
        return np.memmap(path, "<f4", "r", shape=(n, dimension))

    def _vectors(self, generation: str) -> Path:
        return self.database.folder / f"vectors.{generation}.f32"

    def _crops(self, meta: dict[str, str]) -> Path:
        return self.database.folder / f"crops.{meta.get('crops_generation', '0')}.bin"

    def _write_crops_and_rows(
        self,
        db: sqlite3.Connection,
        meta: dict[str, str],
        batch: FaceBatch,
        changed: list[int],
        known: dict[str, tuple[Any, ...]],
    ) -> None:
        end = int(meta.get("crops_end", 0))
        plain = rows_of(batch)
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
                rows.append((*plain[i], *where))
            file.flush()
            os.fsync(file.fileno())
        db.executemany("insert or replace into faces values(?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
        put(db, "crops_end", str(end))
        put(db, "metadata_version", str(int(meta.get("metadata_version", 0)) + 1))

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
        self.commit_generation(db, meta, ids, vectors.shape[1], [vectors])

    def commit_generation(
        self,
        db: sqlite3.Connection,
        meta: dict[str, str],
        ids: Sequence[str],
        dimension: int,
        blocks: Iterable[NDArray[np.float32]],
    ) -> None:
        """Write the vectors of these ids, block by block, as the next generation; shown once the transaction ends."""
        generation = str(int(meta.get("generation", 0)) + 1)
        path = self._vectors(generation)
        with path.open("wb") as file:
            for block in blocks:
                file.write(np.ascontiguousarray(block, "<f4").data)
            file.flush()
            os.fsync(file.fileno())
        sync(self.database.folder)
        put(db, "generation", generation)
        put(db, "dimension", str(dimension))
        vectors = self.mapped({"generation": generation, "dimension": str(dimension)}, len(ids))
        put(db, "fingerprint", content_fingerprint(tuple(ids), vectors))

    def append_crops(self, db: sqlite3.Connection, meta: dict[str, str], source: Path, length: int) -> int:
        """Put the pictures of another file behind the ones there are; where they begin."""
        start = int(meta.get("crops_end", 0))
        if not length:
            return start
        path = self._crops(meta)
        path.touch()
        with source.open("rb") as pictures, path.open("r+b") as file:
            file.seek(start)
            left = length
            while left and (piece := pictures.read(min(left, 2**22))):
                file.write(piece)
                left -= len(piece)
            if left:
                raise StoreDataError(f"{source} lacks {left:,} bytes of pictures. Nothing was changed. Fetch again.")
            file.flush()
            os.fsync(file.fileno())
        put(db, "crops_end", str(start + length))
        return start

    def rewrite_crops(self, db: sqlite3.Connection, meta: dict[str, str]) -> None:
        """Leave the pictures of faces that are gone behind."""
        rows = db.execute(
            "select id, crop_offset, crop_length from faces where crop_length > 0 order by crop_offset"
        ).fetchall()
        old = self._crops(meta)
        generation = str(int(meta.get("crops_generation", 0)) + 1)
        new = self._crops({"crops_generation": generation})
        end = 0
        moved: list[tuple[int, str]] = []
        stretches: list[list[int]] = []  # of pictures that lie end to end: one copy for thousands of them
        for face, offset, length in rows:
            if stretches and sum(stretches[-1]) == offset:
                stretches[-1][1] += length
            else:
                stretches.append([offset, length])
            moved.append((end, face))
            end += length
        with new.open("wb") as target:
            if rows:
                with old.open("rb") as source:
                    for offset, length in stretches:
                        _copy(source, target, offset, length)
            target.flush()
            os.fsync(target.fileno())
        sync(self.database.folder)
        db.executemany("update faces set crop_offset = ? where id = ?", moved)
        put(db, "crops_generation", generation)
        put(db, "crops_end", str(end))
        put(db, "metadata_version", str(int(meta.get("metadata_version", 0)) + 1))

    def sweep(self) -> list[Path]:
        """Delete generations that no row names; those that could not be deleted, and go at the next write.

        Whoever still has one mapped keeps it until it lets go.
        """
        left: list[Path] = []
        with self.database.write() as db, translated(self.database.path):
            meta = meta_of(db)
            current = {self._vectors(meta.get("generation", "0")), self._crops(meta)}
            for path in [*self.database.folder.glob("vectors.*.f32"), *self.database.folder.glob("crops.*.bin")]:
                if path not in current:
                    try:
                        path.unlink(missing_ok=True)
                    except OSError:
                        left.append(path)
        return left


def rows_in(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """All faces, ordered by id."""
    return db.execute(f"select {_COLUMNS} from faces order by id").fetchall()  # noqa: S608  (a constant)


def face_set(meta: dict[str, str], rows: list[tuple[Any, ...]], vectors: NDArray[np.float32]) -> FaceSet:
    """Faces of a snapshot: what `meta` says, the rows of `rows_in`, and their vectors."""
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
        picture_marks=tuple(sha[:8].hex() for sha in columns[12]),
        coverage=coverage_in(meta),
    )


def meta_of(db: sqlite3.Connection) -> dict[str, str]:
    """All that `meta` says."""
    return dict(db.execute("select key, value from meta").fetchall())


def put(db: sqlite3.Connection, key: str, value: str) -> None:
    """Write one line of `meta`."""
    db.execute("insert or replace into meta values(?, ?)", (key, value))


def coverage_in(meta: dict[str, str]) -> Coverage | None:
    """How much of a hosted index is here, as `meta` has it."""
    return Coverage(**json.loads(meta["coverage"])) if "coverage" in meta else None


def put_coverage(db: sqlite3.Connection, coverage: Coverage) -> None:
    """Say how much of a hosted index is here."""
    put(db, "coverage", json.dumps(asdict(coverage)))


def _recount(db: sqlite3.Connection, meta: dict[str, str], n_more: int) -> None:
    """Faces were written or erased here and in the hosted index alike."""
    said = coverage_in(meta)
    if said is not None and n_more:
        there = None if said.n_there is None else said.n_there + n_more
        put_coverage(db, replace(said, n_read=said.n_read + n_more, n_there=there))


def rows_of(batch: FaceBatch) -> list[_Row]:
    """Faces as their rows, without the places of their pictures."""
    known = (_known(column) for column in (batch.blur_score, *batch.boxes.T))
    return list(zip(batch.ids, batch.photo, batch.url, batch.folder, batch.crop_urls, *known, strict=True))


def _piece(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _copy(source: BinaryIO, target: BinaryIO, offset: int, length: int) -> None:
    """Copy a stretch. A picture cut short keeps its place, so the others keep theirs; its hash tells on it."""
    source.seek(offset)
    while length:
        piece = source.read(min(length, 2**22)) or bytes(min(length, 2**22))
        target.write(piece)
        length -= len(piece)


def _starts(n: int) -> range:
    return range(0, n, _BLOCK)


def _known(column: NDArray[np.float32]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]  # NaN is no number, itself included
