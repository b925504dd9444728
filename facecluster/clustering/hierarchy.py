"""The hierarchy: everything that depends on the vectors and `min_samples`, and on nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facecluster.clustering.arrays import positive_integer, report, scalar
from facecluster.clustering.known import known_tree
from facecluster.clustering.measure import unit_rows
from facecluster.clustering.mst import Certificate, SpanningTree, spanning_tree
from facecluster.clustering.neighbours import (
    DEFAULT_K,
    KnnGraph,
    Neighbours,
    neighbours_of,
    require_same_faces,
)
from facecluster.clustering.tiles import THREADS, Progress, TileRunner
from facecluster.clustering.tree import SingleLinkage, single_linkage
from facecluster.errors import InputError

_SHARE_OF_NEIGHBOURS = 0.9


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """What `extract` reads.

    Attributes
    ----------
    mst : SpanningTree
        The exact spanning tree of mutual reachability, n_faces - 1 edges in canonical order.
    knn : KnnGraph
        Exact neighbour lists, shape (n_faces, k).
    core_distances : NDArray[np.float64]
        Shape (n_faces,): distance to the `min_samples`-th nearest other face.
    min_samples : int
        As asked for; it counts as n_faces - 1 where there are fewer other faces.
    certificate : Certificate
        What proves the tree.
    """

    mst: SpanningTree
    knn: KnnGraph
    core_distances: NDArray[np.float64]
    min_samples: int
    certificate: Certificate

    @property
    def n_faces(self) -> int:
        """Number of faces."""
        return len(self.core_distances)

    @cached_property
    def single_linkage(self) -> SingleLinkage:
        """The merges, made once: they depend on no parameter of `extract`."""
        return single_linkage(self.mst)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything as plain arrays, for `np.savez` and back by `from_arrays`."""
        numbers = {"min_samples": self.min_samples, **asdict(self.certificate)}
        return {
            "u": self.mst.u,
            "v": self.mst.v,
            "weight": self.mst.weight,
            "distance": self.mst.distance,
            "knn_indices": self.knn.indices,
            "knn_distances": self.knn.distances,
            "core_distances": self.core_distances,
            **{name: np.array(number, np.int64) for name, number in numbers.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Hierarchy:
        """What `to_arrays` took apart; the arrays are not copied."""
        a = dict(arrays)
        return cls(
            SpanningTree(a["u"], a["v"], a["weight"], a["distance"]),  # type: ignore[arg-type]
            KnnGraph(a["knn_indices"], a["knn_distances"]),  # type: ignore[arg-type]
            a["core_distances"],  # type: ignore[arg-type]
            scalar(a["min_samples"]),
            Certificate(**{name: scalar(a[name]) for name in Certificate.__dataclass_fields__}),
        )


def core_distances(knn: KnnGraph, min_samples: int) -> NDArray[np.float64]:
    """Distance from each face to its `min_samples`-th nearest other face.

    Parameters
    ----------
    knn : KnnGraph
        Exact neighbours, shape (n_faces, k), ascending, the face itself left out.
    min_samples : int
        Neighbours that make a face dense, 1 <= min_samples <= k. The face itself is not counted (as in
        hdbscan; scikit-learn's value is ours plus one).

    Returns
    -------
    NDArray[np.float64]
        Shape (n_faces,). Euclidean distance on the unit sphere, in [0, 2]; 0 for a face that is alone.

    Source: Campello, Moulavi and Sander (2013), core distance.
    """
    if knn.k == 0:
        return np.zeros(len(knn.distances))
    return knn.distances[:, min_samples - 1].copy()


def build_hierarchy(
    vectors: ArrayLike,
    min_samples: int = 3,
    neighbours: Neighbours | None = None,
    runner: TileRunner = THREADS,
    progress: Progress | None = None,
    *,
    known: Hierarchy | None = None,
    known_rows: ArrayLike | None = None,
) -> Hierarchy:
    """The exact hierarchy of the faces, from which any epsilon, minimum size and method are extracted.

    Parameters
    ----------
    vectors : ArrayLike
        Shape (n_faces, dimension), float32 unit rows.
    min_samples : int
        Neighbours that make a face dense, the face itself not counted; capped at n_faces - 1.
    neighbours : Neighbours or None
        Lists of these vectors with k >= min_samples; made first (k = 16 or min_samples) where left out.
    runner : TileRunner
        What runs the tiles. It changes how long this takes, never what comes out.
    progress : callable or None
        Told how far the work is, as (share in [0, 1], message); may raise to cancel.
    known : Hierarchy or None
        Built before with the same `min_samples`, of faces that are all among these: only pairs with a new face
        are looked at, and what comes out is the same as without it.
    known_rows : ArrayLike or None
        Shape (known.n_faces,), whole numbers: the row of each known face in `vectors`; the first rows where left
        out.

    Returns
    -------
    Hierarchy
        Bit for bit the same on any runner (but for `certificate.pairs_examined`); the partitions extracted
        from it do not depend on the order of the rows.

    Raises
    ------
    InputError
        If `min_samples` is no positive integer or above `neighbours.k`, if the vectors are not finite unit
        rows, if the lists or `known` belong to other vectors, or if a face of `known` is gone.
    """
    min_samples = positive_integer(min_samples, "min_samples", "hierarchy was built")
    rows = unit_rows(vectors)
    share = 0.0
    if neighbours is None:
        share = _SHARE_OF_NEIGHBOURS
        part = None if progress is None else _part(progress, 0.0, share)
        neighbours = neighbours_of(rows, max(DEFAULT_K, min_samples), runner, part)
    else:
        require_same_faces(neighbours, rows)
    dense = max(min(min_samples, len(rows) - 1), 0)
    if dense > neighbours.k:
        raise InputError(
            f"min_samples is {min_samples}, but the neighbour lists hold only {neighbours.k} faces each. "
            f"No hierarchy was built. Find neighbours with k of at least {min_samples}, or lower min_samples."
        )
    core = core_distances(neighbours.knn, dense)
    part = None if progress is None else _part(progress, share, 1.0)
    tree = None
    if known is not None:
        at_first = core[neighbours.layout.first]
        tree = known_tree(known, known_rows, rows, neighbours.layout, at_first, min_samples)
    mst, certificate = spanning_tree(rows, neighbours, core, runner, part, tree)
    report(progress, 1.0, "Hierarchy built")
    return Hierarchy(mst, neighbours.knn, core, min_samples, certificate)


def _part(progress: Progress, low: float, high: float) -> Progress:
    """Reports the progress of a part as that of the whole."""

    def part(share: float, message: str) -> None:
        progress(low + (high - low) * share, message)

    return part
