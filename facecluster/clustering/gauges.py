"""Numbers beside the sliders: what a partition contradicts, and how far it is from another."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering.extract import NOISE
from facecluster.clustering.rowfacts import RowFacts
from facecluster.errors import InputError

Labels = NDArray[np.int32]


def noise_share(labels: Labels) -> float:
    """Share of the faces that are in no cluster, in [0, 1]; 0 where there are no faces."""
    return float(np.count_nonzero(labels == NOISE)) / len(labels) if len(labels) else 0.0


def impossible_pairs(labels: Labels, photo: NDArray[np.int32]) -> int:
    """Pairs of faces of one photo in one cluster: two people, unless it is a collage or a mirror.

    Parameters
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,), NOISE for none.
    photo : NDArray[np.int32]
        Shape (n_faces,): equal numbers are one photo, -1 unknown.

    Returns
    -------
    int
        Pairs; noise and unknown photos make none.
    """
    _, counts = np.unique(_of_photo_in_cluster(labels, photo)[1], return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def impossible_pair_rows(labels: Labels, photo: NDArray[np.int32]) -> NDArray[np.int32]:
    """The impossible pairs as rows.

    Parameters
    ----------
    labels, photo : NDArray[np.int32]
        As in `impossible_pairs`.

    Returns
    -------
    NDArray[np.int32]
        Shape (n_pairs, 2), the smaller row first, in ascending order.
    """
    rows, starts, counts = _shared(labels, photo)
    pairs: NDArray[np.int32] = _pairs_of_groups(rows, starts, counts)
    in_order: NDArray[np.int32] = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return in_order


def _shared(labels: Labels, photo: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows grouped by (cluster, photo): the rows, and where each group of two or more starts and how many it has."""
    rows, key = _of_photo_in_cluster(labels, photo)
    order = np.argsort(key, kind="stable")
    rows, key = rows[order], key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    counts = np.diff(np.append(starts, len(key)))
    several = counts > 1
    return rows, starts[several], counts[several]


