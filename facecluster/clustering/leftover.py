"""Groups of left-over faces that are alike among themselves: exact average linkage, most alike first.

The likeness of two groups is the mean cosine over all pairs of a face of one and a face of the other. They become one
while it is at least `Law.needed` of their sizes, the pair that is most above it first. A mean is never above the most
alike pair, so pairs below `Law.least` can be left out without changing anything.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Rows of a product at a time: 2,048 x 20,000 floats are 160 MB.
_BLOCK = 2048
# A float32 product of unit rows, and the rounding below, together are off by less than this.
_MARGIN = 2.0**-12
# Coordinates are rounded to multiples of this: sums of rows, and products of sums, are then exact in float64, so that
# neither the order of the rows nor the processor can change a group.
_GRID = 2.0**15


@dataclass(frozen=True)
class Law:
    """How alike two groups have to be: `large` where both are large, and more by `small` over the faces of both."""

    large: float
    small: float

    def needed(self, n_faces: int) -> float:
        """Least mean cosine at which groups that have so many faces together become one."""
        return self.large + self.small / n_faces

    @property
    def least(self) -> float:
        """What two groups of any size need."""
        return self.large


@dataclass(frozen=True, eq=False)
class Group:
    """Faces that are alike among themselves.

    Attributes
    ----------
    rows : NDArray[np.int64]
        Those most like the others first.
    likeness : NDArray[np.float64]
        Mean cosine of each with the others.
    """

    rows: NDArray[np.int64]
    likeness: NDArray[np.float64]


def alike_pairs(
    vectors: NDArray[np.float32], least: float, rows: NDArray[np.int64], others: NDArray[np.int64] | None = None
) -> NDArray[np.int32]:
    """Pairs of faces whose cosine may be `least` or more, each once, shape (m, 2), the smaller row first.

    Parameters
    ----------
    rows, others : NDArray[np.int64]
        Ascending, without a face in common; without `others`, the pairs among `rows`.
    """
    found = [np.empty((0, 2), np.int32)]
    against = rows if others is None else others
    there = np.ascontiguousarray(vectors[against])
    for start in range(0, len(rows), _BLOCK):
        first = start if others is None else 0
        some = rows[start : start + _BLOCK]
        i, j = np.nonzero(vectors[some] @ there[first:].T >= least - _MARGIN)
        pairs = np.column_stack([some[i], against[first:][j]]).astype(np.int32)
        found.append(np.sort(pairs[pairs[:, 0] < pairs[:, 1]] if others is None else pairs, axis=1))
    return np.concatenate(found)


class _Linkage:
    """Groups while they grow, each known by the place of its first face."""

    def __init__(self, rows: NDArray[np.int64], vectors: NDArray[np.float32], law: Law) -> None:
        self.law = law
        self.sums = np.rint(vectors[rows].astype(np.float64) * _GRID) / _GRID
        self.members: dict[int, list[int]] = {place: [place] for place in range(len(rows))}
        self.near: dict[int, set[int]] = {place: set() for place in range(len(rows))}
        self.apart: dict[int, set[int]] = {place: set() for place in range(len(rows))}
        self.photos: dict[int, set[int]] = {}
        self.version = dict.fromkeys(range(len(rows)), 0)
        self.queue: list[tuple[float, int, int, int, int]] = []

    def ask(self, a: int, others: list[int]) -> None:
        """Queue a group with those of some others that it may join."""
        if not others:
            return
        product = self.sums[others] @ self.sums[a]
        n = len(self.members[a])
        for b, total in zip(others, product.tolist(), strict=True):
            m = len(self.members[b])
            score = total / (n * m) - self.law.needed(n + m)
            if score >= 0.0:
                x, y = (a, b) if a < b else (b, a)
                heapq.heappush(self.queue, (-score, x, y, self.version[x], self.version[y]))

    def join_all(self) -> None:
        """Join groups until none are alike enough."""
        while self.queue:
            _, a, b, of_a, of_b = heapq.heappop(self.queue)
            if a in self.members and b in self.members and (self.version[a], self.version[b]) == (of_a, of_b):
                self._join(a, b)

    def _join(self, a: int, b: int) -> None:
        if self.photos[a] & self.photos[b] or b in self.apart[a]:
            return
        self.members[a] += self.members.pop(b)
        self.sums[a] += self.sums[b]
        self.photos[a] |= self.photos.pop(b)
        self.version[a] += 1
        for known in (self.near, self.apart):
            for other in known.pop(b):
                known[other].discard(b)
                if other != a:
                    known[other].add(a)
                    known[a].add(other)
        self.ask(a, sorted(self.near[a]))


def alike_groups(
    vectors: NDArray[np.float32],
    pairs: NDArray[np.int32],
    photo: NDArray[np.int32],
    apart: NDArray[np.int32],
    law: Law,
) -> tuple[Group, ...]:
    """Groups of two and more, the largest first.

    Parameters
    ----------
    pairs : NDArray[np.int32]
        Shape (m, 2): all pairs of the faces in question with a cosine of `law.least` or more, each once.
    photo : NDArray[np.int32]
        Shape (n_faces,), -1 where it is unknown: two faces of one photo are two people.
    apart : NDArray[np.int32]
        Shape (k, 2): faces that are two people.
    """
    rows = np.unique(pairs).astype(np.int64)
    linkage = _Linkage(rows, vectors, law)
    linkage.photos = {place: {number} - {-1} for place, number in enumerate(photo[rows].tolist())}
    _note(linkage.near, rows, pairs)
    _note(linkage.apart, rows, apart[np.isin(apart, rows).all(axis=1)])
    for a, others in linkage.near.items():
        linkage.ask(a, [b for b in others if b > a])
    linkage.join_all()
    found = [_group(rows[members], vectors) for members in linkage.members.values() if len(members) > 1]
    return tuple(sorted(found, key=lambda group: (-len(group.rows), -group.likeness.mean(), group.rows.min())))


def _note(known: Mapping[int, set[int]], rows: NDArray[np.int64], pairs: NDArray[np.int32]) -> None:
    for a, b in np.searchsorted(rows, pairs).tolist():
        known[a].add(b)
        known[b].add(a)


def _group(rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> Group:
    own = vectors[rows].astype(np.float64)
    # The last digits depend on the order of the rows.
    likeness = ((own @ own.sum(axis=0) - (own * own).sum(axis=1)) / (len(rows) - 1)).round(6)
    order = np.lexsort((rows, -likeness))
    return Group(rows[order], likeness[order])
