"""Faces in a Pinecone index, with a cache of them here: what pages read is local, and fetching compares and adds.

Whoever fetches, adds or removes does it alone; nobody else sees anything of it before it is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pinecone

from facecluster.config import Settings
from facecluster.errors import ConfigError, InputError, StoreError, StoreUnavailableError
from facecluster.importing import normalised
from facecluster.model import FaceBatch, FaceId, FaceSet, Fetched, UserId
from facecluster.ports import Progress
from facecluster.stores.blocked import Blocked
from facecluster.stores.intake import Intake, alone, forget
from facecluster.stores.local import Database
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.pinecone_index import IndexOfUser, Stats
from facecluster.stores.pinecone_part import part_of
from facecluster.stores.pinecone_reading import Reading
from facecluster.stores.pinecone_records import check, records_of, writable

_LOOK_S = 0.5


def open_faces(
    settings: Settings,
    user: UserId,
    folder: Path,
    client: pinecone.Pinecone | None = None,
    patience_s: float = 120.0,
) -> PineconeFaceStore:
    """One user's faces in the index of the settings. Connects to nothing yet.

    Parameters
    ----------
    settings : Settings
        Say which index, namespace and metadata field.
    user : UserId
        Whose faces.
    folder : Path
        The user's folder; the cache lies in it, one for each index, namespace and field.
    client : pinecone.Pinecone | None
        A client of another program, whose key and addresses are used instead of those of the settings.
    patience_s : float
        Seconds that one request may take with all its repetitions.

    Raises
    ------
    ConfigError
        If nothing keeps this user apart from others, or there is no key.
    """
    part = part_of(settings, user)
    key = settings.pinecone_api_key.get_secret_value()
    if client is None and not key:
        raise ConfigError("There is no key for Pinecone. Nothing was opened. Set PINECONE_API_KEY.")
    cache = LocalFaceStore(Database(folder / "hosted" / part.key, user))
    return PineconeFaceStore(IndexOfUser(part, key, client, patience_s), cache, Blocked(Database(folder, user)))


class PineconeFaceStore:
    """A `FaceStore` whose source is one user's part of a Pinecone index."""

    def __init__(self, index: IndexOfUser, cache: LocalFaceStore, blocked: Blocked | None = None) -> None:
        self._blocked = blocked
        self._index = index
        self._cache = cache

    # --- reading, all of it local --------------------------------------------------------------------------------

    def version(self) -> str:
        """Of the cache; nothing is asked of Pinecone."""
        return self._cache.version()

    def must_fetch(self) -> bool:
        """Whether the index was never read to its end."""
        return self._cache.coverage() is None

    def read(self, progress: Progress | None = None) -> FaceSet:
        """All faces that are here, ordered by id; fetched first where that never happened."""
        if self.must_fetch():
            self.fetch(progress=progress)
        return self._cache.read()

    def crop(self, face: FaceId) -> bytes:
        """The cut-out picture, b"" where there is none."""
        return self._cache.crop(face)

    def close(self) -> None:
        """Let go of the connections."""
        self._index.close()

    # --- fetching ------------------------------------------------------------------------------------------------

    def fetch(self, everything: bool = False, progress: Progress | None = None) -> Fetched:
        """Bring the ids that are new, or `everything` again, and drop what is gone; all or nothing.

        Raises
        ------
        StoreError
            With what was read so far, which is kept for the next attempt. The library shows what it showed before.
        """
        stop = threading.Event()
        with alone(self._cache, self._index.patience_s):
            with _telling(lambda: "No face was read; the library shows what it showed before. Try again."):
                stats = self._index.stats(stop)
            # Records that a metadata field selects come with their vectors, or not at all.
            everything = everything or bool(self._index.part.user_field)
            with Intake(self._cache, self._index.host, stats.dimension, everything, self._blocked) as intake:
                with _telling(lambda: _kept_aside(intake, stats)):
                    coverage = Reading(self._index, intake, stats, progress, stop).coverage()
                if progress:
                    progress(0.97, f"Putting {coverage.n_read:,} faces in order")
                found = intake.settle(coverage)
        if progress:
            progress(1.0, coverage.in_words())
        return found

    # --- writing -------------------------------------------------------------------------------------------------

    def add(self, batch: FaceBatch) -> tuple[int, int, int]:
        """Write faces to the index, then here: (added, replaced, unchanged). What is there already is not sent.

        Raises
        ------
        InputError
            If Pinecone cannot hold one of them, or an id is another user's; nothing was written.
        """
        if not batch.ids:
            return 0, 0, 0
        part, stop = self._index.part, threading.Event()
        owner = {part.user_field: str(part.user)} if part.user_field else {}
        check(batch, owner)
        # What comes back is normalised once more, and a unit vector may lose a last digit by that.
        kept = replace(
            batch,
            vectors=normalised(batch.vectors, {})[0],
            photo=tuple(p or u for p, u in zip(batch.photo, batch.url, strict=True)),
        )
        with alone(self._cache, self._index.patience_s):
            changed = self._cache.changed(kept)
            if changed:
                ids = [batch.ids[i] for i in changed]
                self._may_write(batch, ids, stop)
                forget(self._cache, ids)  # a value that an unfinished look kept aside is older than this one
                sent = 0
                with _telling(
                    lambda: (
                        f"{sent:,} of {len(changed):,} faces were written there and none here. Import again: "
                        "faces that are there already stay as they are."
                    )
                ):
                    for records in records_of(batch, changed, owner):
                        self._index.upsert(records, stop)
                        sent += len(records)
            return self._cache.add(kept)

    def _may_write(self, batch: FaceBatch, ids: Sequence[str], stop: threading.Event) -> None:
        there = self._index.stats(stop).dimension
        if batch.vectors.shape[1] != there:
            raise InputError(
                f"The faces have {batch.vectors.shape[1]} numbers each, and the Pinecone index holds vectors of "
                f"{there}. Nothing was written. Use another index for another model."
            )
        foreign = self._index.foreign(ids, stop)
        if foreign:
            raise InputError(
                f"{len(foreign):,} of the ids are another user's in this namespace, the first is {min(foreign)!r}. "
                "Nothing was written. Give your faces ids of their own, or set PINECONE_NAMESPACE."
            )

    def remove(self, faces: Sequence[FaceId]) -> int:
        """Forget these faces, in the index first: how many were here. Safe to repeat; others' faces are left alone."""
        stop = threading.Event()
        with alone(self._cache, self._index.patience_s):
            ids = [face for face in dict.fromkeys(faces) if writable(face)]
            with _telling(lambda: "Some of the faces may be erased there; none is erased here. Erase them again."):
                foreign = self._index.foreign(ids, stop)
                mine = [face for face in ids if face not in foreign]
                self._index.delete(mine, stop)
                self._must_be_gone(mine, stop)
            forget(self._cache, faces)
            return self._cache.remove(faces)

    def _must_be_gone(self, faces: Sequence[str], stop: threading.Event) -> None:
        """Wait until the index says so: its reads lag behind deletions, and a look meanwhile would bring faces back."""
        end = time.monotonic() + self._index.patience_s
        while left := [record.id for record in self._index.fetched(faces, stop)]:
            if time.monotonic() > end:
                raise StoreUnavailableError(f"Pinecone still shows {len(left):,} of {len(faces):,} deleted faces.")
            time.sleep(_LOOK_S)


@contextmanager
def _telling(how_it_stands: Callable[[], str]) -> Iterator[None]:
    """Add to an error of the index how far the work had come."""
    try:
        yield
    except StoreError as exc:
        raise type(exc)(f"{exc} {how_it_stands()}") from exc


def _kept_aside(intake: Intake, stats: Stats) -> str:
    there = f" of {stats.count:,}" if stats.count is not None else ""
    return (
        f"{intake.n_aside():,}{there} faces are kept aside, and the library shows what it showed before. "
        "Fetch again to go on from there."
    )
