"""Kernels of average linkage on a graph of near pairs, which keeps apart what cannot be one person.

A group is known by its root, one of its rows. Every group has the sum of its rows in a slot, but for single faces.
"""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

from facecluster.clustering.alike import add_row, needed, product_of_sums, product_with_row
from facecluster.clustering.forest import find_root

# A group is compared with its neighbours anew when it has grown by this factor: what is in the queue is measured again
# before it is used anyway, and without this a large group would be compared with all of them at every face.
_GROWN = 1.25


# What is known of a group, at its root; `following` at every row. One cache line for each: as arrays of their
# own, joining took half as long again.
NODE = np.dtype(
    [
        ("following", np.int32),  # the next member, in a ring
        ("key", np.int32),  # smallest rank of a member
        ("size", np.int32),
        ("slot", np.int32),  # of the sum, -1 for a single face
        ("is_core", np.int32),  # whether one of HDBSCAN's clusters is in it
        ("pin", np.int32),  # the person it is known to be, -1 for none
        ("version", np.int32),  # smallest rank at first, then n_faces + number of the join that made it: never twice
        ("compared_at", np.int32),  # size when last compared with all neighbours
        ("seen", np.int32),  # the last comparison in which it was met
        ("near", np.int32),  # first place of its list of rows near to members, -1 for none
    ]
)


@njit(nogil=True, cache=True)
def gather(group, n_cores, by_rank, pin, nodes):  # type: ignore[no-untyped-def]
    """Fills `nodes` with groups numbered by `group`, single faces where it is -1; returns the root of each row.

    The first `n_cores` come from HDBSCAN. Slots are the numbers: where the sum of a group is.
    """
    root = np.full(group.max() + 1, -1, np.int32)
    parent = np.empty(len(group), np.int32)
    # By rank, so that the first of a group has the smallest.
    for rank in range(len(group)):
        row = by_rank[rank]
        g = group[row]
        node = nodes[row]
        node.following = node_root = parent[row] = row
        node.key, node.version, node.size, node.compared_at = rank, rank, 1, 1
        node.slot = node.pin = node.seen = node.near = -1
        node.is_core = 0
        if g >= 0 and root[g] < 0:
            root[g] = row
            node.slot, node.is_core = g, g < n_cores
        elif g >= 0:
            node_root = parent[row] = root[g]
            first = nodes[node_root]
            first.size += 1
            first.compared_at += 1
            node.following, first.following = first.following, row
        nodes[node_root].pin = max(nodes[node_root].pin, pin[row])
    return parent


@njit(nogil=True, cache=True)
def near_pairs(indices, distances, u, v, apart, farthest):  # type: ignore[no-untyped-def]
    """Pairs that lists or tree join up to a distance, each once, and their distances."""
    n, k = indices.shape
    n_found = 0
    pairs = np.empty((n + len(u), 2), np.int32)
    gaps = np.empty(n + len(u), np.float64)
    for x in range(n + len(u)):
        if n_found + k >= len(pairs):
            pairs = np.concatenate((pairs, np.empty_like(pairs)))
            gaps = np.concatenate((gaps, np.empty_like(gaps)))
        for y in range(k if x < n else 1):
            if x < n:
                a, b, gap = x, indices[x, y], distances[x, y]
            else:
                a, b, gap = u[x - n], v[x - n], apart[x - n]
            if gap > farthest:
                break
            is_known = (x >= n or b < a) and _is_listed(indices[b], a)
            if not is_known and not (x >= n and _is_listed(indices[a], b)):
                pairs[n_found, 0], pairs[n_found, 1], gaps[n_found] = a, b, gap
                n_found += 1
    return pairs[:n_found], gaps[:n_found]


@njit(nogil=True, cache=True)
def _is_listed(listed, row):  # type: ignore[no-untyped-def]
    for other in listed:  # noqa: SIM110  (numba has no any() of a generator)
        if other == row:
            return True
    return False


