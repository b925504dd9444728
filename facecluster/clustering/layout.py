"""The order in which rows are compared: identical rows folded into one, alike rows side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.lists import NO_PRODUCT, floors
from facecluster.clustering.tiles import Found, TileRunner, Work

# Below this, one block holds everything and there is nothing to gain from an order.
_FEWEST_ROWS_TO_ORDER = 2048
_PIVOTS_PER_ROOT = 4
_ROWS_AT_ONCE = 1024

# Two products of the same rows by other calls may differ by their rounding.
_FLOOR_SLACK = np.float32(2.0**-12)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each row lies among the distinct rows.

    Attributes
    ----------
    rank : NDArray[np.int32]
        Shape (n_faces,): place of each row in byte order, identical rows by the caller's row. The tie key.
    position : NDArray[np.int32]
        Shape (n_faces,): which distinct row each row is a copy of.
    copies : NDArray[np.int32]
        Shape (n_faces,): rows grouped by position, in the caller's order within a group.
    copies_from : NDArray[np.int32]
        Shape (n_distinct + 1,): the copies at position p are `copies[copies_from[p]:copies_from[p + 1]]`.
    """

    rank: NDArray[np.int32]
    position: NDArray[np.int32]
    copies: NDArray[np.int32]
    copies_from: NDArray[np.int32]

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows."""
        return len(self.copies_from) - 1

    @property
    def first(self) -> NDArray[np.int32]:
        """Shape (n_distinct,): the first copy at each position, as the caller's row."""
        return self.copies[self.copies_from[:-1]]


def lay_out(vectors: NDArray[np.float32], listed: int, runner: TileRunner) -> tuple[Layout, NDArray[np.float32]]:
    """Folds identical rows and puts alike rows side by side.

    Parameters
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), contiguous unit rows.
    listed : int
        Nearest rows that will be kept of each.
    runner : TileRunner
        What runs the products.

    Returns
    -------
    Layout
        The same whatever the caller's order, up to which of two identical rows is which. The order of the
        positions decides how fast the rest is, never what it finds.
    NDArray[np.float32]
        Shape (n_distinct,): a product that at least `listed` others of each row are above, NO_PRODUCT where
        none is known.
    """
    groups = _Groups(vectors)
    order, floor = _alike_together(vectors, groups.first, listed, runner)
    return groups.in_order(order), floor


def lay_out_after(vectors: NDArray[np.float32], leading: NDArray[np.int64]) -> Layout:
    """Folds identical rows and puts rows `leading`, all different, and their copies first, in this order."""
    groups = _Groups(vectors)
    order = groups.number[leading]
    is_other = np.ones(len(groups.first), np.bool_)
    is_other[order] = False
    return groups.in_order(np.concatenate([order, np.flatnonzero(is_other)]))


class _Groups:
    """Identical rows, in byte order."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        by_bytes = byte_order(vectors)
        n = len(by_bytes)
        self._by_bytes = by_bytes
        self._starts = _group_starts(vectors, by_bytes)
        self._counts = np.diff(np.append(self._starts, n))
        self.first = by_bytes[self._starts]
        self.number = np.empty(n, np.int64)
        self.number[by_bytes] = np.repeat(np.arange(len(self._starts)), self._counts)

    def in_order(self, order: NDArray[np.int64]) -> Layout:
        """The layout with the groups in this order."""
        n = len(self._by_bytes)
        rank = np.empty(n, np.int32)
        rank[self._by_bytes] = np.arange(n, dtype=np.int32)
        counts = self._counts[order]
        copies_from = np.zeros(len(order) + 1, np.int32)
        np.cumsum(counts, out=copies_from[1:])
        within = np.arange(n) - np.repeat(copies_from[:-1], counts)
        copies = self._by_bytes[np.repeat(self._starts[order], counts) + within].astype(np.int32)
        position = np.empty(n, np.int32)
        position[copies] = np.repeat(np.arange(len(order), dtype=np.int32), counts)
        return Layout(rank, position, copies, copies_from)


def byte_order(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows in the order of their bytes, identical rows in the caller's order, shape (n_faces,)."""
    n, dimension = vectors.shape
    if n == 0 or dimension == 0:
        return np.arange(n, dtype=np.int64)
    # The first two numbers settle nearly every comparison; whole rows are compared only where they agree.
    lead = vectors[:, :2] if dimension > 1 else np.repeat(vectors, 2, axis=1)
    key = np.ascontiguousarray(lead).view(">u8").ravel()
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    tied = np.zeros(n, np.bool_)
    np.equal(sorted_key[1:], sorted_key[:-1], out=tied[1:])
    tied[:-1] |= tied[1:]
    if tied.any():
        rows = order[tied]
        whole = np.ascontiguousarray(vectors[rows]).view(np.dtype((np.void, 4 * dimension))).ravel()
        order[tied] = rows[np.argsort(whole, kind="stable")]
    return order


def _group_starts(vectors: NDArray[np.float32], by_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in byte order a row differs from the one before it."""
    bits = vectors.view(np.uint32)
    is_new = np.ones(len(by_bytes), np.bool_)
    for start in range(1, len(by_bytes), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(by_bytes))
        is_new[start:stop] = (bits[by_bytes[start:stop]] != bits[by_bytes[start - 1 : stop - 1]]).any(axis=1)
    return np.flatnonzero(is_new)


def _alike_together(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], listed: int, runner: TileRunner
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Order of `rows` by the nearest of a few sampled ones, so that a person's faces mostly share tiles.

    The sample also tells, for each row in that order, a product that more than `listed` others are above.
    """
    m = len(rows)
    floor: NDArray[np.float32] = runner.array("floor", (m,), np.float32, float(NO_PRODUCT))
    if m < _FEWEST_ROWS_TO_ORDER:
        return np.arange(m), floor
    sample = np.linspace(0, m - 1, int(_PIVOTS_PER_ROOT * np.sqrt(m))).astype(np.int64)
    pivots = np.ascontiguousarray(vectors[rows[sample]])
    nearest = runner.array("nearest", (m,), np.int32, 0)

    def assign(item: tuple[int, ...]) -> Found:
        (start,) = item
        stop = min(start + _ROWS_AT_ONCE, m)
        products = np.empty((stop - start, len(pivots)), np.float32)
        runner.product(vectors[rows[start:stop]], pivots, products)
        nearest[start:stop] = products.argmax(axis=1)
        # One more, because a row may be in the sample itself.
        floor[start:stop] = floors(products, listed + 1, _FLOOR_SLACK)
        return ()

    for _ in runner.carry_out(Work("layout", assign, [[(start,) for start in range(0, m, _ROWS_AT_ONCE)]])):
        pass
    order = np.argsort(nearest, kind="stable")
    return order, floor[order]
