"""The kernel of exact average linkage on a graph of near pairs: the most alike first, and nobody who was told apart."""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

from facecluster.clustering.alike import add_row, product_of_sums, product_with_row
from facecluster.clustering.forest import find_root


@njit(nogil=True, cache=True)
def joined(vectors, rows, pairs, next_in_photo, apart_starts, apart, large, small):  # type: ignore[no-untyped-def]
    """Joins groups until no two are alike enough; returns for each of `rows` the first place of its group.

    Parameters
    ----------
    vectors : float32 (n_faces, dimension)
        Unit rows.
    rows : int64 (n,)
        Ascending; everything else counts places in it.
    pairs : int64 (m, 2)
        All that may be alike enough, each once.
    next_in_photo : int32 (n,)
        The next face of the same photo, in a ring; two faces of one photo are two people.
    apart_starts, apart : int64 (n + 1,), int64
        Whom each was told apart from: `apart[apart_starts[x]:apart_starts[x + 1]]`.
    large, small : float
        Two groups become one while their mean cosine is at least `large + small / faces of both`.
    """
    n, n_slots = len(rows), 0
    parent, ring = np.arange(n).astype(np.int32), np.arange(n).astype(np.int32)
    size, version = np.ones(n, np.int32), np.zeros(n, np.int32)
    slot = np.full(n, -1, np.int32)  # of the sum; a single face has none
    sums = np.empty((n // 2, vectors.shape[1]))  # memory that is not touched costs nothing
    first, last, after, near = _lists(n, pairs)
    queue = _first_queue(vectors, rows, pairs, large, small)
    while len(queue) > 0:
        _, a, b, of_a, of_b = heapq.heappop(queue)
        if parent[a] != a or parent[b] != b or version[a] != of_a or version[b] != of_b:
            continue
        if _are_apart(a, b, size, parent, ring, next_in_photo, apart_starts, apart):
            continue
        n_slots += _add(vectors, rows, a, b, slot, sums, n_slots)
        parent[b] = a
        ring[a], ring[b] = ring[b], ring[a]
        size[a] += size[b]
        version[a] += 1
        after[last[a]] = first[b]
        last[a] = _ask(vectors, rows, a, first[a], after, near, parent, size, version, slot, sums, queue, large, small)
    for x in range(n):
        parent[x] = find_root(parent, x)
    return parent


@njit(nogil=True, cache=True)
def _lists(n, pairs):  # type: ignore[no-untyped-def]
    """A linked list of near ones for each of n: its first and last entry, the one after each, and whom it means."""
    first, last = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    after, near = np.full(2 * len(pairs), -1, np.int32), np.empty(2 * len(pairs), np.int32)
    for entry in range(2 * len(pairs)):
        of = pairs[entry // 2, entry % 2]
        near[entry] = pairs[entry // 2, 1 - entry % 2]
        after[entry], first[of] = first[of], entry
        if last[of] < 0:
            last[of] = entry
    return first, last, after, near


@njit(nogil=True, cache=True)
def _first_queue(vectors, rows, pairs, large, small):  # type: ignore[no-untyped-def]
    """All pairs of single faces that may join."""
    queue = [(0.0, np.int32(0), np.int32(0), np.int32(0), np.int32(0))]
    queue.pop()
    one = np.empty(vectors.shape[1])
    for x in range(len(pairs)):
        a, b = np.int32(min(pairs[x, 0], pairs[x, 1])), np.int32(max(pairs[x, 0], pairs[x, 1]))
        one[:] = 0.0
        add_row(vectors, rows[a], one)
        score = product_with_row(vectors, rows[b], one) - (large + small / 2)
        if score >= 0.0:
            queue.append((-score, a, b, np.int32(0), np.int32(0)))
    heapq.heapify(queue)
    return queue


@njit(nogil=True, cache=True)
def _add(vectors, rows, a, b, slot, sums, n_slots):  # type: ignore[no-untyped-def]
    """Adds the sum of group b to that of group a; returns how many slots were taken: one where two faces meet."""
    if slot[a] >= 0 and slot[b] >= 0:
        sums[slot[a]] += sums[slot[b]]
    elif slot[a] >= 0:
        add_row(vectors, rows[b], sums[slot[a]])
    elif slot[b] >= 0:
        slot[a] = slot[b]
        add_row(vectors, rows[a], sums[slot[a]])
    else:
        slot[a] = n_slots
        sums[n_slots] = 0.0
        add_row(vectors, rows[a], sums[n_slots])
        add_row(vectors, rows[b], sums[n_slots])
        return 1
    return 0


@njit(nogil=True, cache=True)
def _ask(vectors, rows, a, entry, after, near, parent, size, version, slot, sums, queue, large, small):  # type: ignore[no-untyped-def]
    """Queues a group that has grown with those near to it that it may join; returns the last entry of its list.

    Of entries that mean one group the first is kept, and those that mean itself where they are the first of the list.
    """
    met = {np.int32(a)}
    last, has_other = entry, False
    while entry >= 0:
        b = find_root(parent, near[entry])
        if b in met:
            if has_other:
                after[last] = after[entry]
            else:
                last = entry
            entry = after[entry]
            continue
        met.add(b)
        last, has_other = entry, True
        n_faces = size[a] + size[b]
        if slot[b] < 0:
            product = product_with_row(vectors, rows[b], sums[slot[a]])
        else:
            product = product_of_sums(sums[slot[a]], sums[slot[b]], np.int64(size[a]) * size[b])
        score = product / (np.int64(size[a]) * size[b]) - (large + small / n_faces)
        if score >= 0.0:
            x, y = min(a, b), max(a, b)
            heapq.heappush(queue, (-score, x, y, version[x], version[y]))
        entry = after[entry]
    return last


@njit(nogil=True, cache=True)
def _are_apart(a, b, size, parent, ring, next_in_photo, apart_starts, apart):  # type: ignore[no-untyped-def]
    """Whether something told, or a photo, keeps two groups apart."""
    if size[a] > size[b]:
        a, b = b, a
    face = a
    while True:
        mate = next_in_photo[face]
        while mate != face:
            if find_root(parent, mate) == b:
                return True
            mate = next_in_photo[mate]
        for x in range(apart_starts[face], apart_starts[face + 1]):
            if find_root(parent, apart[x]) == b:
                return True
        face = ring[face]
        if face == a:
            return False


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