@njit(nogil=True, cache=True)
def join_alike(vectors, by_rank, parent, nodes, sums, n_slots, pairs, gaps, told):  # type: ignore[no-untyped-def]
    """Joins groups, most alike first, until none are alike enough; `parent` is then the root of each row.

    Two groups are compared where a pair is near. Two of HDBSCAN's clusters never join, nor do groups that something
    told keeps apart. Equal similarities are settled by the smallest ranks of the two groups.
    """
    after, near = near_lists(pairs, parent, nodes)
    queue = _first_queue(vectors, pairs, gaps, parent, nodes, sums, after, near)
    tick = len(vectors)
    # Versions of groups that were measured again. Where two people take after each other, thousands of entries come to
    # mean the same two groups; all but one of them end here.
    known = {np.int64(-1)}
    while len(queue) > 0:
        entry = heapq.heappop(queue)
        a = find_root(parent, by_rank[entry[1]])
        b = find_root(parent, by_rank[entry[2]])
        if a == b or (nodes[a].is_core and nodes[b].is_core):
            continue
        is_as_it_was = nodes[a].version == entry[3] and nodes[b].version == entry[4]
        if not is_as_it_was and _has_to_wait(vectors, a, b, nodes, sums, queue, known):
            continue
        if is_apart(a, b, parent, nodes, told):
            continue
        tick += 1
        if nodes[a].size < nodes[b].size or (nodes[a].size == nodes[b].size and nodes[a].key > nodes[b].key):
            a, b = b, a
        n_slots = join(vectors, a, b, tick, n_slots, parent, nodes, sums)
        if nodes[a].size >= _GROWN * nodes[a].compared_at:
            _compare(vectors, a, a, parent, nodes, sums, after, near, tick, queue, False)
            nodes[a].compared_at = nodes[a].size
        end = _compare(vectors, a, b, parent, nodes, sums, after, near, tick, queue, False)
        if end >= 0:
            after[end] = nodes[a].near
            nodes[a].near = nodes[b].near
    for row in range(len(parent)):
        parent[row] = find_root(parent, row)


@njit(nogil=True, cache=True)
def near_lists(pairs, parent, nodes):  # type: ignore[no-untyped-def]
    """For every root a linked list of rows near to its members: which place comes after each, and the row at each."""
    after = np.empty(2 * len(pairs), np.int32)
    near = np.empty(2 * len(pairs), np.int32)
    for x in range(len(pairs)):
        for side in range(2):
            node = nodes[parent[pairs[x, side]]]
            place = 2 * x + side
            near[place] = pairs[x, 1 - side]
            after[place] = node.near
            node.near = place
    return after, near


@njit(nogil=True, cache=True)
def _first_queue(vectors, pairs, gaps, parent, nodes, sums, after, near):  # type: ignore[no-untyped-def]
    queue = [(0.0, np.int32(0), np.int32(0), np.int32(0), np.int32(0))]
    queue.pop()
    least = needed(1, 1)
    for x in range(len(pairs)):
        # Two single faces: their distance is known, and nearly all pairs end here.
        score = 1.0 - 0.5 * gaps[x] * gaps[x] - least
        if score >= 0.0:
            a, b = pairs[x, 0], pairs[x, 1]
            if nodes[parent[a]].slot < 0 and nodes[parent[b]].slot < 0:
                _ask(queue, score, a, b, nodes)
    for row in range(len(parent)):
        if parent[row] == row and nodes[row].slot >= 0:
            _compare(vectors, row, row, parent, nodes, sums, after, near, row, queue, True)
    return queue


@njit(nogil=True, cache=True)
def _ask(queue, score, a, b, nodes):  # type: ignore[no-untyped-def]
    """Queues two groups if they are alike enough."""
    if score < 0.0:
        return
    if nodes[a].key > nodes[b].key:
        a, b = b, a
    heapq.heappush(queue, (-score, nodes[a].key, nodes[b].key, nodes[a].version, nodes[b].version))


@njit(nogil=True, cache=True)
def _has_to_wait(vectors, a, b, nodes, sums, queue, known):  # type: ignore[no-untyped-def]
    """Measures again two groups that somebody joined; queues them anew where others are ahead by now."""
    x, y = nodes[a].version, nodes[b].version
    versions = (np.int64(min(x, y)) << 32) | np.int64(max(x, y))
    if versions in known:
        return True
    known.add(versions)
    score = _score(vectors, a, b, nodes, sums)
    if score >= 0.0 and (len(queue) == 0 or -score <= queue[0][0]):
        return False
    _ask(queue, score, a, b, nodes)
    return True


