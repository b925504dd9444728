"""The second, visible layer: mends HDBSCAN's clusters, and says why for every face that it moves.

HDBSCAN loses people with few photos, takes strangers for people, and knows nothing of photos. From its clusters:

1. A cluster that puts together what cannot be one person (two faces of one photo, or what a curator told apart) is
   taken apart.
2. Whoever is far from the rest of a cluster on average goes out of it; a cluster that would lose more than half is
   taken apart.
3. What is loose now is joined by average linkage, most alike first: to the clusters, and among itself to new people.
   Two of HDBSCAN's clusters never join each other, nor do groups that a photo or a curator keeps apart.
4. Groups below the minimum size are noise.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering import apart, linkage
from facecluster.clustering.extract import NOISE, Clustering, numbered
from facecluster.clustering.hierarchy import Hierarchy
from facecluster.clustering.layout import byte_order
from facecluster.clustering.measure import pair_distances
from facecluster.clustering.rowfacts import RowFacts, Rows, Told, by_cluster, ranks, told, with_links
from facecluster.errors import InputError

Change = Literal["attached", "taken out", "split off", "moved", "in new people"]
CHANGES: tuple[Change, ...] = get_args(Change)

# What a curator reads at a face, by what was done to it: in general, and where its cluster was taken apart because of a
# photo, or because of what was said.
REASONS: Mapping[Change, tuple[str, str, str]] = MappingProxyType(
    {
        "attached": ("close to the rest of this person",) * 3,
        "taken out": (
            "unlike the rest of the group it was in",
            "its group held two faces of one photo, who are two people",
            "its group held faces that you told apart",
        ),
        "split off": (
            "more like these faces than like the rest of the group it was in",
            "its group held two faces of one photo, who are two people",
            "its group held faces that you told apart",
        ),
        "moved": ("more like this person than like the rest of the group it was in",) * 3,
        "in new people": ("like the other faces of this new person",) * 3,
    }
)
FOLLOWS = "follows what you said about this face"

# Loose faces that lie this close (mutual reachability) start as one group, or those that lie closer where these cannot
# be one person. On real vectors 999 of 1,000 pairs at 0.95, a cosine of 0.55, are one person; without this, a large
# cluster that is taken apart costs more than all the rest.
_DENSE = (0.95, 0.85, 0.75)

# Groups are compared where two of their faces are this alike: in what is one person, the most alike are more so than
# the average. At 0.29 the people are the same, but for one in 1,000, in twice the time.
_NEAR = 0.35

# Below this, a second thread costs more than it saves.
_FEWEST_ROWS_TO_SHARE = 4096
_ROWS_TO_PROVE = 64


@dataclass(frozen=True, eq=False)
class _Trace:
    """What a refinement went through, for the next one of the same hierarchy.

    Attributes
    ----------
    core : Rows
        One row for the cluster of each, -1 where there was none, or where it was taken apart for what it held.
    is_out, is_gone : NDArray[np.bool_]
        Rows that were too far from the rest of their cluster, and rows of clusters that lost more than half by it.
    group, is_core : Rows, NDArray[np.bool_]
        One row for the group of each before any joined; whether that was a cluster of HDBSCAN.
    part : Rows
        Number of the part of the graph of near pairs that each row is in: nothing joins across parts.
    root : Rows
        One row for the group of each in the end.
    """

    known: Told
    core: Rows
    is_out: NDArray[np.bool_]
    is_gone: NDArray[np.bool_]
    group: Rows
    is_core: NDArray[np.bool_]
    part: Rows
    root: Rows


@dataclass(frozen=True, eq=False)
class Refinement:
    """Labels after the second layer, and why they differ from the first.

    A group goes on as the cluster of HDBSCAN with most faces in it, among those whose largest part it is; other groups
    are new. Faces of that cluster are not changed, whatever its number is now.

    Attributes
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,), as in `Clustering`.
    changed : NDArray[np.int32]
        Shape (n_changed,), ascending: the rows that are no longer with HDBSCAN's cluster.
    reasons : tuple[str, ...]
        One reason for each row of `changed`.
    counts : Mapping[Change, int]
        How many faces were changed in which way.
    kept_together : float
        Of the faces that HDBSCAN put into clusters, the share that is still with the largest part of their cluster.
    trace : object
        What `refine` goes on from, some megabytes; None where it is not kept.
    """

    labels: NDArray[np.int32]
    changed: NDArray[np.int32]
    reasons: tuple[str, ...]
    counts: Mapping[Change, int]
    kept_together: float
    trace: _Trace | None = field(default=None, repr=False)


def refine(
    hierarchy: Hierarchy,
    clustering: Clustering,
    vectors: ArrayLike,
    facts: RowFacts | None = None,
    earlier: Refinement | None = None,
) -> Refinement:
    """Mend the clusters of HDBSCAN, and say why for each face that is moved.

    Parameters
    ----------
    hierarchy : Hierarchy
        Of the faces; its neighbour lists and its tree say who is near to whom.
    clustering : Clustering
        What `extract` made of it; its `min_cluster_size` holds here too.
    vectors : ArrayLike
        Shape (n_faces, dimension), the float32 unit rows that the hierarchy was built of.
    facts : RowFacts or None
        What is known about the faces; nothing where left out.
    earlier : Refinement or None
        One of the same hierarchy, by other clusters or other facts: where both are the same, it is not reckoned anew.
        It changes nothing but the time.

    Returns
    -------
    Refinement
        Faces pinned to different persons never share a cluster, those pinned to one do; likewise `different` and
        `same` faces, faces that are not somebody and faces pinned to that person, and faces of one photo. The partition
        does not depend on the order of the rows, nor on processor or threads. Copies of one row that only the facts
        tell apart are taken in the order in which they stand: in a library, that of their ids.

    Raises
    ------
    InputError
        If vectors, clustering or facts do not belong to the hierarchy's faces.
    """
    rows = _checked(hierarchy, clustering, vectors)
    known = told(facts or RowFacts(), len(rows))
    if len(rows) < 2:
        return Refinement(clustering.labels.copy(), np.empty(0, np.int32), (), dict.fromkeys(CHANGES, 0), 1.0)
    by_rank = _by_rank(hierarchy, rows)
    start = with_links(clustering.labels, known, rows, by_rank)
    n_clusters = clustering.n_clusters
    why = _torn(start, known, n_clusters)
    trace = earlier.trace if earlier is not None else None
    found = _taken_apart(hierarchy, rows, by_rank, start, why, known, trace)
    trace = _joined(hierarchy, rows, by_rank, found, known, trace)
    return _told_why(clustering, trace, by_rank, why)


_RANKED: WeakKeyDictionary[Hierarchy, Rows] = WeakKeyDictionary()


def _by_rank(hierarchy: Hierarchy, rows: NDArray[np.float32]) -> Rows:
    """Rows in byte order, which settles ties; kept with the hierarchy, because no slider changes it."""
    found = _RANKED.get(hierarchy)
    if found is None:
        found = _RANKED[hierarchy] = byte_order(rows).astype(np.int32)
    return found


_NEAR_PAIRS: WeakKeyDictionary[Hierarchy, tuple[NDArray[np.int32], NDArray[np.float64]]] = WeakKeyDictionary()


def _near_pairs(hierarchy: Hierarchy) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Pairs of rows that lists or tree join up to `_NEAR`, and their distances; kept like the ranks."""
    found = _NEAR_PAIRS.get(hierarchy)
    if found is None:
        mst, knn = hierarchy.mst, hierarchy.knn
        farthest = float(np.sqrt(2.0 - 2.0 * _NEAR))
        found = linkage.near_pairs(knn.indices, knn.distances, mst.u, mst.v, mst.distance, farthest)
        _NEAR_PAIRS[hierarchy] = found
    return found


