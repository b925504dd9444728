"""Many partitions of the same faces beside each other: what each of them holds, and how far it is from the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.arrays import report
from facecluster.clustering.extract import NOISE, Method, partitions
from facecluster.clustering.hierarchy import Hierarchy
from facecluster.clustering.tiles import Progress
from facecluster.errors import InputError

_Cut = tuple[NDArray[np.int32], int]  # labels, and a number above all of them


@dataclass(frozen=True, eq=False)
class Sweep:
    """What the partitions of a grid of settings hold. Hierarchies, minimum sizes and epsilons, in this order.

    Attributes
    ----------
    people, placed, largest, impossible_pairs : NDArray[np.int64]
        Shape (n_hierarchies, n_sizes, n_epsilons): clusters; faces in any; faces in the largest; pairs of faces of
        one photo in one cluster.
    by_hierarchy, by_size, by_epsilon : NDArray[np.float64]
        Share of the faces in people that one step along an axis puts into other company, see `moved`; one entry
        fewer along that axis.
    """

    people: NDArray[np.int64]
    placed: NDArray[np.int64]
    largest: NDArray[np.int64]
    impossible_pairs: NDArray[np.int64]
    by_hierarchy: NDArray[np.float64]
    by_size: NDArray[np.float64]
    by_epsilon: NDArray[np.float64]

    @classmethod
    def empty(cls, n_hierarchies: int, n_sizes: int, n_epsilons: int) -> Sweep:
        """All zero."""
        a, b, c = n_hierarchies, n_sizes, n_epsilons
        people, placed, largest, pairs = (np.zeros((a, b, c), np.int64) for _ in range(4))
        steps = (np.zeros((max(a - 1, 0), b, c)), np.zeros((a, max(b - 1, 0), c)), np.zeros((a, b, max(c - 1, 0))))
        return cls(people, placed, largest, pairs, *steps)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything by its name, to be saved."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def sweep(
    hierarchies: Sequence[Hierarchy],
    sizes: Sequence[int],
    epsilons: Sequence[float],
    method: Method,
    photo: NDArray[np.int32],
    progress: Progress | None = None,
) -> Sweep:
    """Every partition of a grid of settings, counted and compared with the next along each axis.

    Parameters
    ----------
    hierarchies : sequence of Hierarchy
        Of the same faces, one for each `min_samples`.
    sizes, epsilons : sequence
        Ascending.
    photo : NDArray[np.int32]
        Shape (n_faces,): equal numbers are one photo, -1 unknown.

    Returns
    -------
    Sweep
        It does not depend on the order of the faces.
    """
    if any(h.n_faces != len(photo) for h in hierarchies):
        raise InputError(
            f"There are {len(photo):,} photo numbers, but a hierarchy of another number of faces. Nothing was counted. "
            "Give one photo number (or -1) for each face."
        )
    found = Sweep.empty(len(hierarchies), len(sizes), len(epsilons))
    rows, starts = _shared_photos(photo)
    # Of every hierarchy its partitions of the size before: no more than these are compared with, and at a million
    # faces each takes 4 MB.
    before: list[list[_Cut]] = [[] for _ in hierarchies]
    for b, size in enumerate(sizes):
        for a, hierarchy in enumerate(hierarchies):
            done = (b * len(hierarchies) + a) / (len(sizes) * len(hierarchies))
            report(progress, done, f"At least {size} faces a person")
            cuts = list(partitions(hierarchy, size, method, epsilons))
            _count(found, a, b, cuts, rows, starts)
            found.by_epsilon[a, b] = [moved(*pair) for pair in pairwise(cuts)]
            if b:
                found.by_size[a, b - 1] = [moved(*pair) for pair in zip(before[a], cuts, strict=True)]
            before[a] = cuts
            if a:
                found.by_hierarchy[a - 1, b] = [moved(*pair) for pair in zip(before[a - 1], cuts, strict=True)]
    return found


def _count(
    found: Sweep, a: int, b: int, cuts: Sequence[_Cut], rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> None:
    """One row of the grid; where a partition is the one before, so are its numbers."""
    tables = (found.people, found.placed, found.largest, found.impossible_pairs)
    for c, (labels, most) in enumerate(cuts):
        if c and labels is cuts[c - 1][0]:
            for table in tables:
                table[a, b, c] = table[a, b, c - 1]
            continue
        sizes = _sizes(labels, most)
        numbers = (np.count_nonzero(sizes), sizes.sum(), sizes.max(initial=0), _pairs(labels, most, rows, starts))
        for table, number in zip(tables, numbers, strict=True):
            table[a, b, c] = number


def moved(before: _Cut, after: _Cut) -> float:
    """Share of the faces in people that are in other company in one partition than in the other.

    A cluster stays itself where it and one of the other partition are each more than half of the other: what
    they share keeps its company. No ties can arise, and either partition may come first. Faces that are noise in
    both do not count: with them, a setting that finds next to nobody would look steady.

    Parameters
    ----------
    before, after : tuple
        Labels of shape (n_faces,), `NOISE` for none, and a number above all of them.

    Returns
    -------
    float
        In [0, 1]; 0 where no face is in a person.
    """
    (labels, most), (others, most_others) = before, after
    if labels is others:
        return 0.0
    kept, placed = _kept(labels, most, others, most_others)
    return 1.0 - float(kept) / placed if placed else 0.0


def _shared_photos(photo: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows grouped by photo, for photos of two faces or more, and where each group starts, with the end of all."""
    rows = np.argsort(photo, kind="stable")
    rows = rows[photo[rows] >= 0]
    _, counts = np.unique(photo[rows], return_counts=True)
    several = counts > 1
    return rows[np.repeat(several, counts)], np.concatenate([[0], np.cumsum(counts[several])]).astype(np.int64)


