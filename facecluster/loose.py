"""Faces that are nobody's as columns: there are tens of thousands after every act, and few of them are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from facecluster.model import FaceId, PersonId
from facecluster.nearest import Nearest


class LooseFace(NamedTuple):
    """A face that is nobody's, with the nearest person."""

    face: FaceId
    person: PersonId | None
    near: FaceId | None
    distance: float
    cosine: float


@dataclass(frozen=True, eq=False)
class LooseFaces(Sequence[LooseFace]):
    """Some of them; a `LooseFace` is made when it is looked at.

    Attributes
    ----------
    all_ids, people : tuple[FaceId, ...], tuple[PersonId, ...]
        Of the library: rows and person numbers point here.
    rows : NDArray[np.int64]
        Shape (m,).
    person : NDArray[np.int32]
        Shape (m,): number of the nearest person, -1 for none.
    near : NDArray[np.int64]
        Shape (m,): row of that person's nearest face, -1 for none.
    away, cosine : NDArray[np.float64]
        Shape (m,): its distance and cosine; inf and 0 for none.
    """

    all_ids: tuple[FaceId, ...]
    people: tuple[PersonId, ...]
    rows: NDArray[np.int64]
    person: NDArray[np.int32]
    near: NDArray[np.int64]
    away: NDArray[np.float64]
    cosine: NDArray[np.float64]

    @classmethod
    def nearest_first(cls, all_ids: tuple[FaceId, ...], people: tuple[PersonId, ...], found: Nearest) -> LooseFaces:
        """Those nearest to somebody first, then by row."""
        cosine = np.where(found.near >= 0, found.cosine, 0.0)
        every = cls(all_ids, people, found.rows, found.person, found.near, found.away, cosine)
        return every.take(np.lexsort((found.rows, found.away)))

    @property
    def ids(self) -> list[FaceId]:
        """Their ids."""
        return [self.all_ids[row] for row in self.rows.tolist()]

    def take(self, at: NDArray[np.integer] | NDArray[np.bool_] | slice) -> LooseFaces:
        """Some of them, by place."""
        return LooseFaces(
            self.all_ids, self.people, self.rows[at], self.person[at], self.near[at], self.away[at], self.cosine[at]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> LooseFace: ...
    @overload
    def __getitem__(self, at: slice) -> LooseFaces: ...
    def __getitem__(self, at: int | slice) -> LooseFace | LooseFaces:
        if isinstance(at, slice):
            return self.take(at)
        return self._face(*(column[at].item() for column in self._columns))

    def __iter__(self) -> Iterator[LooseFace]:
        return map(self._face, *(column.tolist() for column in self._columns))

    @property
    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.rows, self.person, self.near, self.away, self.cosine

    def _face(self, row: int, person: int, near: int, away: float, cosine: float) -> LooseFace:
        return LooseFace(
            self.all_ids[row],
            self.people[person] if person >= 0 else None,
            self.all_ids[near] if near >= 0 else None,
            away,
            cosine,
        )
