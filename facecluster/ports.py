"""The two seams: where faces come from, and where people are kept.

One Service per user, one pair of ports per Service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

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

KEPT_RUNS = 5

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and a few words; raises `CancelledError` to stop the work."""


def part_of(progress: Progress | None, start: float, end: float) -> Progress | None:
    """Progress of one stage, told as its share of the whole."""
    if progress is None:
        return None
    tell = progress
    return lambda done, message: tell(start + (end - start) * done, message)


class FaceStore(Protocol):
    """One user's faces."""

    def version(self) -> str:
        """Cheap, and different whenever `read` would return something else."""

    def read(self, progress: Progress | None = None) -> FaceSet:
        """All faces, ordered by id; never a part of them without saying so."""

    def must_fetch(self) -> bool:
        """Whether faces lie elsewhere and were never fetched: `read` would have to, and take its time."""

    def fetch(self, everything: bool = False, progress: Progress | None = None) -> Fetched:
        """Bring what is new at the source, or `everything` again, and drop what is gone there; all or nothing.

        What was read before a failure is kept aside, so that the next attempt goes on there. A store that is its own
        source has nothing to fetch.
        """

    def add(self, batch: FaceBatch) -> tuple[int, int, int]:
        """Write faces, all or nothing: how many were added, replaced and already there unchanged."""

    def remove(self, faces: Sequence[FaceId]) -> int:
        """Forget these faces, at the source too: how many there were. Safe to repeat."""

    def crop(self, face: FaceId) -> bytes:
        """The cut-out picture, b"" where there is none."""


class PeopleStore(Protocol):
    """One user's people, facts and runs."""

    def revision(self) -> int:
        """Cheap; grows with each change set."""

    def read(self) -> PeopleSnapshot:
        """Everything, at one moment."""

    def apply(self, change: ChangeSet) -> int:
        """Write all of it or nothing, and return the new revision.

        Publishing a run lets go of old ones: the last `KEPT_RUNS`, the live one and every one with a name stay.

        Raises
        ------
        StaleWriteError
            If `change.base_revision` is not the revision in force, a decision was made on another value than the one
            that stands, or it would show a run that is no longer kept; nothing is written.
        """

    def history(self, limit: int, before: int | None = None) -> Sequence[ChangeRecord]:
        """Change sets, newest first, those older than revision `before`."""

    def runs(self) -> Sequence[RunRecord]:
        """Published runs, newest first."""

    def run(self, run_id: str) -> Run:
        """One run, whole."""
