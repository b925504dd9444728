"""How alike two groups of faces are on average, exactly, and how alike one person has to be.

The similarity of two groups is the mean cosine over all pairs of a face of one and a face of the other: the product of
their sums over the product of their sizes. Coordinates are rounded to multiples of 2**-15 first, which changes a cosine
by about 1e-5. Sums of such numbers, and products of a sum with a row, are then exact in float64: they depend on who is
in a group, and neither on the order of the rows nor on that in which a processor adds.

Compiled into the kernels of other files, whose caches numba does not renew when only this file changes: after a change
here, delete facecluster/clustering/__pycache__.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Two large groups are one person from this mean similarity on, two single faces from SAME_PERSON + SMALL on. Chosen on
# real vectors; on made-up ones, lower values from 0.25 on do a little better still (benchmarks/accuracy.py).
SAME_PERSON = 0.30
SMALL = 0.08

# A single face that is unlike everybody is mostly a bad picture, which is less like everybody: a person of MANY faces
# takes it in from here on. A few faces that are alike and this far from a person are somebody else.
LONE = 0.25
MANY = 9

# Added to a float32 below 1 and taken away again, it leaves a multiple of 2**-15: float32 has 23 bits after the
# leading one, and this number begins at 2**8.
_GRID = np.float32(1.5 * 2.0**8)

# Products of two sums are multiples of 2**-30, so they are exact up to 2**23; larger ones are added in a fixed order.
_EXACT = 2.0**23


@njit(nogil=True, cache=True)
def needed(n_left, n_right):  # type: ignore[no-untyped-def]
    """Least mean similarity at which groups of these sizes become one: more where there is less to go by."""
    if min(n_left, n_right) == 1 and max(n_left, n_right) >= MANY:
        return LONE
    return SAME_PERSON + 2.0 * SMALL / (n_left + n_right)


@njit(nogil=True, cache=True)
def needed_to_stay(n_others):  # type: ignore[no-untyped-def]
    """Least mean similarity to so many others of its cluster at which a face stays there.

    Where HDBSCAN joined two people, each of their faces would stay by the rule for single ones. Who has to go is
    looked at again when people are formed.
    """
    return SAME_PERSON + 2.0 * SMALL / (n_others + 1)


@njit(nogil=True, cache=True)
def _on_grid(x):  # type: ignore[no-untyped-def]
    return np.float64((x + _GRID) - _GRID)


@njit(nogil=True, cache=True)
def add_row(vectors, row, total):  # type: ignore[no-untyped-def]
    """Adds a row to a sum."""
    for t in range(len(total)):
        total[t] += _on_grid(vectors[row, t])


# Exact, so the compiler may add in any order: seven times as fast.
@njit(nogil=True, cache=True, fastmath={"reassoc"})
def product_with_row(vectors, row, total):  # type: ignore[no-untyped-def]
    """Product of a row with a sum of up to 2**23 rows."""
    product = 0.0
    for t in range(len(total)):
        product += _on_grid(vectors[row, t]) * total[t]
    return product


@njit(nogil=True, cache=True)
def product_of_sums(left, right, n_pairs):  # type: ignore[no-untyped-def]
    """Product of two sums with so many pairs of rows."""
    if n_pairs <= _EXACT:
        return _exact_product(left, right)
    product = 0.0
    for t in range(len(left)):
        product += left[t] * right[t]
    return product


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def _exact_product(left, right):  # type: ignore[no-untyped-def]
    product = 0.0
    for t in range(len(left)):
        product += left[t] * right[t]
    return product


@njit(nogil=True, cache=True)
def are_alike(vectors, left, right):  # type: ignore[no-untyped-def]
    """Whether two groups of rows are one person."""
    sums = np.zeros((2, vectors.shape[1]))
    for row in left:
        add_row(vectors, row, sums[0])
    for row in right:
        add_row(vectors, row, sums[1])
    n_pairs = len(left) * len(right)
    return product_of_sums(sums[0], sums[1], n_pairs) / n_pairs >= needed(len(left), len(right))
