"""Groups of left-over faces that are alike among themselves: exact average linkage, most alike first.

The likeness of two groups is the mean cosine over all pairs of a face of one and a face of the other. They become one
while it is at least `Law.needed` of their sizes, the pair that is most above it first. A mean is never above the most
alike pair, so pairs below `Law.least` can be left out without changing anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import linkage
from facecluster.clustering.exact_linkage import join_exactly, likeness_within
from facecluster.clustering.rowfacts import RowFacts, Told, told

# Rows of a product at a time: 2,048 x 20,000 floats are 160 MB.
_BLOCK = 2048
# A float32 product of unit rows, and the rounding of `alike`, together are off by less than this.
_MARGIN = 2.0**-12


@dataclass(frozen=True)
class Law:
    """How alike two groups have to be: `large` where both are large, and more by `small` over the faces of both."""

    large: float
    small: float

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
        return float(sum(self.likeness.tolist())) / len(self.rows)

    @cached_property
    def turn(self) -> tuple[int, float, int]:
        """The smaller, the earlier it is told: the largest groups first, then the most alike."""
        return -len(self.rows), -self.mean, min(self.rows.tolist())


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
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), unit rows.
    pairs : NDArray[np.int32]
        Shape (m, 2): all pairs of the faces in question with a cosine of `law.least` or more, each once.
    photo : NDArray[np.int32]
        Shape (n_faces,), -1 where it is unknown: two faces of one photo are two people.
    apart : NDArray[np.int32]
        Shape (k, 2): faces that are two people.
    """
    takes_part = np.zeros(len(vectors), np.bool_)
    takes_part[pairs] = True
    rows = np.flatnonzero(takes_part)
    if not len(rows):
        return ()
    place = np.cumsum(takes_part, dtype=np.int32) - 1
    facts = RowFacts(different=place[apart[takes_part[apart].all(axis=1)]], photo=photo[rows])
    root = _linked(vectors[rows], place[pairs], told(facts, len(rows)), law)
    is_grouped = np.bincount(root, minlength=len(rows))[root] > 1
    rows, root = rows[is_grouped], root[is_grouped]
    order = np.argsort(root, kind="stable")
    rows, starts = rows[order], np.flatnonzero(np.diff(root[order], prepend=-1))
    # The last digits depend on the order of the rows.
    likeness = likeness_within(vectors, rows, np.append(starts, len(rows))).round(6)
    order = np.lexsort((rows, -likeness, root[order]))
    found = map(Group, np.split(rows[order], starts[1:]), np.split(likeness[order], starts[1:]))
    return tuple(sorted(found, key=attrgetter("turn"))) if len(rows) else ()


def _linked(vectors: NDArray[np.float32], pairs: NDArray[np.int32], known: Told, law: Law) -> NDArray[np.int32]:
    """One row that stands for the group of each row."""
    n = len(vectors)
    nodes, sums = np.empty(n, linkage.NODE), np.empty((n // 2, vectors.shape[1]))
    alone = np.full(n, -1, np.int32)
    parent: NDArray[np.int32] = linkage.gather(alone, 0, np.arange(n, dtype=np.int32), known.pin, nodes)
    join_exactly(vectors, parent, nodes, sums, pairs, known, law.large, law.small)
    return parent
