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
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

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
    """

    labels: NDArray[np.int32]
    changed: NDArray[np.int32]
    reasons: tuple[str, ...]
    counts: Mapping[Change, int]
    kept_together: float


def refine(
    hierarchy: Hierarchy, clustering: Clustering, vectors: ArrayLike, facts: RowFacts | None = None
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
    group, sums = _taken_apart(hierarchy, rows, by_rank, start, why, known)
    root = _joined(hierarchy, rows, by_rank, group, sums, n_clusters, known)
    return _told_why(clustering, root, by_rank, why, known)


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
    rows = np.ascontiguousarray(vectors, np.float32)
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


def _taken_apart(
    hierarchy: Hierarchy,
    rows: NDArray[np.float32],
    by_rank: Rows,
    start: Rows,
    why: NDArray[np.int8],
    known: Told,
) -> tuple[Rows, NDArray[np.float64]]:
    """Group of each row, -1 for single faces, and the sums of groups: clusters, then parts, then linked faces.

    What comes loose starts as the dense parts that it holds, as long as these could be people.
    """
    n_clusters, mst = len(why), hierarchy.mst
    core = np.where((start >= 0) & (_at(why, start) == 0), start, -1).astype(np.int32)
    core, is_gone, core_sums = _without_far(rows, core, by_rank, n_clusters, known)
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
    part, _, part_sums = _without_far(rows, part, by_rank, n_parts, known)
    group = np.where(core >= 0, core, np.where(part >= 0, n_clusters + part, -1)).astype(np.int32)
    alone = group < 0
    group[alone & (known.link >= 0)] = n_clusters + n_parts + known.link[alone & (known.link >= 0)]
    n_links = int(known.link.max(initial=-1)) + 1
    # Room for one more sum each time that two single faces meet; memory that is not touched costs nothing.
    sums = np.empty((n_clusters + n_parts + n_links + int((group < 0).sum()) // 2 + 1, rows.shape[1]))
    sums[:n_clusters], sums[n_clusters : n_clusters + n_parts] = core_sums, part_sums
    return group, sums


def _without_far(
    rows: NDArray[np.float32], label: Rows, by_rank: Rows, n_clusters: int, known: Told
) -> tuple[Rows, NDArray[np.bool_], NDArray[np.float64]]:
    """Labels without those who are far from the rest, which clusters are gone altogether, and sums of what stays."""
    order, starts = by_cluster(label, by_rank, n_clusters)
    sums = np.empty((n_clusters, rows.shape[1]))
    is_out, is_gone = np.zeros(len(rows), np.bool_), np.zeros(n_clusters, np.bool_)
    is_fixed = known.link >= 0
    n_threads = min(2, os.cpu_count() or 1) if len(order) >= _FEWEST_ROWS_TO_SHARE else 1
    cuts = np.searchsorted(starts, len(order) * np.arange(1, n_threads) // n_threads)
    ends = [0, *cuts.tolist(), n_clusters]

    def take_out(x: int) -> None:
        apart.take_out(rows, order, starts, ends[x], ends[x + 1], is_fixed, is_out, is_gone, sums)

    if n_threads == 1:
        take_out(0)
    else:
        with ThreadPoolExecutor(n_threads, "refine") as pool:
            list(pool.map(take_out, range(n_threads)))
    return np.where(is_out, -1, label).astype(np.int32), is_gone, sums


def _at(of_cluster: NDArray[Any], label: Rows) -> NDArray[Any]:
    """Of each row what holds for its cluster; 0 for noise."""
    return np.append(of_cluster, np.zeros(1, of_cluster.dtype))[label]


# --- 3. and 4. what belongs together --------------------------------------------------------------------------------


def _joined(
    hierarchy: Hierarchy,
    rows: NDArray[np.float32],
    by_rank: Rows,
    group: Rows,
    sums: NDArray[np.float64],
    n_clusters: int,
    known: Told,
) -> Rows:
    """One row that stands for the group of each row."""
    n_links = int(known.link.max(initial=-1)) + 1
    first_link = len(sums) - (int((group < 0).sum()) // 2 + 1) - n_links
    nodes = np.empty(len(rows), linkage.NODE)
    parent: Rows = linkage.gather(rows, group, n_clusters, first_link, by_rank, known.pin, sums, nodes)
    core = np.where(group < n_clusters, group, -1)
    pairs, gaps = _near_pairs(hierarchy)
    a, b = pairs[:, 0], pairs[:, 1]
    # Two of HDBSCAN's clusters never join, and nine of ten pairs lie within one group.
    is_open = (parent[a] != parent[b]) & ((core[a] < 0) | (core[b] < 0))
    pairs, gaps = pairs[is_open], gaps[is_open]
    linkage.join_alike(rows, by_rank, parent, nodes, sums, first_link + n_links, pairs, gaps, known)
    return parent


def _told_why(clustering: Clustering, root: Rows, by_rank: Rows, torn: NDArray[np.int8], known: Told) -> Refinement:
    """Numbers the groups, and says of each face that left HDBSCAN's cluster what was done and why."""
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
