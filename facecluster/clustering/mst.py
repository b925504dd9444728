"""The exact spanning tree of mutual reachability: a tree of the neighbour lists, proved or corrected everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.arrays import report
from facecluster.clustering.forest import canonical_order, components, kruskal, list_edges
from facecluster.clustering.known import KnownTree
from facecluster.clustering.measure import pair_distances
from facecluster.clustering.neighbours import Neighbours
from facecluster.clustering.second_pass import Edges, SecondPass
from facecluster.clustering.tiles import Progress, TileRunner

# Pairs kept before a Kruskal thins them out. Only exact ties come near it.
_MOST_PENDING_EDGES = 4_000_000
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class SpanningTree:
    """Edges of the minimum spanning tree by (weight, distance, ranks), each of shape (n_faces - 1,).

    Attributes
    ----------
    u, v : NDArray[np.int32]
        The caller's rows; u comes first in byte order.
    weight : NDArray[np.float64]
        Mutual reachability, max(core(u), core(v), distance), ascending.
    distance : NDArray[np.float64]
        Plain distance, in [0, 2].
    """

    u: NDArray[np.int32]
    v: NDArray[np.int32]
    weight: NDArray[np.float64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.u)


@dataclass(frozen=True)
class Certificate:
    """What proves that a spanning tree is the exact one.

    Attributes
    ----------
    edges_by_lists : int
        Edges of the tree that are in the neighbour lists.
    edges_by_second_pass : int
        Edges that only the second pass found.
    edges_of_copies : int
        Edges that hang a copy on the first of its identical rows.
    pairs_examined : int
        Pairs of distinct rows outside the lists that the second pass measured: work, not a result, the only
        number here that may depend on tiles and kernels.
    pairs : int
        All pairs of distinct rows; every one was compared once.
    """

    edges_by_lists: int
    edges_by_second_pass: int
    edges_of_copies: int
    pairs_examined: int
    pairs: int


def spanning_tree(
    rows: NDArray[np.float32],
    neighbours: Neighbours,
    core_distances: NDArray[np.float64],
    runner: TileRunner,
    progress: Progress | None,
    known: KnownTree | None = None,
) -> tuple[SpanningTree, Certificate]:
    """Minimum spanning tree of mutual reachability, and its certificate.

    Parameters
    ----------
    rows : NDArray[np.float32]
        Shape (n_faces, dimension), checked unit rows.
    neighbours : Neighbours
        Exact lists of these rows.
    core_distances : NDArray[np.float64]
        Shape (n_faces,), no larger than the last distance of each list.
    runner, progress
        See `find_neighbours`.
    known : KnownTree or None
        What is known of the pairs of some of the faces.

    Returns
    -------
    tuple[SpanningTree, Certificate]
        The tree is unique: its edges are totally ordered.
    """
    layout = neighbours.layout
    first = layout.first
    key = layout.rank[first]
    core = core_distances[first]
    m = len(first)
    examined = 0
    tree = Edges(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    if m > 1:
        report(progress, 0.05, "Joining neighbours")
        tree = _tree_of_lists(rows, neighbours, core, key, known)
        report(progress, 0.3, "Proving the tree")
        is_fresh = known.is_fresh if known else np.ones(m, np.bool_)
        second = SecondPass(rows, first, core, neighbours.bounds, neighbours.tile_width, tree, is_fresh, runner)
        pending: list[Edges] = []
        for found, n_pairs in second.run(progress):
            examined += n_pairs
            pending.append(found)
            if sum(map(len, pending)) > _MOST_PENDING_EDGES:
                tree, pending = _least_tree(tree.plus(*pending), key), []
        tree = _least_tree(tree.plus(*pending), key)
    certificate = _certificate(tree, neighbours, examined)
    report(progress, 0.95, "Writing the tree")
    return _unfolded(tree, neighbours, core), certificate


def _least_tree(edges: Edges, key: NDArray[np.int32]) -> Edges:
    order = canonical_order(edges.weight, edges.distance, key[edges.a], key[edges.b])
    return edges.take(kruskal(np.arange(len(key)), edges.a, edges.b, order))


def _edges(
    rows: NDArray[np.float32],
    first: NDArray[np.int32],
    core: NDArray[np.float64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
) -> Edges:
    distance = pair_distances(rows, first[a], first[b])
    return Edges(a, b, np.maximum(np.maximum(core[a], core[b]), distance), distance)


def _tree_of_lists(
    rows: NDArray[np.float32],
    neighbours: Neighbours,
    core: NDArray[np.float64],
    key: NDArray[np.int32],
    known: KnownTree | None,
) -> Edges:
    """A spanning tree whose paths bound every other pair: least over the lists, then joined somehow."""
    first = neighbours.layout.first
    m = len(first)
    a, b, place = list_edges(neighbours.near)
    distance = neighbours.apart.ravel()[place]
    if known:
        is_new = known.is_changed[a] | known.is_changed[b]
        a = np.concatenate([known.a, a[is_new]])
        b = np.concatenate([known.b, b[is_new]])
        distance = np.concatenate([known.distance, distance[is_new]])
    edges = Edges(a, b, np.maximum(np.maximum(core[a], core[b]), distance), distance)
    parent = np.arange(m)
    order = canonical_order(edges.weight, edges.distance, key[a], key[b])
    tree = edges.take(kruskal(parent, a, b, order))
    while len(tree) < m - 1:
        joins = _joins(rows, first, core, components(parent))
        order = canonical_order(joins.weight, joins.distance, key[joins.a], key[joins.b])
        tree = tree.plus(joins.take(kruskal(parent, joins.a, joins.b, order)))
    return tree.take(np.argsort(tree.weight, kind="stable"))


def _joins(
    rows: NDArray[np.float32], first: NDArray[np.int32], core: NDArray[np.float64], component: NDArray[np.int64]
) -> Edges:
    """An edge from the densest row of each component to the nearest such row of another.

    Any edges would do that make the tree whole (at least half of the components go each time); near ones
    between dense rows exclude more later.
    """
    order = np.lexsort((core, component))
    is_densest = np.ones(len(order), np.bool_)
    is_densest[1:] = component[order][1:] != component[order][:-1]
    densest = order[is_densest]
    chosen = rows[first[densest]]
    nearest = np.empty(len(densest), np.int64)
    for start in range(0, len(densest), _ROWS_AT_ONCE):
        products = chosen[start : start + _ROWS_AT_ONCE] @ chosen.T
        own = np.arange(len(products))
        products[own, start + own] = -np.inf
        nearest[start : start + len(products)] = products.argmax(axis=1)
    return _edges(rows, first, core, densest, densest[nearest])


def _certificate(tree: Edges, neighbours: Neighbours, examined: int) -> Certificate:
    m = neighbours.layout.n_distinct
    by_lists = int(_count_listed(neighbours.near, tree.a, tree.b))
    return Certificate(
        edges_by_lists=by_lists,
        edges_by_second_pass=len(tree) - by_lists,
        edges_of_copies=neighbours.n_faces - m,
        pairs_examined=examined,
        pairs=m * (m - 1) // 2,
    )


@njit(nogil=True, cache=True)
def _count_listed(near, a, b):  # type: ignore[no-untyped-def]
    """How many of the pairs are in the list of either side."""
    count = 0
    for x in range(len(a)):
        is_listed = False
        for y in range(near.shape[1]):
            is_listed |= near[a[x], y] == b[x] or near[b[x], y] == a[x]
        count += is_listed
    return count


def _unfolded(tree: Edges, neighbours: Neighbours, core: NDArray[np.float64]) -> SpanningTree:
    """The tree of all rows: each further copy hangs on the first by an edge of distance 0."""
    layout = neighbours.layout
    rank = layout.rank
    first = layout.first
    is_copy = np.ones(len(layout.copies), np.bool_)
    is_copy[layout.copies_from[:-1]] = False
    copies = layout.copies[is_copy]
    at = layout.position[copies]
    a = np.concatenate([first[tree.a], first[at]])
    b = np.concatenate([first[tree.b], copies])
    # A copy is as dense as the first, and at distance 0 from it: it costs their common core distance.
    weight = np.concatenate([tree.weight, core[at]])
    distance = np.concatenate([tree.distance, np.zeros(len(copies))])
    order = canonical_order(weight, distance, rank[a], rank[b])
    a, b = a[order], b[order]
    swap = rank[a] > rank[b]
    return SpanningTree(
        np.where(swap, b, a).astype(np.int32),
        np.where(swap, a, b).astype(np.int32),
        weight[order],
        distance[order],
    )
