"""Groups of left-over faces that are alike among themselves: exact average linkage, most alike first.

The likeness of two groups is the mean cosine over all pairs of a face of one and a face of the other. They become one
while it is at least `Law.needed` of their sizes, the pair that is most above it first. A mean is never above the most
alike pair, so pairs below `Law.least` can be left out without changing anything.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def mean(self) -> float:
        """Mean cosine over all pairs of its faces."""
        return float(self.likeness.mean())


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
    if not len(rows):
        return found[0]  # and nothing is copied to be compared with
    against = rows if others is None else others
    there = np.ascontiguousarray(vectors[against])
    for start in range(0, len(rows), _BLOCK):
        first = start if others is None else 0
        some = rows[start : start + _BLOCK]
        i, j = np.nonzero(vectors[some] @ there[first:].T >= least - _MARGIN)
        pairs = np.column_stack([some[i], against[first:][j]]).astype(np.int32)
        found.append(np.sort(pairs[pairs[:, 0] < pairs[:, 1]] if others is None else pairs, axis=1))
    return np.concatenate(found)


def listed_pairs(
    vectors: NDArray[np.float32],
    least: float,
    rows: NDArray[np.int64],
    listed: NDArray[np.int64],
    near: NDArray[np.int64],
    away: NDArray[np.float64],
) -> NDArray[np.int32]:
    """The same pairs as `alike_pairs` among `rows`, most of them read from neighbour lists.

    A list whose last face is farther than `least` allows holds every face that is not. Faces that nobody took in lie
    apart, so few of them have to be compared: of 46,000 among 100,000 half a second instead of twenty.

    Parameters
    ----------
    rows, listed : NDArray[np.int64]
        Ascending: the faces in question, and those that have a list.
    near : NDArray[np.int64]
        Shape (n_listed, k): rows of the k faces among `listed` that are nearest to each.
    away : NDArray[np.float64]
        Shape (n_listed, k): their distances, ascending.
    """
    reach = np.sqrt(2.0 - 2.0 * (least - _MARGIN))
    is_asked = np.zeros(len(vectors), np.bool_)
    is_asked[rows] = True
    is_whole = np.zeros(len(vectors), np.bool_)
    is_whole[listed[(away[:, -1:] > reach).all(axis=1)]] = True  # of one face alone, the empty list is
    has_list = np.zeros(len(vectors), np.bool_)
    has_list[listed] = True
    at, turn = np.nonzero((away <= reach) & is_asked[listed][:, None] & is_asked[near])
    found = [np.sort(np.column_stack([listed[at], near[at, turn]]), axis=1).astype(np.int32)]
    cut, without = rows[has_list[rows] & ~is_whole[rows]], rows[~has_list[rows]]
    found += [alike_pairs(vectors, least, cut), alike_pairs(vectors, least, without)]
    found.append(alike_pairs(vectors, least, without, rows[has_list[rows]]))
    return np.unique(np.concatenate(found), axis=0)


class _Linkage:
    """Groups while they grow, each known by the place of its first face; most faces never join, and are in no set."""

    def __init__(
        self,
        rows: NDArray[np.int64],
        pairs: NDArray[np.int32],
        apart: NDArray[np.int32],
        photo: NDArray[np.int32],
        vectors: NDArray[np.float32],
        law: Law,
    ) -> None:
        self.law = law
        self.sums = np.rint(vectors[rows].astype(np.float64) * _GRID) / _GRID
        self.members: dict[int, list[int]] = {}  # of what is more than one face
        self.gone: set[int] = set()
        self.version: Counter[int] = Counter()
        self._photo = photo[rows].tolist()
        self._photos: dict[int, set[int]] = {}
        beside = np.searchsorted(rows, pairs)
        self._near = _Sets(len(rows), beside)
        self._apart = _Sets(len(rows), np.searchsorted(rows, apart))
        self.queue = self._first(beside)

    def _first(self, pairs: NDArray[np.int64]) -> list[tuple[float, int, int, int, int]]:
        """All pairs of single faces that may join."""
        found: list[tuple[float, int, int, int, int]] = []
        for start in range(0, len(pairs), _BLOCK):
            a, b = pairs[start : start + _BLOCK].T
            score = np.einsum("ij,ij->i", self.sums[a], self.sums[b]) - self.law.needed(2)
            at = np.flatnonzero(score >= 0.0)
            found += (
                (-s, x, y, 0, 0) for s, x, y in zip(score[at].tolist(), a[at].tolist(), b[at].tolist(), strict=True)
            )
        heapq.heapify(found)
        return found

    def size(self, a: int) -> int:
        """Faces of a group."""
        return len(self.members.get(a, (a,)))

    def photos(self, a: int) -> set[int]:
        """Photos of a group's faces, as far as they are known."""
        return self._photos.setdefault(a, {self._photo[a]} - {-1})

    def ask(self, a: int, others: list[int]) -> None:
        """Queue a group with those of some others that it may join."""
        if not others:
            return
        product = self.sums[others] @ self.sums[a]
        n = self.size(a)
        for b, total in zip(others, product.tolist(), strict=True):
            m = self.size(b)
            score = total / (n * m) - self.law.needed(n + m)
            if score >= 0.0:
                x, y = (a, b) if a < b else (b, a)
                heapq.heappush(self.queue, (-score, x, y, self.version[x], self.version[y]))

    def join_all(self) -> None:
        """Join groups until none are alike enough."""
        while self.queue:
            _, a, b, of_a, of_b = heapq.heappop(self.queue)
            is_there = a not in self.gone and b not in self.gone
            if is_there and (self.version[a], self.version[b]) == (of_a, of_b):
                self._join(a, b)

    def _join(self, a: int, b: int) -> None:
        if self.photos(a) & self.photos(b) or b in self._apart[a]:
            return
        self.members.setdefault(a, [a]).extend(self.members.pop(b, [b]))
        self.gone.add(b)
        self.sums[a] += self.sums[b]
        self.photos(a).update(self._photos.pop(b))
        self.version[a] += 1
        for known in (self._near, self._apart):
            known.move(b, a)
        self.ask(a, sorted(self._near[a]))


