"""What a curator said about faces, in row numbers, and what follows for who may be in one group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering.alike import are_alike
from facecluster.errors import InputError

Rows = NDArray[np.int32]


def _no_pairs() -> Rows:
    return np.empty((0, 2), np.int32)


@dataclass(frozen=True, eq=False)
class RowFacts:
    """What a curator said about faces, in row numbers.

    Attributes
    ----------
    pins : NDArray[np.int32]
        Shape (m, 2): row, number of the person it is.
    not_person : NDArray[np.int32]
        Shape (m, 2): row, number of a person it is not.
    same, different : NDArray[np.int32]
        Shape (m, 2): two rows that are, or are not, one person.
    photo : NDArray[np.int32]
        Shape (n_faces,): equal numbers are one photo, -1 unknown; empty where no photo is known.
    """

    pins: Rows = field(default_factory=_no_pairs)
    not_person: Rows = field(default_factory=_no_pairs)
    same: Rows = field(default_factory=_no_pairs)
    different: Rows = field(default_factory=_no_pairs)
    photo: Rows = field(default_factory=lambda: np.empty(0, np.int32))


class Told(NamedTuple):
    """The facts as the kernels take them.

    Attributes
    ----------
    link : NDArray[np.int32]
        Shape (n_faces,): faces with the same number from 0 are one person, -1 for faces of which nothing is known.
    pin : NDArray[np.int32]
        Shape (n_faces,): person number, -1 for none.
    apart : NDArray[np.int32]
        Shape (m, 2): rows that are not one person; none of them linked.
    apart_rows, apart_starts : NDArray
        Whom row x is kept apart from: `apart_rows[apart_starts[x]:apart_starts[x + 1]]`.
    photo : NDArray[np.int32]
        Shape (n_faces,): photos numbered without large gaps, -1 unknown.
    photo_rows, photo_starts : NDArray
        The rows of photo p: `photo_rows[photo_starts[p]:photo_starts[p + 1]]`.
    """

    link: Rows
    pin: Rows
    apart: Rows
    apart_rows: Rows
    apart_starts: NDArray[np.int64]
    photo: Rows
    photo_rows: Rows
    photo_starts: NDArray[np.int64]


def told(facts: RowFacts, n: int) -> Told:
    """Turn the facts about `n` faces into links and what is kept apart.

    Faces pinned to one person are linked, and so are `same` faces; where `same` contradicts something else that was
    said, it counts for nothing. "Not Anna" keeps a face apart from the faces pinned to Anna.

    Raises
    ------
    InputError
        If there are photo numbers, but not one for each face.
    """
    if len(facts.photo) not in (0, n):
        raise InputError(
            f"There are {n:,} faces but {len(facts.photo):,} photo numbers. Nothing was refined. "
            "Give one photo number (or -1) for each face, or none at all."
        )
    pin = np.full(n, -1, np.int32)
    pin[facts.pins[:, 0]] = facts.pins[:, 1]
    apart = _apart(facts, pin)
    link = _links(facts, pin, apart)
    apart = apart[(link[apart[:, 0]] < 0) | (link[apart[:, 0]] != link[apart[:, 1]])]
    apart_rows, apart_starts = _grouped(np.concatenate([apart[:, 0], apart[:, 1]]), n)
    photo = _dense(facts.photo) if len(facts.photo) else np.full(n, -1, np.int32)
    photo_rows, photo_starts = _grouped(photo, int(photo.max(initial=-1)) + 1)
    others = np.concatenate([apart[:, 1], apart[:, 0]])[apart_rows]
    return Told(link, pin, apart, others.astype(np.int32), apart_starts, photo, photo_rows, photo_starts)


def _apart(facts: RowFacts, pin: Rows) -> Rows:
    """Rows that are not one person: "different", and "not Anna" with one face pinned to Anna."""
    anchors = np.full(int(max(pin.max(initial=-1), facts.not_person[:, 1].max(initial=-1))) + 1, -1, np.int32)
    rows, people = facts.pins.T
    anchors[people[::-1]] = rows[::-1]
    row, person = facts.not_person.T
    anchor = anchors[person]
    counts = (anchor >= 0) & (pin[row] != person)
    ruled_out = np.column_stack([row[counts], anchor[counts]])
    return np.concatenate([facts.different, ruled_out]).astype(np.int32).reshape(-1, 2)


def _links(facts: RowFacts, pin: Rows, apart: Rows) -> Rows:
    if not len(facts.same):
        # Persons by number, so that nothing needs to be searched.
        return pin.copy()
    n = len(pin)
    # One more node for each person, to which all of the person's faces are tied.
    pinned = np.flatnonzero(pin >= 0)
    ends = np.concatenate([facts.same, np.column_stack([pinned, n + pin[pinned]])])
    size = n + int(pin.max(initial=-1)) + 1
    _, part = connected_components(coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (size, size)), False)
    wrong = np.zeros(int(part.max()) + 1, np.bool_)
    wrong[part[apart[:, 0]][part[apart[:, 0]] == part[apart[:, 1]]]] = True
    people = np.unique(pin[pinned])
    parts, counts = np.unique(part[n + people], return_counts=True)
    wrong[parts[counts > 1]] = True
    is_linked = np.zeros(n, np.bool_)
    is_linked[ends[:, 0]] = True
    is_linked[facts.same[:, 1]] = True
    link = np.where(is_linked & ~wrong[part[:n]], part[:n], -1)
    by_pin = (pin >= 0) & wrong[part[:n]]
    link[by_pin] = len(wrong) + pin[by_pin]
    found, dense = np.unique(link, return_inverse=True)
    return (dense - int(found[0] < 0)).astype(np.int32)


def _grouped(group: NDArray[Any], n_groups: int) -> tuple[Rows, NDArray[np.int64]]:
    """Places by group, and where each group starts; those without a group (-1) are left out."""
    some = np.flatnonzero(group >= 0)
    order: Rows = some[np.argsort(group[some], kind="stable")].astype(np.int32)
    return order, np.searchsorted(group[order], np.arange(n_groups + 1)).astype(np.int64)


def _dense(photo: Rows) -> Rows:
    if photo.max(initial=-1) < 4 * len(photo):
        return np.maximum(photo, -1).astype(np.int32)
    found, dense = np.unique(np.maximum(photo, -1), return_inverse=True)
    return (dense - int(found[0] < 0)).astype(np.int32)


def with_links(labels: Rows, known: Told, rows: NDArray[np.float32], by_rank: Rows) -> Rows:
    """Labels in which linked faces are in one cluster: the one that holds most of them.

    Another cluster follows them where more than half of it is linked to them, or where the two are alike.
    """
    start = labels.copy()
    linked = np.flatnonzero(known.link >= 0)
    held = linked[labels[linked] >= 0]
    if not len(held):
        return start
    n_clusters = int(labels.max()) + 1
    order, starts = by_cluster(labels, by_rank, n_clusters)
    key, n_held = np.unique(known.link[held].astype(np.int64) * n_clusters + labels[held], return_counts=True)
    link, cluster = np.divmod(key, n_clusters)
    into = np.arange(n_clusters)
    # Equal clusters by the rank of their first face: their numbers depend on the order of the rows.
    place = ranks(by_rank)[order[starts[cluster]]]
    at = np.lexsort((place, starts[cluster] - starts[cluster + 1], -n_held, link))
    home = np.full(int(known.link.max()) + 1, -1, np.int64)
    for x in at.tolist():
        own, c = int(link[x]), int(cluster[x])
        if home[own] < 0:
            home[own] = c
            continue
        a, b = _resolved(into, int(home[own])), _resolved(into, c)
        members = order[starts[c] : starts[c + 1]]
        if a != b and (2 * n_held[x] > len(members) or are_alike(rows, order[starts[a] : starts[a + 1]], members)):
            into[b] = a
    into = np.array([_resolved(into, c) for c in range(n_clusters)], np.int32)
    start[labels >= 0] = into[labels[labels >= 0]]
    is_housed = home[known.link[linked]] >= 0
    start[linked[is_housed]] = into[home[known.link[linked[is_housed]]]]
    return start


def _resolved(into: NDArray[np.int64], cluster: int) -> int:
    while into[cluster] != cluster:
        cluster = int(into[cluster])
    return cluster


def by_cluster(label: Rows, by_rank: Rows, n_clusters: int) -> tuple[Rows, NDArray[np.int64]]:
    """Rows by cluster, by rank within each, and where each cluster starts."""
    starts = np.append(0, np.cumsum(np.bincount(label[label >= 0], minlength=n_clusters)))
    order: Rows = _placed(label, by_rank, starts[:-1].copy(), int(starts[-1]))
    return order, starts


# Counted, not compared: of 100,000 rows 2 ms instead of 12, three times at each move of a slider.
@njit(nogil=True, cache=True)
def _placed(label, by_rank, free, n):  # type: ignore[no-untyped-def]
    order = np.empty(n, np.int32)
    for row in by_rank:
        if label[row] >= 0:
            order[free[label[row]]] = row
            free[label[row]] += 1
    return order


def ranks(by_rank: Rows) -> Rows:
    """Place of each row, of the rows in order."""
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank), dtype=by_rank.dtype)
    return rank