@njit(nogil=True, cache=True)
def _sizes(labels, most):  # type: ignore[no-untyped-def]
    sizes = np.zeros(most, np.int64)
    for label in labels:
        if label != NOISE:
            sizes[label] += 1
    return sizes


@njit(nogil=True, cache=True)
def _pairs(labels, most, rows, starts):  # type: ignore[no-untyped-def]
    """Pairs of one group with one label, each group counted in one pass however many faces it has."""
    count = np.zeros(most, np.int64)
    total = 0
    for group in range(len(starts) - 1):
        for x in range(starts[group], starts[group + 1]):
            label = labels[rows[x]]
            if label != NOISE:
                total += count[label]
                count[label] += 1
        for x in range(starts[group], starts[group + 1]):
            if labels[rows[x]] != NOISE:
                count[labels[rows[x]]] = 0
    return total


@njit(nogil=True, cache=True)
def _kept(before, n_before, after, n_after):  # type: ignore[no-untyped-def]
    """Faces in clusters that are each other's majority, and faces in a cluster of either partition.

    A majority is found by a vote in which different labels cancel out: if any label has one, it remains.
    """
    size = np.zeros(n_before, np.int32)
    votes = np.zeros(n_before, np.int32)
    candidate = np.full(n_before, NOISE, np.int32)
    other_size = np.zeros(n_after, np.int32)
    kept = 0
    placed = 0
    for face in range(len(before)):
        x = before[face]
        y = after[face]
        placed += x != NOISE or y != NOISE
        if y != NOISE:
            other_size[y] += 1
        if x == NOISE:
            continue
        size[x] += 1
        if votes[x] == 0:
            candidate[x] = y
            votes[x] = 1
        elif candidate[x] == y:
            votes[x] += 1
        else:
            votes[x] -= 1
    common = np.zeros(n_before, np.int32)
    for face in range(len(before)):
        x = before[face]
        if x != NOISE and after[face] != NOISE and candidate[x] == after[face]:
            common[x] += 1
    for x in range(n_before):
        y = candidate[x]
        if y != NOISE and 2 * common[x] > size[x] and 2 * common[x] > other_size[y]:
            kept += common[x]
    return kept, placed