class _Sets:
    """Who is beside whom, from pairs; the set of one is made when it is asked for."""

    def __init__(self, n: int, pairs: NDArray[np.int64]) -> None:
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        self._end = np.searchsorted(both[:, 0], np.arange(n + 1)).tolist()
        self._others = both[:, 1]
        self._made: dict[int, set[int]] = {}

    def __getitem__(self, a: int) -> set[int]:
        found = self._made.get(a)
        if found is None:
            found = self._made[a] = set(self._others[self._end[a] : self._end[a + 1]].tolist())
        return found

    def move(self, b: int, a: int) -> None:
        """Whoever was beside b is beside a now."""
        for other in self[b]:
            self[other].discard(b)
            if other != a:
                self[other].add(a)
                self[a].add(other)
        del self._made[b]


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
    linkage = _Linkage(rows, pairs, apart[np.isin(apart, rows).all(axis=1)], photo, vectors, law)
    linkage.join_all()
    members = [rows[some] for some in linkage.members.values()]
    found = [_group(some, vectors) for some in members if len(some) > 2]
    found += _groups_of_two(np.array([some for some in members if len(some) == 2], np.int64).reshape(-1, 2), vectors)
    return tuple(sorted(found, key=lambda group: (-len(group.rows), -group.mean, group.rows.min())))


def _group(rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> Group:
    own = vectors[rows].astype(np.float64)
    # The last digits depend on the order of the rows.
    likeness = ((own @ own.sum(axis=0) - (own * own).sum(axis=1)) / (len(rows) - 1)).round(6)
    order = np.lexsort((rows, -likeness))
    return Group(rows[order], likeness[order])


def _groups_of_two(rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> list[Group]:
    """Most groups are pairs: all of them at once, shape (n, 2)."""
    rows = np.sort(rows, axis=1)
    own = vectors[rows].astype(np.float64)
    likeness = np.einsum("ij,ij->i", own[:, 0], own[:, 1]).round(6)
    return [Group(pair, both) for pair, both in zip(rows, np.column_stack([likeness, likeness]), strict=True)]