def _checked(hierarchy: Hierarchy, clustering: Clustering, vectors: ArrayLike) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(vectors, np.float32).view()
    rows.flags.writeable = False  # as the file of a library is: numba would compile each kernel twice
    n = hierarchy.n_faces
    fits = rows.ndim == 2 and len(rows) == n == len(clustering.labels)
    if fits and n > 1:
        # Some of the tree's distances, measured again: the whole would take longer than the rest of this.
        some = np.linspace(0, n - 2, min(n - 1, _ROWS_TO_PROVE)).astype(np.int64)
        mst = hierarchy.mst
        fits = np.allclose(pair_distances(rows, mst.u[some], mst.v[some]), mst.distance[some], 0.0, 1e-6)
    if not fits:
        raise InputError(
            f"The hierarchy ({n:,} faces) was made from other faces than these {len(rows):,} rows and "
            f"{len(clustering.labels):,} labels. Nothing was refined. Hand over the vectors it was built of."
        )
    return rows


# --- 1. and 2. what comes loose -------------------------------------------------------------------------------------


def _torn(label: Rows, known: Told, n_clusters: int) -> NDArray[np.int8]:
    """For each cluster 1 where it holds two faces of one photo, 2 where it holds what was told apart, else 0."""
    is_torn = np.zeros(n_clusters, np.bool_)
    apart.mark_shared_photos(label, known, is_torn)
    why = is_torn.astype(np.int8)
    a, b = label[known.apart[:, 0]], label[known.apart[:, 1]]
    why[a[(a == b) & (a >= 0)]] = 2
    pinned = np.flatnonzero((known.pin >= 0) & (label >= 0))
    low, high = np.full(n_clusters, np.iinfo(np.int32).max, np.int32), np.full(n_clusters, -1, np.int32)
    np.minimum.at(low, label[pinned], known.pin[pinned])
    np.maximum.at(high, label[pinned], known.pin[pinned])
    why[low < high] = 2
    return why


