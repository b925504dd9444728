"""All products, once: each row's candidates for its list, and what the pairs left out cannot be above."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.lanes import LANES
from facecluster.clustering.lists import NO_PRODUCT, keep_best, settle
from facecluster.clustering.measure import product_margin
from facecluster.clustering.tiles import Found, TileRunner, Work, circle_rounds

# Candidates beyond the list: pairs whose products nearly agree are told apart by measuring, and a longer list lets
# the bounds of the others be lower.
_SPARE = 8

# Candidates that a row has room for, before the worst are taken out again.
_ROOM = 8 / 3
_LEAST_ROOM = 64

# Rows of a piece of work: blocks of a piece share their rows while these are in the processor's cache.
_MOST_ROWS = 2304
_PIECES_PER_WORKER = 8
_ROWS_TO_SETTLE = 512


def to_keep(k: int) -> int:
    """Candidates kept of each row for a list of k."""
    return k + _SPARE


class Comparison:
    """Lists of the distinct rows while they are being made.

    Everything it writes may be written again: a piece of work that a crash cut off is simply done anew.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        first: NDArray[np.int32],
        key: NDArray[np.int32],
        floor: NDArray[np.float32],
        k: int,
        tile_width: int,
        runner: TileRunner,
    ) -> None:
        m = len(first)
        self._runner = runner
        self._m = m
        self._rows = _padded(rows, first)
        self._key = key
        self._k = k
        self._kept = to_keep(k)
        self._width = tile_width
        room = max(_LEAST_ROOM, int(self._kept * _ROOM))
        self.candidates = runner.array("candidates", (m, room), np.uint64, 0)
        self.filled = runner.array("filled", (m,), np.int32, 0)
        self.least = runner.array("least", (len(self._rows),), np.float32, float(NO_PRODUCT))
        self.least[:m] = np.maximum(self.least[:m], floor)
        self.bounds = runner.array("bounds", (m, -(-m // tile_width)), np.uint8, 0)
        self.near = runner.array("near", (m, k), np.int32, -1)
        self.apart = runner.array("apart", (m, k), np.float64, np.inf)
        self._own = threading.local()

    def all_pairs(self) -> Work:
        """Products of every row with every other, half of them computed."""
        block = -(-self._runner.block_rows // self._width) * self._width
        share = self._m // (self._runner.workers * _PIECES_PER_WORKER)
        side = max(block, min(share, _MOST_ROWS) // block * block)
        rounds = [[(i * side, j * side) for i, j in pairs] for pairs in circle_rounds(-(-self._m // side))]
        return Work("compare", partial(self._compare, side, block), rounds)

    def _compare(self, side: int, block: int, item: tuple[int, ...]) -> Found:
        row0, col0 = item
        for row in range(row0, min(row0 + side, self._m), block):
            for col in range(max(col0, row), min(col0 + side, self._m), block):
                self._take(row, min(row + block, self._m), col, min(col + block, self._m))
        return ()

    def _take(self, row0: int, row1: int, col0: int, col1: int) -> None:
        n_rows, n_cols = row1 - row0, col1 - col0
        width = -(-n_cols // LANES) * LANES
        if not hasattr(self._own, "room") or len(self._own.room) < n_rows * width:
            self._own.room = np.empty(n_rows * width, np.float32)
        products = self._own.room[: n_rows * width].reshape(n_rows, width)
        self._runner.product(self._rows[row0:row1], self._rows[col0 : col0 + width], products)
        products[:, n_cols:] = NO_PRODUCT
        if row0 == col0:
            np.fill_diagonal(products, NO_PRODUCT)
        keep_best(
            products,
            n_cols,
            row0,
            col0,
            self._kept,
            self._width,
            self.candidates,
            self.filled,
            self.least,
            self.bounds,
        )

    def measuring(self) -> Work:
        """Measures every list, and searches again where a product cannot tell."""
        starts = [(start,) for start in range(0, self._m, _ROWS_TO_SETTLE)]
        return Work("measure", self._settle, [starts])

    def _settle(self, item: tuple[int, ...]) -> Found:
        (low,) = item
        settle(
            self._rows,
            self._key,
            product_margin(self._rows.shape[1]),
            self._width,
            low,
            min(low + _ROWS_TO_SETTLE, self._m),
            self.candidates,
            self.filled,
            self.bounds,
            self.near,
            self.apart,
        )
        return ()


def _padded(rows: NDArray[np.float32], first: NDArray[np.int32]) -> NDArray[np.float32]:
    """Rows `first`, and rows of zeros up to a multiple of LANES, so that every product has whole lanes."""
    m, dimension = len(first), rows.shape[1]
    out = np.empty((-(-m // LANES) * LANES, dimension), np.float32)
    np.take(rows, first, axis=0, out=out[:m], mode="clip")
    out[m:] = 0.0
    return out