def _of_photo_in_cluster(labels: Labels, photo: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are in a cluster and of a known photo, and a number that is equal for those of one (cluster, photo)."""
    if len(labels) != len(photo):
        raise InputError(
            f"There are {len(labels):,} labels but {len(photo):,} photo numbers. Nothing was counted. "
            "Give one photo number (or -1) for each face."
        )
    rows = np.flatnonzero((labels != NOISE) & (photo >= 0))
    return rows, _key(labels[rows], photo[rows])


@njit(nogil=True, cache=True)
def _pairs_of_groups(rows, starts, counts):  # type: ignore[no-untyped-def]
    total = 0
    for count in counts:
        total += count * (count - 1) // 2
    pairs = np.empty((total, 2), np.int32)
    filled = 0
    for group in range(len(starts)):
        stop = starts[group] + counts[group]
        for x in range(starts[group], stop):
            for y in range(x + 1, stop):
                pairs[filled, 0] = rows[x]
                pairs[filled, 1] = rows[y]
                filled += 1
    return pairs


def contradicted_pins(labels: Labels, pins: NDArray[np.int32]) -> NDArray[np.int32]:
    """Pinned faces that the clusters put with somebody else, or nowhere.

    A cluster counts as the person with the most pins in it (of equals, the one with the smallest number). A
    pin is contradicted when its face is noise, or in a cluster that counts as another person.

    Parameters
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,), NOISE for none.
    pins : NDArray[np.int32]
        Shape (m, 2): row, number of the person; at most one pin for each row.

    Returns
    -------
    NDArray[np.int32]
        Shape (n_contradicted,), rows in ascending order; its length is the gauge.
    """
    if not len(pins):
        return np.empty(0, np.int32)
    cluster, person = labels[pins[:, 0]], pins[:, 1]
    pairs, at, votes = np.unique(np.column_stack([cluster, person]), axis=0, return_inverse=True, return_counts=True)
    order = np.lexsort((pairs[:, 1], -votes, pairs[:, 0]))
    is_first = np.append(True, np.diff(pairs[order, 0]) != 0)
    is_owner = np.zeros(len(pairs), np.bool_)
    is_owner[order[is_first]] = True
    contradicted: NDArray[np.int32] = np.sort(pins[(cluster == NOISE) | ~is_owner[at.ravel()], 0])
    return contradicted


def contradicted_not_persons(labels: Labels, facts: RowFacts) -> NDArray[np.int32]:
    """Which "this is not Anna" the clusters contradict: the face shares its cluster with a face pinned to Anna.

    Parameters
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,), NOISE for none.
    facts : RowFacts
        Its `pins` and `not_person` are read.

    Returns
    -------
    NDArray[np.int32]
        Shape (n_contradicted, 2): the rows of `facts.not_person` concerned; its length is the gauge.
    """
    said = facts.not_person
    pinned = labels[facts.pins[:, 0]]
    where = labels[said[:, 0]]
    owned = _key(pinned, facts.pins[:, 1])[pinned != NOISE]
    contradicted: NDArray[np.int32] = said[(where != NOISE) & np.isin(_key(where, said[:, 1]), owned)]
    return contradicted


def _key(cluster: Labels, person: NDArray[np.int32]) -> NDArray[np.int64]:
    return (cluster.astype(np.int64) << 32) | person


def churn(before: Labels, after: Labels) -> float:
    """Share of the faces that changed company between two partitions of the same rows.

    Clusters are matched one to one so that as many faces as possible stay in matched clusters
    (`scipy.optimize.linear_sum_assignment`). Those faces are kept, and so is noise that stays noise; churn is
    one minus the share kept.

    Parameters
    ----------
    before, after : NDArray[np.int32]
        Shape (n_faces,), NOISE for none; the numbers of the clusters do not matter.

    Returns
    -------
    float
        In [0, 1]; 0 where there are no faces.
    """
    if len(before) != len(after):
        raise InputError(
            f"One partition has {len(before):,} faces and the other {len(after):,}. Nothing was compared. "
            "Compare labels of the same faces."
        )
    if not len(before):
        return 0.0
    in_both = (before != NOISE) & (after != NOISE)
    kept = np.count_nonzero((before == NOISE) & (after == NOISE)) + _matched(before[in_both], after[in_both])
    return 1.0 - float(kept) / len(before)


def _matched(before: Labels, after: Labels) -> int:
    """Most faces that a one-to-one matching of clusters keeps together."""
    if not len(before):
        return 0
    rows, cols = int(before.max()) + 1, int(after.max()) + 1
    key, overlap = np.unique(before.astype(np.int64) * cols + after, return_counts=True)
    row, col = np.divmod(key, cols)
    # Clusters that share no face need no common matching: nearly every part is one cluster on either side.
    shape = (rows + cols, rows + cols)
    _, part = connected_components(coo_array((np.ones(len(key)), (row, rows + col)), shape), directed=False)
    part = part[row]
    n_parts = int(part.max()) + 1
    best = np.zeros(n_parts, np.int64)
    np.maximum.at(best, part, overlap)
    # A part with one cluster on either side keeps its largest overlap; the others are matched.
    for small in np.flatnonzero(np.minimum(_distinct(part, row, n_parts), _distinct(part, col, n_parts)) > 1):
        at = part == small
        _, r = np.unique(row[at], return_inverse=True)
        _, c = np.unique(col[at], return_inverse=True)
        table = np.zeros((r.max() + 1, c.max() + 1), np.int64)
        table[r, c] = overlap[at]
        best[small] = table[linear_sum_assignment(table, maximize=True)].sum()
    return int(best.sum())


def _distinct(part: NDArray[np.int64], cluster: NDArray[np.int64], n_parts: int) -> NDArray[np.int64]:
    """Distinct clusters in each part, shape (n_parts,)."""
    _, first = np.unique(cluster, return_index=True)
    return np.bincount(part[first], minlength=n_parts)