@njit(nogil=True, cache=True)
def _score(vectors, a, b, nodes, sums):  # type: ignore[no-untyped-def]
    """By how much two groups, not both single faces, are more alike than they need to be."""
    if nodes[a].slot < 0:
        a, b = b, a
    left, right = np.int64(nodes[a].size), np.int64(nodes[b].size)
    total = sums[nodes[a].slot]
    if nodes[b].slot >= 0:
        product = product_of_sums(total, sums[nodes[b].slot], left * right)
    else:
        product = product_with_row(vectors, b, total)
    return product / (left * right) - needed(left, right)


@njit(nogil=True, cache=True)
def _compare(vectors, a, walked, parent, nodes, sums, after, near, tick, queue, is_first):  # type: ignore[no-untyped-def]
    """Queues group a with the neighbours on the list of `walked`; returns the last place of that list, -1 for none.

    Places that can be of no more use are taken off the list. At first, of two groups only one compares.
    """
    last = -1
    place = nodes[walked].near
    while place >= 0:
        b = find_root(parent, near[place])
        if b == a or nodes[b].seen == tick or (nodes[a].is_core and nodes[b].is_core):
            if last >= 0:
                after[last] = after[place]
            else:
                nodes[walked].near = after[place]
        else:
            nodes[b].seen = tick
            last = place
            if not (is_first and nodes[b].slot >= 0 and nodes[b].key < nodes[a].key):
                _ask(queue, _score(vectors, a, b, nodes, sums), a, b, nodes)
        place = after[place]
    return last


@njit(nogil=True, cache=True)
def join(vectors, a, b, version, n_slots, parent, nodes, sums):  # type: ignore[no-untyped-def]
    """Adds group b to group a; returns how many slots are used."""
    left, right = nodes[a], nodes[b]
    if left.slot < 0:
        left.slot = n_slots
        sums[n_slots] = 0.0
        add_row(vectors, a, sums[n_slots])
        n_slots += 1
    if right.slot >= 0:
        sums[left.slot] += sums[right.slot]
    else:
        add_row(vectors, b, sums[left.slot])
    parent[b] = a
    left.size += right.size
    left.is_core = max(left.is_core, right.is_core)
    left.pin = max(left.pin, right.pin)
    left.key = min(left.key, right.key)
    left.version = version
    left.following, right.following = right.following, left.following
    return n_slots


@njit(nogil=True, cache=True)
def is_apart(a, b, parent, nodes, told):  # type: ignore[no-untyped-def]
    """Whether something told, or a photo, keeps two groups apart."""
    if nodes[a].pin >= 0 and nodes[b].pin >= 0 and nodes[a].pin != nodes[b].pin:
        return True
    if nodes[a].size > nodes[b].size:
        a, b = b, a
    row = a
    while True:
        for x in range(told.apart_starts[row], told.apart_starts[row + 1]):
            if find_root(parent, told.apart_rows[x]) == b:
                return True
        if told.photo[row] >= 0 and _shares_photo(row, b, parent, nodes, told):
            return True
        row = nodes[row].following
        if row == a:
            return False


@njit(nogil=True, cache=True)
def _shares_photo(row, b, parent, nodes, told):  # type: ignore[no-untyped-def]
    """Whether somebody of group b is in the photo of a row, but for those whom a curator put together with it."""
    photo = told.photo[row]
    low, high = told.photo_starts[photo], told.photo_starts[photo + 1]
    if high - low <= nodes[b].size:
        for x in range(low, high):
            mate = told.photo_rows[x]
            if find_root(parent, mate) == b and (told.link[row] < 0 or told.link[row] != told.link[mate]):
                return True
        return False
    mate = b
    while True:
        if told.photo[mate] == photo and (told.link[row] < 0 or told.link[row] != told.link[mate]):
            return True
        mate = nodes[mate].following
        if mate == b:
            return False
