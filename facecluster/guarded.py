"""Stores that ask, before each write, whether whoever writes still may."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from facecluster.model import (
    ChangeRecord,
    ChangeSet,
    FaceBatch,
    FaceId,
    FaceSet,
    Fetched,
    PeopleSnapshot,
    Run,
    RunRecord,
)
from facecluster.ports import FaceStore, PeopleStore, Progress

MayWrite = Callable[[], None]
"""Raises `SignedOutError` where the session that the thread works for is over."""


class GuardedFaces:
    """A face store, guarded. Pages look at a session when they begin, and it may end before they write."""

    def __init__(self, faces: FaceStore, may_write: MayWrite) -> None:
        self._faces, self._may_write = faces, may_write

    def version(self) -> str:
        """As the store."""
        return self._faces.version()

    def read(self, progress: Progress | None = None) -> FaceSet:
        """As the store."""
        return self._faces.read(progress)

    def must_fetch(self) -> bool:
        """As the store."""
        return self._faces.must_fetch()

    def fetch(self, everything: bool = False, progress: Progress | None = None) -> Fetched:
        """As the store, for who may write."""
        self._may_write()
        return self._faces.fetch(everything, progress)

    def add(self, batch: FaceBatch) -> tuple[int, int, int]:
        """As the store, for who may write."""
        self._may_write()
        return self._faces.add(batch)

    def remove(self, faces: Sequence[FaceId]) -> int:
        """As the store, for who may write."""
        self._may_write()
        return self._faces.remove(faces)

    def crop(self, face: FaceId) -> bytes:
        """As the store."""
        return self._faces.crop(face)


class GuardedPeople:
    """A people store, guarded."""

    def __init__(self, people: PeopleStore, may_write: MayWrite) -> None:
        self._people, self._may_write = people, may_write

    def revision(self) -> int:
        """As the store."""
        return self._people.revision()

    def read(self) -> PeopleSnapshot:
        """As the store."""
        return self._people.read()

    def apply(self, change: ChangeSet) -> int:
        """As the store, for who may write."""
        self._may_write()
        return self._people.apply(change)

    def history(self, limit: int, before: int | None = None) -> Sequence[ChangeRecord]:
        """As the store."""
        return self._people.history(limit, before)

    def runs(self) -> Sequence[RunRecord]:
        """As the store."""
        return self._people.runs()

    def run(self, run_id: str) -> Run:
        """As the store."""
        return self._people.run(run_id)
