"""Exact nearest neighbours of every face: the slow part, done once whatever the parameters are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facecluster.clustering.arrays import positive_integer, report, scalar
from facecluster.clustering.comparison import Comparison, to_keep
from facecluster.clustering.known import kept_lists
from facecluster.clustering.layout import Layout, lay_out
from facecluster.clustering.lists import unfold
from facecluster.clustering.measure import pair_distances, unit_rows
from facecluster.clustering.tiles import THREADS, Progress, TileRunner
from facecluster.errors import InputError

DEFAULT_K = 16

# Columns that share one bound, at least: n_faces**2 / width bytes.
TILE_WIDTH = 256
_MOST_BYTES_OF_BOUNDS = 2_000_000_000

# Of each stage: where it starts and ends in the whole, and what to call it.
_SHARES = {
    "recall": (0.0, 0.02, "Recalling neighbours"),
    "compare": (0.02, 0.95, "Comparing faces"),
    "measure": (0.95, 0.99, "Measuring neighbours"),
}


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
    bounds : NDArray[np.uint8]
        Shape (n_distinct, n_tiles): no product of the row with a position of that tile that is not in its
        list is above what this byte stands for (`lists.bound_of`; but for the margin of a product).
    tile_width : int
        Positions in a tile.
    """

    knn: KnnGraph
    layout: Layout
    near: NDArray[np.int32]
    apart: NDArray[np.float64]
    bounds: NDArray[np.uint8]
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
    vectors: ArrayLike,
    k: int = DEFAULT_K,
    runner: TileRunner = THREADS,
    progress: Progress | None = None,
    *,
    known: Neighbours | None = None,
    known_rows: ArrayLike | None = None,
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
    known : Neighbours or None
        Lists made before, of faces that are all or partly among these. Only the rows of new faces, and those in
        whose list a face is gone, are compared with all others; what comes out is the same as without it.
    known_rows : ArrayLike or None
        Shape (known.n_faces,), whole numbers: the row of each known face in `vectors`, -1 where it is gone.
        Where left out, they are the first rows.

    Returns
    -------
    Neighbours
        The lists are bit for bit the same on any runner.

    Raises
    ------
    InputError
        If `k` is no positive integer, the vectors are not finite unit rows, or `known` belongs to other vectors.
    """
    k = positive_integer(k, "k", "neighbours were searched")
    return neighbours_of(unit_rows(vectors), k, runner, progress, known, known_rows)


def neighbours_of(
    rows: NDArray[np.float32],
    k: int,
    runner: TileRunner,
    progress: Progress | None,
    known: Neighbours | None = None,
    known_rows: ArrayLike | None = None,
) -> Neighbours:
    """`find_neighbours` for rows and k that were checked."""
    report(progress, 0.0, "Sorting faces")
    search = _search(rows, k, runner, known, known_rows)
    for stage in search.stages():
        start, stop, message = _SHARES[stage.name]
        if search.n_known:
            message += f", the lists of {search.n_known:,} of {len(rows):,} are known"
        with closing(runner.carry_out(stage)) as pieces:
            for share, _ in pieces:
                report(progress, start + (stop - start) * share, message)
    layout = search.layout
    longest = max(min(k, len(rows) - 1), 0)
    knn = KnnGraph(*unfold(search.near, search.apart, search.key, layout.copies, layout.copies_from, longest))
    report(progress, 1.0, "Neighbours found")
    return Neighbours(knn, layout, search.near, search.apart, search.bounds, search.tile_width)


def _search(
    rows: NDArray[np.float32], k: int, runner: TileRunner, known: Neighbours | None, known_rows: ArrayLike | None
) -> Comparison:
    kept = kept_lists(known, known_rows, rows, k) if known else None
    if known and kept and tile_width(kept.layout.n_distinct) <= known.tile_width:
        return Comparison(rows, kept.layout, None, kept.near.shape[1], known.tile_width, runner, kept)
    layout, floor = lay_out(rows, to_keep(k), runner)
    m = layout.n_distinct
    return Comparison(rows, layout, floor, max(min(k, m - 1), 0), tile_width(m), runner)


def tile_width(n_distinct: int) -> int:
    """Positions that share one bound: wider ones exclude less, and keep the bounds of a million rows under 2 GB."""
    width = TILE_WIDTH
    while n_distinct * -(-n_distinct // width) > _MOST_BYTES_OF_BOUNDS:
        width *= 2
    return width


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
