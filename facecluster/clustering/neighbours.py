"""Exact nearest neighbours of every face: the slow part, done once whatever the parameters are."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facecluster.clustering.arrays import positive_integer, report, scalar
from facecluster.clustering.layout import Layout, lay_out
from facecluster.clustering.lists import NO_PRODUCT, keep_best, settle, unfold
from facecluster.clustering.measure import pair_distances, product_margin, unit_rows
from facecluster.clustering.tiles import THREADS, Progress, TileRunner, circle_rounds
from facecluster.errors import InputError

DEFAULT_K = 16

# Columns that share one bound: wider saves memory (n_faces**2 / width floats) and excludes less.
TILE_WIDTH = 256

# Kept by product beyond k, so that the rounding of the last places does not send every row back.
_SPARE = 8
_ROWS_TO_SETTLE = 512


@dataclass(frozen=True, eq=False)
class KnnGraph:
    """Exact nearest neighbours, the face itself left out.

    Attributes
    ----------
    indices : NDArray[np.int32]
        Shape (n_faces, k), by (distance, byte order of the row).
    distances : NDArray[np.float64]
        Shape (n_faces, k), ascending, Euclidean, in [0, 2].
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.float64]

    @property
    def k(self) -> int:
        """Neighbours in each list."""
        return int(self.indices.shape[1])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbour lists, and what the pairs outside them cannot be closer than.

    Attributes
    ----------
    knn : KnnGraph
        The lists of all faces.
    layout : Layout
        Identical rows folded, and the order in which the distinct ones were compared ("positions").
    near : NDArray[np.int32]
        Shape (n_distinct, k or fewer): the nearest other distinct rows, as positions.
    apart : NDArray[np.float64]
        Same shape: their distances.
    bounds : NDArray[np.float32]
        Shape (n_distinct, n_tiles): no product of the row with a position of that tile that is not in its
        list is above this (but for the margin of a product).
    tile_width : int
        Positions in a tile.
    """

    knn: KnnGraph
    layout: Layout
    near: NDArray[np.int32]
    apart: NDArray[np.float64]
    bounds: NDArray[np.float32]
    tile_width: int

    @property
    def n_faces(self) -> int:
        """Number of faces."""
        return len(self.knn.indices)

    @property
    def k(self) -> int:
        """Neighbours in each list."""
        return self.knn.k

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything as plain arrays, for `np.savez` and back by `from_arrays`."""
        return {
            "knn_indices": self.knn.indices,
            "knn_distances": self.knn.distances,
            "rank": self.layout.rank,
            "position": self.layout.position,
            "copies": self.layout.copies,
            "copies_from": self.layout.copies_from,
            "near": self.near,
            "apart": self.apart,
            "bounds": self.bounds,
            "tile_width": np.array(self.tile_width, np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Neighbours:
        """What `to_arrays` took apart; the arrays are not copied."""
        a = dict(arrays)
        return cls(
            KnnGraph(a["knn_indices"], a["knn_distances"]),  # type: ignore[arg-type]
            Layout(a["rank"], a["position"], a["copies"], a["copies_from"]),  # type: ignore[arg-type]
            a["near"],  # type: ignore[arg-type]
            a["apart"],  # type: ignore[arg-type]
            a["bounds"],  # type: ignore[arg-type]
            scalar(a["tile_width"]),
        )


def find_neighbours(
    vectors: ArrayLike, k: int = DEFAULT_K, runner: TileRunner = THREADS, progress: Progress | None = None
) -> Neighbours:
    """Exact nearest neighbours of every face.

    Parameters
    ----------
    vectors : ArrayLike
        Shape (n_faces, dimension), float32 unit rows.
    k : int
        Neighbours in each list, k >= 1; capped at n_faces - 1.
    runner : TileRunner
        What runs the blocks of products. It changes how long this takes, never what comes out.
    progress : callable or None
        Told how far the work is, as (share in [0, 1], message); may raise to cancel.

    Returns
    -------
    Neighbours
        Bit for bit the same on any runner.

    Raises
    ------
    InputError
        If `k` is no positive integer, or the vectors are not finite unit rows.
    """
    k = positive_integer(k, "k", "neighbours were searched")
    return neighbours_of(unit_rows(vectors), k, runner, progress)


def neighbours_of(rows: NDArray[np.float32], k: int, runner: TileRunner, progress: Progress | None) -> Neighbours:
    """`find_neighbours` for rows and k that were checked."""
    report(progress, 0.0, "Sorting faces")
    layout = lay_out(rows, runner)
    m = layout.n_distinct
    distinct = rows[layout.first]
    search = _Search(distinct, layout.rank[layout.first], max(min(k, m - 1), 0))
    if m > 1:
        search.compare(runner, progress)
        search.settle(runner, progress)
    knn = KnnGraph(
        *unfold(
            search.near,
            search.apart,
            search.key,
            layout.copies,
            layout.copies_from,
            max(min(k, len(rows) - 1), 0),
        )
    )
    report(progress, 1.0, "Neighbours found")
    return Neighbours(knn, layout, search.near, search.apart, search.bounds, search.tile_width)


class _Search:
    """Lists of the distinct rows while they are being made."""

    def __init__(self, distinct: NDArray[np.float32], key: NDArray[np.int32], k: int) -> None:
        m = len(distinct)
        kept = max(min(k + _SPARE, m - 1), 0)
        self.vectors = distinct
        self.key = key
        self.tile_width = TILE_WIDTH
        self.best = np.full((m, kept), NO_PRODUCT, np.float32)
        self.who = np.full((m, kept), -1, np.int32)
        self.bounds = np.full((m, -(-m // self.tile_width)), NO_PRODUCT, np.float32)
        self.near = np.full((m, k), -1, np.int32)
        self.apart = np.full((m, k), np.inf, np.float64)
        self._own = threading.local()

    def compare(self, runner: TileRunner, progress: Progress | None) -> None:
        """All products, upper half only, into the lists of both sides."""
        m = len(self.vectors)
        side = -(-runner.block_rows // self.tile_width) * self.tile_width
        n_blocks = -(-m // side)

        def compare_blocks(pair: tuple[int, int]) -> None:
            row0, col0 = pair[0] * side, pair[1] * side
            self._take(row0, min(row0 + side, m), col0, min(col0 + side, m), side)

        done, total = 0, n_blocks * (n_blocks + 1) // 2
        with closing(runner.run(compare_blocks, circle_rounds(n_blocks))) as results:
            for _ in results:
                done += 1
                report(progress, 0.02 + 0.93 * done / total, "Comparing faces")

    def _take(self, row0: int, row1: int, col0: int, col1: int, side: int) -> None:
        if not hasattr(self._own, "products"):
            self._own.products = np.empty(side * side, np.float32)
            self._own.turned = np.empty(side * side, np.float32)
        shape = (row1 - row0, col1 - col0)
        products = self._own.products[: shape[0] * shape[1]].reshape(shape)
        np.dot(self.vectors[row0:row1], self.vectors[col0:col1].T, out=products)
        if row0 == col0:
            np.fill_diagonal(products, NO_PRODUCT)
            keep_best(products, row0, col0, self.tile_width, self.best, self.who, self.bounds)
            return
        keep_best(products, row0, col0, self.tile_width, self.best, self.who, self.bounds)
        turned = self._own.turned[: shape[0] * shape[1]].reshape(shape[::-1])
        turned[:] = products.T
        keep_best(turned, col0, row0, self.tile_width, self.best, self.who, self.bounds)

    def settle(self, runner: TileRunner, progress: Progress | None) -> None:
        """Measures every list, and searches again where a product cannot tell."""
        m, dimension = self.vectors.shape
        margin = product_margin(dimension)

        def settle_rows(low: int) -> None:
            settle(
                self.vectors,
                self.key,
                margin,
                self.tile_width,
                low,
                min(low + _ROWS_TO_SETTLE, m),
                self.best,
                self.who,
                self.bounds,
                self.near,
                self.apart,
            )

        with closing(runner.run(settle_rows, [range(0, m, _ROWS_TO_SETTLE)])) as results:
            for low, _ in results:
                done = min(low + _ROWS_TO_SETTLE, m)
                report(progress, 0.95 + 0.04 * done / m, "Measuring neighbours")


def require_same_faces(neighbours: Neighbours, rows: NDArray[np.float32]) -> None:
    """Refuses neighbour lists that were made from other vectors: the first distance of each row is measured."""
    n = neighbours.n_faces
    fits = len(rows) == n
    if fits and neighbours.k:
        measured = pair_distances(rows, np.arange(n), neighbours.knn.indices[:, 0])
        fits = bool(np.array_equal(measured, neighbours.knn.distances[:, 0]))
    if not fits:
        raise InputError(
            f"The neighbour lists ({n:,} faces) were made from other vectors than these {len(rows):,} rows. "
            "Nothing was clustered. Find the neighbours of these vectors first."
        )
