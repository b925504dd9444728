"""Faces that may not come back: a list from which nobody can be read, only whether a face is on it.

A face is on it by its id and by the bytes of its vector, each as an HMAC-SHA256 under a key that lies in the library:
without the key nothing can be compared with the list, and with it only what one already has. A face under another id
whose vector was computed anew differs in its bytes and is not known again: only biometric data could tell, and keeping
that is what erasing ends.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from facecluster.model import FaceBatch, FaceId, FaceSet
from facecluster.stores.local import Database

_TABLE = "create table if not exists blocked(mark blob primary key) without rowid"
_KEY = "block_key"


class Blocked:
    """The list of one user's library."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def marks(self, faces: FaceSet, ids: Sequence[FaceId]) -> tuple[str, ...]:
        """What stands for some faces on the list, hexadecimal: by id, and by vector where the face is here."""
        with self._db.write() as db:
            key = _key(db) or secrets.token_bytes(32)
            db.execute("insert or ignore into meta values(?, ?)", (_KEY, key.hex()))
        rows = (faces.row[face] for face in ids if face in faces.row)
        found = [*(_of_id(key, face) for face in ids), *(_of_vector(key, faces.vectors[row]) for row in rows)]
        return tuple(mark.hex() for mark in found)

    def add(self, marks: Sequence[str]) -> None:
        """Put faces on the list."""
        if not marks:
            return
        with self._db.write() as db:
            db.execute(_TABLE)
            db.executemany("insert or ignore into blocked values(?)", ((bytes.fromhex(mark),) for mark in marks))

    def among(self, batch: FaceBatch) -> NDArray[np.bool_]:
        """Which faces of a batch are on the list; shape (n_faces,)."""
        with self._db.read() as db:
            key = _key(db)
            if key is None or not db.execute("select 1 from sqlite_master where name = 'blocked'").fetchone():
                return np.zeros(len(batch.ids), np.bool_)
            known = {row[0] for row in db.execute("select mark from blocked")}
        return np.array(
            [
                _of_id(key, face) in known or _of_vector(key, vector) in known
                for face, vector in zip(batch.ids, batch.vectors, strict=True)
            ],
            np.bool_,
        )


def _key(db: sqlite3.Connection) -> bytes | None:
    row = db.execute("select value from meta where key = ?", (_KEY,)).fetchone()
    return None if row is None else bytes.fromhex(row[0])


def _of_id(key: bytes, face: str) -> bytes:
    return hmac.digest(key, b"id\0" + face.encode("utf-8", "surrogatepass"), sha256)


def _of_vector(key: bytes, vector: NDArray[np.float32]) -> bytes:
    return hmac.digest(key, b"vector\0" + np.ascontiguousarray(vector, "<f4").tobytes(), sha256)
