"""How many faces each person has in each cluster, as sorted columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.integer[Any]]
Whole = TypeVar("Whole", bound=np.integer[Any])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Clusters with people, each pair once: by cluster, then by person."""

    keys: NDArray[np.int64]  # cluster * width + person
    width: int  # one more than there are people, so that nobody (-1) has a key of no pair

    @cached_property
    def cluster(self) -> NDArray[np.int64]:
        """Cluster of each pair."""
        return self.keys // self.width

    @cached_property
    def person(self) -> NDArray[np.int64]:
        """Person number of each pair."""
        return self.keys % self.width

    def where(self, cluster: Numbers, person: Numbers) -> NDArray[np.int64]:
        """The place of each cluster and person among the pairs, -1 for none."""
        wanted = cluster * np.int64(self.width) + person
        at = np.searchsorted(self.keys, wanted)
        return np.where(np.append(self.keys, np.iinfo(np.int64).max)[at] == wanted, at, -1)

    def lone(self, n_clusters: int) -> NDArray[np.int64]:
        """The only person of each cluster, -1 where there are several or none."""
        found = np.full(n_clusters, -1)
        found[self.cluster] = self.person
        found[np.bincount(self.cluster, minlength=n_clusters) > 1] = -1
        return found


@dataclass(frozen=True, eq=False)
class Tally(Pairs):
    """How many faces each person has in each cluster, and the first row of them."""

    n: NDArray[np.int64]
    first: NDArray[np.int64]
    of_row: NDArray[np.int32]  # shape (n_faces,): place of the pair that counts it, -1 for none

    @cached_property
    def home(self) -> NDArray[np.int64]:
        """The cluster with most faces of each person number, of equals the smallest; -1 for none, and at the end."""
        order = np.lexsort((self.cluster, -self.n, self.person))
        people, at = np.unique(self.person[order], return_index=True)
        found = np.full(self.width, -1)
        found[people] = self.cluster[order[at]]
        return found

    def n_of(self, cluster: Numbers, person: Numbers) -> NDArray[np.int64]:
        """Faces that each person has in each cluster, pair by pair."""
        return np.append(self.n, 0)[self.where(cluster, person)]


def pairs_of(cluster: Numbers, person: Numbers, n_people: int) -> Pairs:
    """Each cluster with each person next to it; person numbers are below `n_people`."""
    width = n_people + 1
    return Pairs(distinct(cluster * np.int64(width) + person), width)


def count(label: NDArray[np.int32], owner: NDArray[np.int32], n_people: int) -> Tally:
    """The tally of all rows that have a cluster and an owner; person numbers are below `n_people`."""
    width = n_people + 1
    rows = np.flatnonzero((label >= 0) & (owner >= 0))
    keys = label[rows] * np.int64(width) + owner[rows]
    order = stable_order(keys)
    rows, keys = rows[order], keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    n = np.diff(starts, append=len(keys))
    of_row = np.full(len(label), -1, np.int32)
    of_row[rows] = np.repeat(np.arange(len(starts)), n)
    return Tally(keys[starts], width, n, rows[starts], of_row)


def distinct(values: NDArray[Whole]) -> NDArray[Whole]:
    """As `np.unique`, which puts whole numbers into a hash table: 25 ms for 50,000 of them, and sorting takes 1."""
    found = np.sort(values)
    some: NDArray[Whole] = found[np.diff(found, prepend=found[:1] - 1) != 0]
    return some


def stable_order(keys: NDArray[np.int64] | NDArray[np.int32]) -> NDArray[np.int64]:
    """As `np.argsort(keys, kind="stable")`, for keys that leave room for a row number beside them in 63 bits.

    numpy sorts plain numbers with vector instructions: 3 ms for 100,000 keys, for which a stable argsort takes 10.
    """
    n = max(len(keys), 1)
    packed = keys.astype(np.int64) * n + np.arange(len(keys))
    packed.sort()
    packed %= n
    return packed
