"""The kernel of exact average linkage on a graph of near pairs: the most alike first, and nobody who was told apart."""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

from facecluster.clustering.alike import add_row, product_of_sums, product_with_row
from facecluster.clustering.forest import find_root
from facecluster.clustering.linkage import is_apart, join, near_lists


@njit(nogil=True, cache=True)
def join_exactly(vectors, parent, nodes, sums, pairs, told, large, small):  # type: ignore[no-untyped-def]
    """Joins single faces, the most alike groups first, until no two are alike enough; `parent` is then each one's root.

    Parameters
    ----------
    vectors : float32 (n_faces, dimension)
        Unit rows.
    parent, nodes : int32 (n_faces,), linkage.NODE (n_faces,)
        Single faces, as `linkage.gather` leaves them, ranked by row.
    sums : float64 (n_faces // 2, dimension)
        Room for the sums of groups.
    pairs : int32 (m, 2)
        All rows that may be alike enough, each pair once.
    told : Told
        What keeps them apart.
    large, small : float
        Two groups become one while their mean cosine is at least `large + small / faces of both`.
    """
    after, near = near_lists(pairs, parent, nodes)
    queue = _first_queue(vectors, pairs, large, small)
    tick, n_slots = len(vectors), 0
    while len(queue) > 0:
        _, first, second, of_first, of_second = heapq.heappop(queue)
        a, b = find_root(parent, first), find_root(parent, second)
        if nodes[a].version != of_first or nodes[b].version != of_second or is_apart(a, b, parent, nodes, told):
            continue
        tick += 1
        if nodes[a].size < nodes[b].size:
            a, b = b, a
        n_slots = join(vectors, a, b, tick, n_slots, parent, nodes, sums)
        end = _ask(vectors, a, nodes[a].near, parent, nodes, sums, after, near, tick, queue, large, small)
        after[end] = nodes[b].near
        _ask(vectors, a, nodes[b].near, parent, nodes, sums, after, near, tick, queue, large, small)
    for row in range(len(parent)):
        parent[row] = find_root(parent, row)


@njit(nogil=True, cache=True)
def _first_queue(vectors, pairs, large, small):  # type: ignore[no-untyped-def]
    """All pairs of single faces that may join; the version of a single face is its row."""
    queue = [(0.0, np.int32(0), np.int32(0), np.int32(0), np.int32(0))]
    queue.pop()
    one = np.empty(vectors.shape[1])
    for x in range(len(pairs)):
        a, b = min(pairs[x, 0], pairs[x, 1]), max(pairs[x, 0], pairs[x, 1])
        one[:] = 0.0
        add_row(vectors, a, one)
        score = product_with_row(vectors, b, one) - (large + small / 2)
        if score >= 0.0:
            queue.append((-score, a, b, a, b))
    heapq.heapify(queue)
    return queue


@njit(nogil=True, cache=True)
def _ask(vectors, a, place, parent, nodes, sums, after, near, tick, queue, large, small):  # type: ignore[no-untyped-def]
    """Queues a group that has grown with those on a list that it may join; returns the last place of the list.

    Of places that mean one group the first is kept, and those that mean itself where they are the first of the list.
    """
    last, has_other = place, False
    while place >= 0:
        b = find_root(parent, near[place])
        if b == a or nodes[b].seen == tick:
            if has_other:
                after[last] = after[place]
            else:
                last = place
            place = after[place]
            continue
        nodes[b].seen = tick
        last, has_other = place, True
        n_pairs = np.int64(nodes[a].size) * nodes[b].size
        if nodes[b].slot < 0:
            product = product_with_row(vectors, b, sums[nodes[a].slot])
        else:
            product = product_of_sums(sums[nodes[a].slot], sums[nodes[b].slot], n_pairs)
        score = product / n_pairs - (large + small / (nodes[a].size + nodes[b].size))
        if score >= 0.0:
            x, y = (a, b) if nodes[a].key < nodes[b].key else (b, a)
            heapq.heappush(queue, (-score, nodes[x].key, nodes[y].key, nodes[x].version, nodes[y].version))
        place = after[place]
    return last


@njit(nogil=True, cache=True)
def likeness_within(vectors, rows, ends):  # type: ignore[no-untyped-def]
    """Mean cosine of each of `rows` with the others of its group, of two or more; group x ends before `ends[x + 1]`."""
    found = np.empty(len(rows))
    total = np.empty(vectors.shape[1])
    for x in range(len(ends) - 1):
        total[:] = 0.0
        for row in rows[ends[x] : ends[x + 1]]:
            total += vectors[row]
        for at in range(ends[x], ends[x + 1]):
            one = vectors[rows[at]]
            product = 0.0
            for t in range(len(total)):
                product += one[t] * (total[t] - one[t])
            found[at] = product / (ends[x + 1] - ends[x] - 1)
    return found
