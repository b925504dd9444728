"""Kernels that keep each row's nearest others: by product first, then measured until nothing is in doubt.

A row's candidates are words of 64 bits, the product above and the position below, so that larger words are nearer
rows and one store writes a whole candidate. At any moment, also of a process that is killed, every pair compared so
far is either among the candidates of its row or below the row's bound of its tile; comparing a pair again changes
nothing. What is written in which order below is what makes that true.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from facecluster.clustering.lanes import (
    LANES,
    bits_of,
    lanes_above,
    largest_lane,
    lowest_lane,
    number_of,
    widen_lanes,
)
from facecluster.clustering.measure import distance

# Below every product of unit rows: "no such pair".
NO_PRODUCT = np.float32(-3.0)

# Bounds are kept in bytes, rounded up: 0 for a tile with no pair outside the list, then steps of 0.004 from -0.02
# (every product below counts as that) to 0.976, and 255 for everything above.
_STEPS_PER_ONE = np.float32(250.0)
_OFFSET = np.float32(6.0)
_ANYTHING = np.uint8(255)

# What `settle` may take for granted of a row's list.
NOTHING, CANDIDATES, FINAL = range(3)

_SIGN = np.uint32(0x80000000)
_ALL = np.uint32(0xFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@njit(nogil=True, cache=True)
def bound_code(product):  # type: ignore[no-untyped-def]
    """The smallest byte whose `bound_of` is not below the product."""
    if product < -2.0:
        return np.uint8(0)
    step = np.ceil(product * _STEPS_PER_ONE + _OFFSET)
    return np.uint8(min(max(step, np.float32(1.0)), np.float32(255.0)))


@njit(nogil=True, cache=True)
def bound_of(code):  # type: ignore[no-untyped-def]
    """What no product under this byte is above; the last digit covers the rounding of `bound_code` itself."""
    return 1.1 if code == _ANYTHING else (np.float64(code) - 6.0) / 250.0 + 1e-6


@njit(nogil=True, cache=True)
def _raise(bounds, row, tile, product):  # type: ignore[no-untyped-def]
    code = bound_code(product)
    if code > bounds[row, tile]:
        bounds[row, tile] = code


@njit(nogil=True, cache=True)
def word_of(product, position):  # type: ignore[no-untyped-def]
    """A candidate: larger for larger products, whatever their signs."""
    bits = bits_of(np.float32(product))
    key = bits ^ (_ALL if bits & _SIGN else _SIGN)
    return (np.uint64(key) << _SHIFT) | np.uint64(position)


@njit(nogil=True, cache=True)
def recall(near, apart, margin, candidates, filled, least):  # type: ignore[no-untyped-def]
    """Makes candidates of known lists; whatever may be nearer than the last of a list has a product above `least`."""
    n, k = near.shape
    for row in range(n):
        for x in range(k):
            product = np.float32(1.0 - apart[row, x] * apart[row, x] / 2.0)
            candidates[row, x] = word_of(product, near[row, x])
        filled[row] = k
        least[row] = threshold_of_known(apart[row, k - 1], margin)


@njit(nogil=True, cache=True)
def threshold_of_known(last, margin):  # type: ignore[no-untyped-def]
    """A product that everything nearer than `last` is above."""
    return np.float32(1.0 - last * last / 2.0) - np.float32(2.0 * margin)


@njit(nogil=True, cache=True)
def what_is_known(apart, margin, filled, least):  # type: ignore[no-untyped-def]
    """Of rows with known lists: FINAL, CANDIDATES or NOTHING, as `settle` takes it; shape (rows,)."""
    out = np.empty(len(apart), np.uint8)
    k = apart.shape[1]
    for row in range(len(apart)):
        if least[row] > threshold_of_known(apart[row, k - 1], margin):
            out[row] = NOTHING  # so many came that some were left to the bounds
        else:
            out[row] = FINAL if filled[row] == k else CANDIDATES
    return out


@njit(nogil=True, cache=True)
def position_in(word):  # type: ignore[no-untyped-def]
    """Position of a candidate."""
    return np.int64(word & _LOW)


@njit(nogil=True, cache=True)
def product_in(word):  # type: ignore[no-untyped-def]
    """Product of a candidate."""
    key = np.uint32(word >> _SHIFT)
    return number_of(key ^ (_SIGN if key & _SIGN else _ALL))


@njit(nogil=True, cache=True)
def _leave(bounds, row, tile_width, word):  # type: ignore[no-untyped-def]
    """Tells the bound of a candidate that it is one no longer."""
    _raise(bounds, row, position_in(word) // tile_width, product_in(word))


@njit(nogil=True, cache=True)
def _cut(words, n, fewest, most):  # type: ignore[no-untyped-def]
    """A word that between `fewest` and `most` of the n words are not below; 0 where copies of words leave none."""
    low = words[0]
    high = words[0]
    for x in range(1, n):
        low = min(low, words[x])
        high = max(high, words[x])
    while low < high:
        middle = low + ((high - low) >> np.uint64(1))
        count = 0
        for x in range(n):
            count += 1 if words[x] >= middle else 0
        if count > most:
            low = middle + np.uint64(1)
        elif count < fewest:
            high = middle
        else:
            return middle
    return np.uint64(0)


@njit(nogil=True, cache=True)
def _distinct(words, n):  # type: ignore[no-untyped-def]
    """The first n words, largest first, one of each; copies come from comparing a pair again after a crash."""
    ordered = np.sort(words[:n])
    out = np.empty(n, np.uint64)
    left = 0
    for x in range(n - 1, -1, -1):
        if left == 0 or ordered[x] != out[left - 1]:
            out[left] = ordered[x]
            left += 1
    return out[:left]


@njit(nogil=True, cache=True)
def _is_among(words, n, word):  # type: ignore[no-untyped-def]
    for x in range(n):  # noqa: SIM110  (numba knows no generators)
        if words[x] == word:
            return True
    return False


@njit(nogil=True, cache=True)
def _thin_out(candidates, filled, least, row, kept, tile_width, bounds):  # type: ignore[no-untyped-def]
    """Leaves the best `kept` of a row's candidates, or up to half as many more: where exactly does not matter."""
    words = candidates[row]
    n = filled[row]
    cut = _cut(words, n, kept, kept + kept // 2)
    has_copies = cut == 0
    if has_copies:
        distinct = _distinct(words, n)
        cut = distinct[min(kept, len(distinct)) - 1]
    left = 0
    for x in range(n):
        word = words[x]
        if word < cut:
            _leave(bounds, row, tile_width, word)
        elif not (has_copies and _is_among(words, left, word)):
            # What is overwritten is known to its bound by now, or has been written further up.
            words[left] = word
            left += 1
    filled[row] = left
    least[row] = product_in(cut)


@njit(nogil=True, cache=True)
def keep_best(products, n_cols, row0, col0, kept, tile_width, candidates, filled, least, bounds):  # type: ignore[no-untyped-def]
    """Takes a block of products into the candidates and bounds of its rows, and, off the diagonal, of its columns.

    Parameters
    ----------
    products : float32, shape (rows, columns)
        Contiguous, a multiple of LANES columns, NO_PRODUCT from column `n_cols` on and, in a block on the
        diagonal, for each row with itself. What becomes a candidate is overwritten.
    row0, col0 : int
        Position of the first row and column, multiples of `tile_width` or in a tile that the block does not
        leave; equal on the diagonal.
    kept : int
        Candidates that a row is left with when its room is full.
    candidates, filled, least, bounds
        Of all rows; what is not above `least` does not become a candidate.
    """
    n_rows, width = products.shape
    of_column = np.full(width, NO_PRODUCT, np.float32)
    r = 0
    low = 0
    while r < n_rows:
        full, r, low = _keep_until_full(
            products, n_cols, r, low, row0, col0, tile_width, candidates, filled, least, bounds, of_column
        )
        if full >= 0:
            _thin_out(candidates, filled, least, full, kept, tile_width, bounds)


# Apart from `keep_best`, because a call to `_thin_out` in this loop makes numba count references in every step:
# 45 instead of 4 ns for each candidate.
@njit(nogil=True, cache=True)
def _keep_until_full(  # type: ignore[no-untyped-def]  # noqa: C901, PLR0915
    products, n_cols, r, low, row0, col0, tile_width, candidates, filled, least, bounds, of_column
):
    """`keep_best` from row r, column low on, until a row has no room left: that row, and where to go on."""
    n_rows, width = products.shape
    room = candidates.shape[1]
    flat = products.reshape(n_rows * width)
    is_diagonal = row0 == col0
    never = np.full(LANES, np.inf, np.float32)
    while r < n_rows:
        row = row0 + r
        top = NO_PRODUCT
        while low < width:
            at = r * width + low
            if is_diagonal:
                lanes = lanes_above(flat, at, never, 0, least[row])
            else:
                lanes = lanes_above(flat, at, least, col0 + low, least[row])
            while lanes:
                c = low + lowest_lane(lanes)
                col = col0 + c
                product = products[r, c]
                is_for_row = product > least[row]
                is_for_col = not is_diagonal and product > least[col]
                if is_for_row and filled[row] == room:
                    _raise(bounds, row, col // tile_width, top)
                    return row, r, low
                if is_for_col and filled[col] == room:
                    _raise(bounds, row, col // tile_width, top)
                    return col, r, low
                lanes &= lanes - np.uint32(1)
                products[r, c] = NO_PRODUCT
                if is_for_row:
                    candidates[row, filled[row]] = word_of(product, col)
                    filled[row] += 1
                else:
                    top = max(top, product)
                if is_for_col:
                    candidates[col, filled[col]] = word_of(product, row)
                    filled[col] += 1
                else:
                    of_column[c] = max(of_column[c], product)
            if not is_diagonal:
                widen_lanes(of_column, low, flat, at)
            low += LANES
            if low % tile_width == 0 or low == width:
                start = (low - 1) // tile_width * tile_width
                top = max(top, largest_lane(flat, r * width + start, (low - start) // LANES))
                _raise(bounds, row, (col0 + start) // tile_width, top)
                top = NO_PRODUCT
        low = 0
        r += 1
        if not is_diagonal and ((row + 1) % tile_width == 0 or r == n_rows):
            for c in range(n_cols):
                _raise(bounds, col0 + c, row // tile_width, of_column[c])
            of_column[:] = NO_PRODUCT
    return -1, r, low


@njit(nogil=True, cache=True)
def pack(kept, tile_width, n_rows, row0, col0, candidates, filled, least, bounds):  # type: ignore[no-untyped-def]
    """How many candidates each row has, `kept` and half of that at most, and all their words one after the other.

    The positions in the words are those of two ranges: `n_rows` from `row0` on, the others from `col0` on.
    """
    for row in range(len(filled)):
        if filled[row] > kept + kept // 2:
            _thin_out(candidates, filled, least, row, kept, tile_width, bounds)
    words = np.empty(filled.sum(), np.uint64)
    at = 0
    for row in range(len(filled)):
        for x in range(filled[row]):
            here = position_in(candidates[row, x])
            there = here + row0 if here < n_rows else here - n_rows + col0
            words[at] = (candidates[row, x] & ~_LOW) | np.uint64(there)
            at += 1
    return filled.astype(np.uint16), words


@njit(nogil=True, cache=True)
def take_in(upto, words, row0, kept, tile_width, candidates, filled, least, bounds):  # type: ignore[no-untyped-def]
    """Takes words found elsewhere, upto[x]..upto[x + 1] of row row0 + x, into the candidates of all rows."""
    for x in range(len(upto) - 1):
        at = upto[x]
        while at < upto[x + 1]:
            at = _take_until_full(at, upto[x + 1], words, row0 + x, tile_width, candidates, filled, least, bounds)
            if at < upto[x + 1]:
                _thin_out(candidates, filled, least, row0 + x, kept, tile_width, bounds)


@njit(nogil=True, cache=True)
def _take_until_full(at, stop, words, row, tile_width, candidates, filled, least, bounds):  # type: ignore[no-untyped-def]
    while at < stop:
        if product_in(words[at]) <= least[row]:
            _leave(bounds, row, tile_width, words[at])
        elif filled[row] == candidates.shape[1]:
            return at
        else:
            candidates[row, filled[row]] = words[at]
            filled[row] += 1
        at += 1
    return at


@njit(nogil=True, cache=True)
def floors(products, count, slack):  # type: ignore[no-untyped-def]
    """For each row: a value that at least `count` of its products are above by `slack`; shape (rows,), float32.

    By halving, to about `count`: it only saves candidates that others would push out again.
    """
    out = np.full(len(products), NO_PRODUCT, np.float32)
    if products.shape[1] < count:
        return out
    for row in range(len(products)):
        some = products[row]
        low = np.float32(-1.5)
        high = np.float32(1.5)
        for _ in range(12):
            middle = np.float32(0.5) * (low + high)
            above = np.int32(0)
            for x in range(len(some)):
                above += np.int32(some[x] > middle)
            if above >= count:
                low = middle
            else:
                high = middle
            if above >= count and above < count + count // 4:
                break
        out[row] = low - slack
    return out


@njit(nogil=True, cache=True)
def insert(near, apart, row, filled, key, col, d):  # type: ignore[no-untyped-def]
    """Puts `col` at distance `d` into the list of `row`, by (distance, key), if it belongs there; the new length."""
    k = near.shape[1]
    p = filled
    if filled == k:
        last = near[row, k - 1]
        if d > apart[row, k - 1] or (d == apart[row, k - 1] and key[col] >= key[last]):
            return filled
    for x in range(filled):
        if near[row, x] == col:
            return filled
    if filled == k:
        p = k - 1
    while p > 0 and (apart[row, p - 1] > d or (apart[row, p - 1] == d and key[near[row, p - 1]] > key[col])):
        apart[row, p] = apart[row, p - 1]
        near[row, p] = near[row, p - 1]
        p -= 1
    near[row, p] = col
    apart[row, p] = d
    return min(filled + 1, k)


@njit(nogil=True, cache=True)
def _may_enter(product, margin, last):  # type: ignore[no-untyped-def]
    """Whether a pair of this product, or one no larger, can be as near as `last`."""
    return 2.0 - 2.0 * (np.float64(product) + margin) <= last * last


@njit(nogil=True, cache=True)
def settle(vectors, key, margin, tile_width, low, known, candidates, filled, bounds, near, apart):  # type: ignore[no-untyped-def]
    """Turns the candidates of the rows from `low` on into measured, exact lists.

    A list is final when no pair left out can be as near as its last entry. Where a tile's bound leaves that
    open (bursts: a product cannot tell d = 0.001 from 0.002), all its rows are measured. `known` says for each row
    whether its list is FINAL already, or was, so that only the CANDIDATES that came on top can enter it.
    """
    for row in range(low, low + len(known)):
        if known[row - low] == FINAL:
            continue
        words = _distinct(candidates[row], filled[row])
        near[row] = -1
        apart[row] = np.inf
        n_near = _measure_candidates(words, vectors, key, margin, row, near, apart)
        if known[row - low] == NOTHING:
            _measure_tiles(bounds, tile_width, vectors, key, margin, row, n_near, near, apart)
        for word in words:
            if not _is_among(near[row], near.shape[1], position_in(word)):
                _leave(bounds, row, tile_width, word)


@njit(nogil=True, cache=True)
def _measure_candidates(words, vectors, key, margin, row, near, apart):  # type: ignore[no-untyped-def]
    """Fills the list of a row from its candidates, nearest first; its length."""
    filled = 0
    for word in words:
        if not _may_enter(product_in(word), margin, apart[row, -1]):
            break
        col = position_in(word)
        filled = insert(near, apart, row, filled, key, col, distance(vectors, row, col))
    return filled


@njit(nogil=True, cache=True)
def _measure_tiles(bounds, tile_width, vectors, key, margin, row, filled, near, apart):  # type: ignore[no-untyped-def]
    """Measures a row with the whole of each tile that may hold something nearer than the end of its list."""
    for tile in range(bounds.shape[1]):
        code = bounds[row, tile]
        if code == 0 or not _may_enter(bound_of(code), margin, apart[row, -1]):
            continue
        for col in range(tile * tile_width, min((tile + 1) * tile_width, len(near))):
            if col != row:
                filled = insert(near, apart, row, filled, key, col, distance(vectors, row, col))


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
