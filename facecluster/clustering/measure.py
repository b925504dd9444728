"""What a number in a result may come from: the door for vectors, the measured distance, the margin of a product."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from facecluster.clustering.lanes import LANES, squared_difference
from facecluster.errors import InputError

# How far the length of a row may be from 1. More would need a wider margin below.
LENGTH_TOLERANCE = 1e-5

_ROWS_AT_ONCE = 8192


def product_margin(dimension: int) -> float:
    """Most by which a float32 product of two rows can understate how close they are.

    The worst IEEE rounding of a sum of 512 terms is 2**-15 whatever the order of the terms; the same again
    covers rows whose length is off by `LENGTH_TOLERANCE` (2e-5 in the product). TF32, bfloat16 and half
    products are coarser and are not allowed.

    Parameters
    ----------
    dimension : int
        Numbers in a row.

    Returns
    -------
    float
        To be added to a product before it may exclude a pair; 2**-14 up to 512 dimensions.
    """
    return max(dimension, 512) * 2.0**-24 + 2.0**-15


def unit_rows(vectors: ArrayLike) -> NDArray[np.float32]:
    """Checks the vectors at the door and hands them on as contiguous float32.

    Parameters
    ----------
    vectors : ArrayLike
        Shape (n_faces, dimension), floating point, every row of length 1 within 1e-5. Rows are measured as
        given: nothing is normalised here.

    Returns
    -------
    NDArray[np.float32]
        The same rows; not copied where they are contiguous float32 already.

    Raises
    ------
    InputError
        If the array has another shape or type, or a row is not finite or not of length 1.
    """
    given = np.asarray(vectors)
    if given.ndim != 2:
        raise InputError(
            f"The vectors have shape {given.shape}, not (faces, dimension). Nothing was clustered. "
            "Hand over one row for each face."
        )
    if given.dtype.kind != "f":
        raise InputError(
            f"The vectors are of type {given.dtype}, not floating point. Nothing was clustered. "
            "Convert them to float32 and normalise each row to length 1."
        )
    rows: NDArray[np.float32] = np.ascontiguousarray(given, dtype=np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        lengths = np.sqrt(_squared_lengths(block))
        # Written so that NaN fails too.
        wrong = np.flatnonzero(~(np.abs(lengths - 1.0) <= LENGTH_TOLERANCE))
        if len(wrong):
            _refuse(start + int(wrong[0]), float(lengths[wrong[0]]))
    return rows


# The order of the sum does not matter here: lengths are only checked. NaN and infinity must come through.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _squared_lengths(rows):  # type: ignore[no-untyped-def]
    out = np.empty(len(rows), np.float64)
    for row in range(len(rows)):
        total = 0.0
        for x in range(rows.shape[1]):
            total += np.float64(rows[row, x]) * np.float64(rows[row, x])
        out[row] = total
    return out


def _refuse(row: int, length: float) -> None:
    if not math.isfinite(length):
        raise InputError(
            f"Row {row} holds a value that is not a finite number. Nothing was clustered. "
            "Leave that face out or compute its vector again."
        )
    raise InputError(
        f"Row {row} has length {length:.6g}, not 1. Nothing was clustered. "
        "Divide every row by its length before clustering."
    )


# Compiled into the kernels of other files, whose caches numba does not renew when only this file or `lanes`
# changes: after a change there, delete facecluster/clustering/__pycache__.
@njit(nogil=True, cache=True)
def distance(vectors, i, j):  # type: ignore[no-untyped-def]
    """Euclidean distance of rows i and j: float64 differences, squares summed in one fixed order.

    Never from a product: float32 loses every digit of sqrt(2 - 2 cos) below d = 1e-4, where burst shots are.
    No fastmath, because its order would be the compiler's. Symmetric in i and j to the last bit.
    """
    dimension = vectors.shape[1]
    whole = dimension - dimension % LANES
    total = squared_difference(vectors, i, j, whole)
    for t in range(whole, dimension):
        apart = np.float64(vectors[i, t]) - np.float64(vectors[j, t])
        total += apart * apart
    return np.sqrt(total)


@njit(nogil=True, cache=True)
def pair_distances(vectors, a, b):  # type: ignore[no-untyped-def]
    """Distances of the pairs (a[x], b[x]), float64."""
    out = np.empty(len(a), np.float64)
    for x in range(len(a)):
        out[x] = distance(vectors, a[x], b[x])
    return out
