"""Kernels on edges: canonical order, Kruskal, and the largest weight on a path of a spanning tree."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def canonical_order(
    weight: NDArray[np.float64],
    distance: NDArray[np.float64],
    key_a: NDArray[np.int32],
    key_b: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Order of edges by (weight, distance, smaller key, larger key): total, so that equal weights are settled.

    Equal mutual reachabilities are normal: inside a dense region an edge costs the larger core distance,
    whatever the pair.
    """
    order = np.argsort(weight)
    by_weight = weight[order]
    tied = np.zeros(len(order), np.bool_)
    np.equal(by_weight[1:], by_weight[:-1], out=tied[1:])
    tied[:-1] |= tied[1:]
    # Only the ties need the other keys; they keep their places, because runs of equal weight stay together.
    some = order[tied]
    low = np.minimum(key_a[some], key_b[some])
    high = np.maximum(key_a[some], key_b[some])
    order[tied] = some[np.lexsort((high, low, distance[some], weight[some]))]
    return order


@njit(nogil=True, cache=True)
def find_root(parent, x):  # type: ignore[no-untyped-def]
    """Root of x, halving the path to it."""
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@njit(nogil=True, cache=True)
def kruskal(parent, a, b, order):  # type: ignore[no-untyped-def]
    """Edges of `order` that join two components of `parent`, which is changed; shape (n_chosen,)."""
    size = np.ones(len(parent), np.int64)
    chosen = np.empty(len(parent), np.int64)
    n_chosen = 0
    for edge in order:
        x = find_root(parent, a[edge])
        y = find_root(parent, b[edge])
        if x == y:
            continue
        if size[x] < size[y]:
            x, y = y, x
        parent[y] = x
        size[x] += size[y]
        chosen[n_chosen] = edge
        n_chosen += 1
    return chosen[:n_chosen]


@njit(nogil=True, cache=True)
def components(parent):  # type: ignore[no-untyped-def]
    """Root of every node, shape (n,)."""
    out = np.empty(len(parent), np.int64)
    for x in range(len(parent)):
        out[x] = find_root(parent, x)
    return out


@njit(nogil=True, cache=True)
def list_edges(near):  # type: ignore[no-untyped-def]
    """Every pair of the neighbour lists once, as rows, columns and places in the flattened lists."""
    m, k = near.shape
    rows = np.empty(m * k, np.int64)
    cols = np.empty(m * k, np.int64)
    place = np.empty(m * k, np.int64)
    n_edges = 0
    for row in range(m):
        for x in range(k):
            col = near[row, x]
            is_seen = False
            if col < row:
                for y in range(k):
                    is_seen |= near[col, y] == row
            if not is_seen:
                rows[n_edges] = row
                cols[n_edges] = col
                place[n_edges] = row * k + x
                n_edges += 1
    return rows[:n_edges], cols[:n_edges], place[:n_edges]


@njit(nogil=True, cache=True)
def leaf_order(n, a, b, weight):  # type: ignore[no-untyped-def]
    """Leaves of the dendrogram of a spanning tree, and the weight between each and the next.

    Edges by ascending weight. The largest weight on the path between two nodes of the tree is then the
    largest of the weights between their places.
    """
    parent = np.arange(n)
    head = np.arange(n)
    tail = np.arange(n)
    following = np.full(n, -1)
    gap = np.zeros(n, np.float64)
    size = np.ones(n, np.int64)
    for edge in range(len(a)):
        x = find_root(parent, a[edge])
        y = find_root(parent, b[edge])
        if size[x] < size[y]:
            x, y = y, x
        following[tail[x]] = head[y]
        gap[tail[x]] = weight[edge]
        tail[x] = tail[y]
        parent[y] = x
        size[x] += size[y]
    place = np.empty(n, np.int64)
    between = np.zeros(n, np.float64)
    node = head[find_root(parent, 0)]
    for x in range(n):
        place[node] = x
        between[x] = gap[node]
        node = following[node]
    return place, between


@njit(nogil=True, cache=True)
def maxima_table(values):  # type: ignore[no-untyped-def]
    """Largest value of every run whose length is a power of two, shape (levels, n)."""
    n = len(values)
    levels = 1
    while (1 << levels) <= n:
        levels += 1
    table = np.empty((levels, n), np.float64)
    table[0] = values
    for level in range(1, levels):
        half = 1 << (level - 1)
        for x in range(n):
            here = table[level - 1, x]
            table[level, x] = max(here, table[level - 1, x + half]) if x + half < n else here
    return table


@njit(nogil=True, cache=True)
def largest_between(table, x, y):  # type: ignore[no-untyped-def]
    """Largest weight on the path between the nodes at places x and y; 0 for a node and itself."""
    low = min(x, y)
    high = max(x, y)
    if low == high:
        return 0.0
    level = 0
    while (2 << level) <= high - low:
        level += 1
    return max(table[level, low], table[level, high - (1 << level)])
