"""Blocks of products, taken into the candidates and bounds of their rows: here, or for a window elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.lanes import LANES
from facecluster.clustering.lists import NO_PRODUCT, keep_best, pack, take_in
from facecluster.clustering.tiles import Found, Product
from facecluster.clustering.windows import Window

# Candidates that a row has room for, before the worst are taken out again.
_ROOM = 8 / 3
_LEAST_ROOM = 64


def room_for(to_keep: int) -> int:
    """Candidates that a row has room for."""
    return max(_LEAST_ROOM, int(to_keep * _ROOM))


class Blocks:
    """The candidates and bounds of some rows, and how blocks of their products get into them.

    Parameters
    ----------
    rows : NDArray[np.float32]
        A multiple of LANES rows (`whole_lanes`); those after the last position are zeros.
    candidates, filled, least, bounds
        Of the positions, as in `keep_best`; `least` is as long as `rows`.
    to_keep : int
        Candidates that a row is left with when its room is full.
    tile_width : int
        Positions that share a bound.
    product : Product
        What makes the products.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        candidates: NDArray[np.uint64],
        filled: NDArray[np.int32],
        least: NDArray[np.float32],
        bounds: NDArray[np.uint8],
        to_keep: int,
        tile_width: int,
        product: Product,
    ) -> None:
        self._rows = rows
        self._kept = (candidates, filled, least, bounds)
        self._to_keep = to_keep
        self._tile_width = tile_width
        self._product = product
        self._own = threading.local()

    def compare(self, block: int, item: tuple[int, ...]) -> Found:
        """Compares rows row0..row1 with columns col0..col1, the same or later ones, in blocks of that side."""
        row0, row1, col0, col1 = item
        for row in range(row0, row1, block):
            for col in range(max(col0, row), col1, block):
                self._take(row, min(row + block, row1), col, min(col + block, col1))
        return ()

    def _take(self, row0: int, row1: int, col0: int, col1: int) -> None:
        n_rows, n_cols = row1 - row0, col1 - col0
        width = -(-n_cols // LANES) * LANES
        if not hasattr(self._own, "room") or len(self._own.room) < n_rows * width:
            self._own.room = np.empty(n_rows * width, np.float32)
        products = self._own.room[: n_rows * width].reshape(n_rows, width)
        self._product(self._rows[row0:row1], self._rows[col0 : col0 + width], products)
        products[:, n_cols:] = NO_PRODUCT
        if row0 == col0:
            np.fill_diagonal(products, NO_PRODUCT)
        keep_best(products, n_cols, row0, col0, self._to_keep, self._tile_width, *self._kept)


def whole_lanes(n: int) -> int:
    """n, or a little more: a multiple of LANES, so that every product has whole lanes."""
    return -(-n // LANES) * LANES


def compare_window(
    inputs: Mapping[str, Any], item: tuple[int, ...], product: Product, *, block: int, to_keep: int, tile_width: int
) -> Found:
    """The candidates and bounds of a window alone.

    Parameters
    ----------
    inputs : mapping
        `rows` and `least` of all positions.
    item : tuple of int
        The window.
    product : Product
        What makes the products.
    block, to_keep, tile_width : int
        Side of a block of products, and as in `Blocks`.

    Returns
    -------
    tuple of arrays
        How many candidates each position of the window has, their words one after the other, and the bounds: of the
        rows in the tiles of the columns, and of the columns in the tiles of the rows where these differ.
    """
    window = Window(*item)
    n = len(window)
    rows = np.zeros((whole_lanes(n), inputs["rows"].shape[1]), np.float32)
    rows[:n] = window.take(inputs["rows"])
    least = np.full(len(rows), NO_PRODUCT, np.float32)
    least[:n] = window.take(inputs["least"])
    candidates = np.empty((n, room_for(to_keep)), np.uint64)
    filled = np.zeros(n, np.int32)
    bounds = np.zeros((n, len(window.tiles(tile_width))), np.uint8)
    columns = (0, n) if window.is_diagonal else (window.n_rows, n)
    blocks = Blocks(rows, candidates, filled, least, bounds, to_keep, tile_width, product)
    blocks.compare(block, (0, window.n_rows, *columns))
    counts, words = pack(
        to_keep, tile_width, window.n_rows, window.row0, window.col0, candidates, filled, least, bounds
    )
    if window.is_diagonal:
        return counts, words, bounds
    n_tiles = window.tiles(tile_width).n_rows
    return counts, words, bounds[: window.n_rows, n_tiles:], bounds[window.n_rows :, :n_tiles]


def merge_window(
    item: tuple[int, ...],
    found: Found,
    candidates: NDArray[np.uint64],
    filled: NDArray[np.int32],
    least: NDArray[np.float32],
    bounds: NDArray[np.uint8],
    to_keep: int,
    tile_width: int,
) -> Found:
    """Takes what `compare_window` found into the candidates and bounds of all positions; again changes nothing."""
    window = Window(*item)
    tiles = window.tiles(tile_width)
    counts, words, of_rows, *of_columns = found
    _raise_to(bounds[window.row0 : window.row1, tiles.col0 : tiles.col1], of_rows)
    for others in of_columns:
        _raise_to(bounds[window.col0 : window.col1, tiles.row0 : tiles.row1], others)
    upto = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=upto[1:])
    for here, position in window.starts:
        stop = window.n_rows if here == 0 else len(window)
        take_in(upto[here : stop + 1], words, position, to_keep, tile_width, candidates, filled, least, bounds)
    return ()


def _raise_to(bounds: NDArray[np.uint8], found: NDArray[Any]) -> None:
    np.maximum(bounds, found, out=bounds)