@dataclass(frozen=True, eq=False)
class _Apart:
    """What there is before anything joins.

    Attributes
    ----------
    group : Rows
        Group of each row, -1 for single faces: clusters, then parts, then linked faces.
    sums, is_summed : NDArray
        Of each group, and which of them are there by now.
    core, is_out, is_gone
        As in a `_Trace`.
    """

    group: Rows
    sums: NDArray[np.float64]
    is_summed: NDArray[np.bool_]
    n_clusters: int
    core: Rows
    is_out: NDArray[np.bool_]
    is_gone: NDArray[np.bool_]


def _taken_apart(
    hierarchy: Hierarchy,
    rows: NDArray[np.float32],
    by_rank: Rows,
    start: Rows,
    why: NDArray[np.int8],
    known: Told,
    trace: _Trace | None,
) -> _Apart:
    """What comes loose starts as the dense parts that it holds, as long as these could be people."""
    n_clusters, mst = len(why), hierarchy.mst
    label = np.where((start >= 0) & (_at(why, start) == 0), start, -1).astype(np.int32)
    order, starts = by_cluster(label, by_rank, n_clusters)
    first = np.where(np.diff(starts) > 0, np.append(order, -1)[starts[:-1]], -1)
    core = np.append(first, -1)[label].astype(np.int32)
    again, is_out = np.ones(n_clusters, np.bool_), np.zeros(len(rows), np.bool_)
    is_gone = np.zeros(n_clusters, np.bool_)
    if trace is not None:
        again = _at_other_rows(core, label, known, trace, n_clusters)
        is_out |= trace.is_out & (label >= 0) & ~_at(again, label)
        is_gone[label[trace.is_gone & (label >= 0)]] = True
        is_gone &= ~again
    core_sums = _without_far(rows, order, starts, again, known, is_out, is_gone)
    is_loose = (start < 0) | (_at(why, start) > 0) | _at(is_gone, start).astype(np.bool_)
    origin = np.where(is_loose & (known.link < 0), np.where(start < 0, n_clusters, start), -1).astype(np.int32)
    part = np.full(len(rows), -1, np.int32)
    n_parts = 0
    for farthest in _DENSE:
        found, n_found = apart.parts(origin, mst.u, mst.v, mst.weight, farthest)
        is_whole = (found >= 0) & (_at(_torn(found, known, n_found), found) == 0)
        part[is_whole] = n_parts + found[is_whole]
        origin[is_whole] = -1
        n_parts += n_found
    is_out_of_part = np.zeros(len(rows), np.bool_)
    all_parts, is_part_gone = np.ones(n_parts, np.bool_), np.zeros(n_parts, np.bool_)
    part_sums = _without_far(rows, *by_cluster(part, by_rank, n_parts), all_parts, known, is_out_of_part, is_part_gone)
    in_part = np.where((part >= 0) & ~is_out_of_part, n_clusters + part, -1)
    group = np.where((label >= 0) & ~is_out, label, in_part).astype(np.int32)
    alone = group < 0
    group[alone & (known.link >= 0)] = n_clusters + n_parts + known.link[alone & (known.link >= 0)]
    n_links = int(known.link.max(initial=-1)) + 1
    # Room for one more sum each time that two single faces meet; memory that is not touched costs nothing.
    sums = np.empty((n_clusters + n_parts + n_links + int((group < 0).sum()) // 2 + 1, rows.shape[1]))
    sums[:n_clusters][again], sums[n_clusters : n_clusters + n_parts] = core_sums[again], part_sums
    is_summed = np.concatenate([again, all_parts, np.zeros(n_links, np.bool_)])
    is_gone = _at(is_gone, label)
    return _Apart(group, sums, is_summed, n_clusters, core, is_out, is_gone)


def _at_other_rows(core: Rows, label: Rows, known: Told, trace: _Trace, n_clusters: int) -> NDArray[np.bool_]:
    """Clusters that hold other rows than before, or rows that were held fast by what was said, or are now."""
    differs = (core != trace.core) | ((known.link >= 0) != (trace.known.link >= 0))
    is_touched = np.zeros(len(core) + 1, np.bool_)
    for held in (core, trace.core):
        is_touched[held[differs]] = True
    is_touched[-1] = False  # of those in no cluster
    again = np.zeros(n_clusters, np.bool_)
    again[label[(is_touched[core] | is_touched[trace.core]) & (label >= 0)]] = True
    return again


def _without_far(
    rows: NDArray[np.float32],
    order: Rows,
    starts: NDArray[np.int64],
    again: NDArray[np.bool_],
    known: Told,
    is_out: NDArray[np.bool_],
    is_gone: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Marks who is far from the rest, and clusters that are gone altogether, where it is to be looked at `again`.

    Returns the sums of what stays, of these clusters only.
    """
    sums = np.empty((len(again), rows.shape[1]))
    is_fixed = known.link >= 0
    clusters = np.flatnonzero(again)
    done = np.append(0, np.cumsum(np.diff(starts)[clusters]))
    n_threads = min(2, os.cpu_count() or 1) if done[-1] >= _FEWEST_ROWS_TO_SHARE else 1
    cuts = np.searchsorted(done, done[-1] * np.arange(1, n_threads) // n_threads)

    def take_out(some: NDArray[np.int64]) -> None:
        apart.take_out(rows, order, starts, some, is_fixed, is_out, is_gone, sums)

    if n_threads == 1:
        take_out(clusters)
    else:
        with ThreadPoolExecutor(n_threads, "refine") as pool:
            list(pool.map(take_out, np.split(clusters, cuts)))
    return sums


def _at(of_cluster: NDArray[Any], label: Rows) -> NDArray[Any]:
    """Of each row what holds for its cluster; 0 for noise."""
    return np.append(of_cluster, np.zeros(1, of_cluster.dtype))[label]


# --- 3. and 4. what belongs together --------------------------------------------------------------------------------


def _joined(
    hierarchy: Hierarchy,
    rows: NDArray[np.float32],
    by_rank: Rows,
    found: _Apart,
    known: Told,
    trace: _Trace | None,
) -> _Trace:
    """Join what belongs together, in those parts of the graph of near pairs where that may be otherwise than before."""
    group, sums, n_clusters = found.group, found.sums, found.n_clusters
    nodes = np.empty(len(rows), linkage.NODE)
    before: Rows = linkage.gather(group, n_clusters, by_rank, known.pin, nodes)
    core = np.where(group < n_clusters, group, -1)
    pairs, gaps = _near_pairs(hierarchy)
    a, b = pairs[:, 0], pairs[:, 1]
    # Two of HDBSCAN's clusters never join, and nine of ten pairs lie within one group.
    is_open = (before[a] != before[b]) & ((core[a] < 0) | (core[b] < 0))
    pairs, gaps = pairs[is_open], gaps[is_open]
    n, ends = len(rows), before[pairs]
    _, part = connected_components(coo_array((np.ones(len(ends), np.bool_), (ends[:, 0], ends[:, 1])), (n, n)), False)
    now = _Trace(known, found.core, found.is_out, found.is_gone, before, core >= 0, part[before], before.copy())
    if trace is None:
        again = np.ones(n, np.bool_)
    else:
        again = _may_differ(now, trace)
        is_there = again[pairs[:, 0]]
        pairs, gaps = pairs[is_there], gaps[is_there]
    is_wanted = ~found.is_summed
    is_wanted[is_wanted] = np.isin(np.flatnonzero(is_wanted), group[again])
    apart.add_up(rows, group, is_wanted, sums)
    linkage.join_alike(rows, by_rank, now.root, nodes, sums, len(found.is_summed), pairs, gaps, known)
    if trace is not None:
        now.root[~again] = trace.root[~again]
    return now


def _may_differ(now: _Trace, before: _Trace) -> NDArray[np.bool_]:
    """Rows in parts of the graph of which anything is told otherwise, now or before."""
    n = len(now.root)
    a, b = now.known, before.known
    differs: NDArray[np.bool_] = (now.group != before.group) | (now.is_core != before.is_core)
    for one, other in ((a.pin, b.pin), (a.link, b.link), (a.photo, b.photo)):
        differs |= one != other
    said_now, said_before = (one.apart[:, 0].astype(np.int64) * n + one.apart[:, 1] for one in (a, b))
    said = np.setxor1d(said_now, said_before)
    differs[said // n], differs[said % n] = True, True
    for part in (before.part, now.part):
        is_touched = np.zeros(n, np.bool_)
        is_touched[part[differs]] = True
        differs = is_touched[part]
    return differs


def _told_why(clustering: Clustering, trace: _Trace, by_rank: Rows, torn: NDArray[np.int8]) -> Refinement:
    """Numbers the groups, and says of each face that left HDBSCAN's cluster what was done and why."""
    root, known = trace.root, trace.known
    n, was = len(root), clustering.labels
    is_noise = np.bincount(root, minlength=n)[root] < clustering.min_cluster_size
    root = np.where(is_noise, NOISE, root).astype(np.int32)
    labels = numbered(root, np.zeros(n, np.float32), n).labels
    order, starts = by_cluster(was, by_rank, clustering.n_clusters)
    origin, n_kept = _origins(order, starts, ranks(by_rank), labels, int(labels.max(initial=-1)) + 1)
    now = np.where(labels >= 0, np.append(origin, NOISE)[labels], NOISE)
    changed = np.flatnonzero((now != was) | ((labels >= 0) & (now < 0))).astype(np.int32)
    before, after = was[changed] >= 0, now[changed]
    is_in = labels[changed] >= 0
    kind = np.select([~is_in, before & (after < 0), before, after >= 0], [1, 2, 3, 0], 4)
    why = np.where(before, _at(torn, was[changed]), 0)
    texts = np.array([text for change in CHANGES for text in REASONS[change]] + [FOLLOWS], dtype=object)
    code = np.where(is_in & (known.link[changed] >= 0), len(texts) - 1, 3 * kind + why)
    counts = Counter(kind.tolist())
    return Refinement(
        labels,
        changed,
        tuple(texts[code].tolist()),
        {change: counts[x] for x, change in enumerate(CHANGES)},
        n_kept / len(order) if len(order) else 1.0,
        trace,
    )


@njit(nogil=True, cache=True)
def _origins(order, starts, rank, label, n_groups):  # type: ignore[no-untyped-def]
    """For each group the cluster it goes on as, -1 for none; how many faces are with their cluster's largest part."""
    origin = np.full(n_groups, -1, np.int32)
    most = np.zeros(n_groups, np.int64)
    first = np.zeros(n_groups, np.int64)
    count = np.zeros(n_groups, np.int64)
    n_kept = 0
    for c in range(len(starts) - 1):
        members = order[starts[c] : starts[c + 1]]
        best = -1
        for row in members:
            if label[row] >= 0:
                count[label[row]] += 1
        for row in members:
            g = label[row]
            if g >= 0 and (best < 0 or count[g] > count[best]):
                best = g
        if best >= 0:
            n_kept += count[best]
            place = rank[members[0]]
            if count[best] > most[best] or (count[best] == most[best] and place < first[best]):
                origin[best], most[best], first[best] = c, count[best], place
        for row in members:
            if label[row] >= 0:
                count[label[row]] = 0
    return origin, n_kept
