"""Kernels that keep each row's nearest others: by product first, then measured until nothing is in doubt."""

from __future__ import annotations

import numpy as np
from numba import njit

from facecluster.clustering.measure import distance

# Products compared in one go against the worst entry of a list: one or two vector registers wide.
# Divides the width of a tile.
_CHUNK = 32

# Below every product of unit rows: "no such pair".
NO_PRODUCT = np.float32(-3.0)


@njit(nogil=True, cache=True)
def _admit(best, who, row, product, col):  # type: ignore[no-untyped-def]
    """Puts `col` into the list of `row` by product; returns what falls out at the end."""
    p = best.shape[1] - 1
    out, out_product = who[row, p], best[row, p]
    while p > 0 and best[row, p - 1] < product:
        best[row, p] = best[row, p - 1]
        who[row, p] = who[row, p - 1]
        p -= 1
    best[row, p] = product
    who[row, p] = col
    return out, out_product


# nnan and nsz only let the maximum of a chunk be taken in vector registers: products only exclude here.
@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def keep_best(products, row0, col0, tile_width, best, who, bounds):  # type: ignore[no-untyped-def]
    """Takes a block of products into the lists of its rows.

    `best` and `who` are the lists (product descending, position); `bounds[row, tile]` is kept at the best
    product of the row with a column of that tile that is not in its list.
    """
    n_rows, n_cols = products.shape
    last = best.shape[1] - 1
    for r in range(n_rows):
        row = row0 + r
        for low in range(0, n_cols, _CHUNK):
            high = min(low + _CHUNK, n_cols)
            tile = (col0 + low) // tile_width
            top = products[r, low]
            for c in range(low + 1, high):
                top = max(top, products[r, c])
            if top <= best[row, last]:
                bounds[row, tile] = max(bounds[row, tile], top)
                continue
            for c in range(low, high):
                left_out, left_out_tile = products[r, c], tile
                if left_out > best[row, last]:
                    out, left_out = _admit(best, who, row, products[r, c], col0 + c)
                    if out < 0:
                        continue
                    left_out_tile = out // tile_width
                bounds[row, left_out_tile] = max(bounds[row, left_out_tile], left_out)


@njit(nogil=True, cache=True)
def insert(near, apart, row, filled, key, col, d):  # type: ignore[no-untyped-def]
    """Puts `col` at distance `d` into the list of `row`, by (distance, key), if it belongs there; the new length."""
    k = near.shape[1]
    p = filled
    if filled == k:
        last = near[row, k - 1]
        if d > apart[row, k - 1] or (d == apart[row, k - 1] and key[col] >= key[last]):
            return filled
        for x in range(k):
            if near[row, x] == col:
                return filled
        p = k - 1
    while p > 0 and (apart[row, p - 1] > d or (apart[row, p - 1] == d and key[near[row, p - 1]] > key[col])):
        apart[row, p] = apart[row, p - 1]
        near[row, p] = near[row, p - 1]
        p -= 1
    near[row, p] = col
    apart[row, p] = d
    return min(filled + 1, k)


@njit(nogil=True, cache=True)
def settle(vectors, key, margin, tile_width, low, high, best, who, bounds, near, apart):  # type: ignore[no-untyped-def]
    """Turns the lists of rows low..high into measured, exact ones.

    A list is final when no pair left out can be as near as its last entry. Where a tile's bound leaves that
    open (bursts: a product cannot tell d = 0.001 from 0.002), all its rows are measured.
    """
    k = near.shape[1]
    for row in range(low, high):
        filled = 0
        for c in range(who.shape[1]):
            col = who[row, c]
            if col >= 0:
                filled = insert(near, apart, row, filled, key, col, distance(vectors, row, col))
        for tile in range(bounds.shape[1]):
            bound = np.float64(bounds[row, tile])
            least_squared = 2.0 - 2.0 * (bound + margin)
            if bound > NO_PRODUCT and least_squared <= apart[row, k - 1] * apart[row, k - 1]:
                for col in range(tile * tile_width, min((tile + 1) * tile_width, len(vectors))):
                    if col != row:
                        insert(near, apart, row, k, key, col, distance(vectors, row, col))
        _leave_out(row, tile_width, best, who, bounds, near)


@njit(nogil=True, cache=True)
def _leave_out(row, tile_width, best, who, bounds, near):  # type: ignore[no-untyped-def]
    """Tells the bounds of the entries that measuring pushed out of the list."""
    for c in range(who.shape[1]):
        col = who[row, c]
        if col >= 0 and best[row, c] > bounds[row, col // tile_width]:
            is_listed = False
            for x in range(near.shape[1]):
                is_listed |= near[row, x] == col
            if not is_listed:
                bounds[row, col // tile_width] = best[row, c]


@njit(nogil=True, cache=True)
def unfold(near, apart, key, copies, copies_from, k):  # type: ignore[no-untyped-def]
    """Lists of all rows from the lists of the distinct ones: copies are neighbours at distance 0.

    Every list holds the first k of all other rows by (distance, rank).
    """
    n = len(copies)
    indices = np.empty((n, k), np.int32)
    distances = np.empty((n, k), np.float64)
    row_of = np.empty(k + 1, np.int32)
    far = np.empty(k + 1, np.float64)
    for p in range(len(copies_from) - 1):
        # The own copies come among the neighbours at distance 0 (rows that differ in the sign of a zero).
        before = 0
        while before < near.shape[1] and apart[p, before] == 0.0 and key[near[p, before]] < key[p]:
            before += 1
        filled = 0
        for x in range(near.shape[1] + 1):
            source = p
            d = 0.0
            if x != before:
                y = x if x < before else x - 1
                source = near[p, y]
                d = apart[p, y]
            for c in range(copies_from[source], copies_from[source + 1]):
                if filled <= k:
                    row_of[filled] = copies[c]
                    far[filled] = d
                    filled += 1
        for c in range(copies_from[p], copies_from[p + 1]):
            row = copies[c]
            y = 0
            for x in range(filled):
                if y < k and row_of[x] != row:
                    indices[row, y] = row_of[x]
                    distances[row, y] = far[x]
                    y += 1
    return indices, distances
