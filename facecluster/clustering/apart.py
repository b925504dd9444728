"""Kernels that take clusters apart: what cannot be one person, who is far from the rest, what then holds together."""

from __future__ import annotations

import numpy as np
from numba import njit

from facecluster.clustering.alike import add_row, needed_to_stay, product_with_row
from facecluster.clustering.forest import find_root


@njit(nogil=True, cache=True)
def mark_shared_photos(label, told, is_torn):  # type: ignore[no-untyped-def]
    """Marks the clusters that hold two faces of one photo, but for faces that a curator put together."""
    seen_in = np.full(len(is_torn), -1, np.int64)
    seen = np.empty(len(is_torn), np.int32)
    for photo in range(len(told.photo_starts) - 1):
        for row in told.photo_rows[told.photo_starts[photo] : told.photo_starts[photo + 1]]:
            c = label[row]
            if c < 0:
                continue
            if seen_in[c] != photo:
                seen_in[c] = photo
                seen[c] = row
            elif told.link[row] < 0 or told.link[row] != told.link[seen[c]]:
                is_torn[c] = True


@njit(nogil=True, cache=True)
def take_out(vectors, order, starts, clusters, is_fixed, is_out, is_gone, sums):  # type: ignore[no-untyped-def]
    """Takes out of some clusters who is far from the rest on average; fills `sums` with those who stay.

    `order[starts[c]:starts[c + 1]]` are the rows of cluster c. Round by round, because the rest becomes more alike;
    rows with `is_fixed` stay. A cluster that would lose more than half is gone: it is no person with strangers in it.
    """
    for c in clusters:
        members = order[starts[c] : starts[c + 1]]
        left, before = len(members), len(members) + 1
        while left < before:
            before = left
            _add_up(vectors, members, is_out, sums[c])
            if before > 1:
                left -= _mark_far(vectors, members, before, is_fixed, is_out, sums[c])
            if 2 * left < len(members):
                is_gone[c] = True
                for row in members:
                    is_out[row] = True
                break


@njit(nogil=True, cache=True)
def _add_up(vectors, members, is_out, total):  # type: ignore[no-untyped-def]
    total[:] = 0.0
    for row in members:
        if not is_out[row]:
            add_row(vectors, row, total)


@njit(nogil=True, cache=True)
def add_up(vectors, group, is_wanted, sums):  # type: ignore[no-untyped-def]
    """Fills the sums of the groups that are wanted."""
    for g in range(len(is_wanted)):
        if is_wanted[g]:
            sums[g] = 0.0
    for row in range(len(group)):
        if group[row] >= 0 and is_wanted[group[row]]:
            add_row(vectors, row, sums[group[row]])


@njit(nogil=True, cache=True)
def _mark_far(vectors, members, n_in, is_fixed, is_out, total):  # type: ignore[no-untyped-def]
    n_far = 0
    for row in members:
        if is_out[row] or is_fixed[row]:
            continue
        mean = (product_with_row(vectors, row, total) - 1.0) / (n_in - 1)
        if mean < needed_to_stay(n_in - 1):
            is_out[row] = True
            n_far += 1
    return n_far


@njit(nogil=True, cache=True)
def parts(loose_from, u, v, weight, farthest):  # type: ignore[no-untyped-def]
    """Numbers from 0 what holds together by edges of the tree up to `farthest` among rows of one `loose_from`.

    Rows with `loose_from` -1 and parts of one face get -1; also returns how many parts there are.
    """
    n = len(loose_from)
    parent = np.arange(n)
    for x in range(len(u)):
        if weight[x] > farthest:
            break
        if loose_from[u[x]] >= 0 and loose_from[u[x]] == loose_from[v[x]]:
            parent[find_root(parent, u[x])] = find_root(parent, v[x])
    size = np.zeros(n, np.int32)
    for row in range(n):
        size[find_root(parent, row)] += 1
    number = np.full(n, -1, np.int32)
    part = np.full(n, -1, np.int32)
    n_parts = 0
    for row in range(n):
        root = find_root(parent, row)
        if size[root] > 1:
            if number[root] < 0:
                number[root] = n_parts
                n_parts += 1
            part[row] = number[root]
    return part, n_parts
