"""The hdbscan package as reference: its whole clustering, and two checks that equal weights cannot blur."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.arrays import report
from facecluster.clustering.extract import SINGLE_CLUSTER_EPSILON, Clustering, ExtractionParams, extract, numbered
from facecluster.clustering.hierarchy import Hierarchy, build_hierarchy
from facecluster.clustering.tiles import Progress
from facecluster.clustering.tree import SMALLEST_DISTANCE

# hdbscan needs 42 s at 10,000 faces of 512 numbers, and time grows with the square.
SAMPLE = 10_000
# Both sides round: hdbscan computes some of its distances in another order.
WEIGHT_TOLERANCE = 2e-6


@dataclass(frozen=True)
class Verification:
    """What the checks found.

    `largest_weight_difference` is relative, between the sorted weights of the two spanning trees.
    `label_differences` are faces whose company differs when hdbscan breaks equal weights its own way: information only.
    """

    n_faces: int
    n_checked: int
    largest_weight_difference: float
    is_weights_equal: bool
    is_labels_equal: bool
    label_differences: int

    @property
    def is_equal(self) -> bool:
        """Both checks hold."""
        return self.is_weights_equal and self.is_labels_equal

    def in_words(self) -> str:
        """A few sentences for a person."""
        sample = f" (a sample; there are {self.n_faces:,})" if self.n_checked < self.n_faces else ""
        return (
            f"{self.n_checked:,} faces checked against hdbscan{sample}.\n"
            f"Spanning tree: {'equal' if self.is_weights_equal else 'DIFFERENT'}, largest relative difference of the "
            f"sorted weights {self.largest_weight_difference:.1e}.\n"
            f"Labels by hdbscan's own selection on our tree: {'equal' if self.is_labels_equal else 'DIFFERENT'}.\n"
            f"{self.label_differences:,} faces are in other company when hdbscan breaks equal weights its own way."
        )


def verify(
    vectors: NDArray[np.float32],
    hierarchy: Hierarchy,
    min_samples: int,
    params: ExtractionParams,
    progress: Progress | None = None,
) -> Verification:
    """Compare a hierarchy with what hdbscan makes of the same faces; above 10,000 faces of a sample of them.

    Parameters
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), what `hierarchy` was built from.

    Returns
    -------
    Verification
    """
    n = len(vectors)
    if n > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))
        vectors = vectors[rows]
        hierarchy = build_hierarchy(vectors, min_samples=min_samples)
    if len(vectors) < 3:
        return Verification(n, len(vectors), 0.0, True, True, 0)
    report(progress, 0.1, f"hdbscan clusters {len(vectors):,} faces")
    fitted = _fitted(vectors, min_samples, params)
    report(progress, 0.9, "Comparing")
    theirs = np.sort(fitted.single_linkage_tree_.to_numpy()[:, 2])
    ours = np.sort(hierarchy.mst.weight)
    # Twins have distance 0 on both sides; elsewhere the difference is relative.
    difference = float((np.abs(theirs - ours) / np.maximum(ours, 1e-3)).max())
    clusters = extract(hierarchy, params)
    selected = selected_by_hdbscan(hierarchy, params, clusters.is_single_cluster_fallback)
    return Verification(
        n_faces=n,
        n_checked=len(vectors),
        largest_weight_difference=difference,
        is_weights_equal=difference <= WEIGHT_TOLERANCE,
        is_labels_equal=bool(np.array_equal(selected, clusters.labels)),
        label_differences=_in_other_company(clusters.labels, _clusters_of(fitted, params).labels),
    )


def hdbscan_clustering(vectors: NDArray[np.float32], min_samples: int, params: ExtractionParams) -> Clustering:
    """Cluster with the hdbscan package end to end, numbered as `extract` numbers."""
    n = len(vectors)
    if n < 3:
        return _renumbered(np.full(n, -1, np.int32), np.zeros(n, np.float32))
    return _clusters_of(_fitted(vectors, min_samples, params), params)


def _clusters_of(fitted: Any, params: ExtractionParams) -> Clustering:
    if params.method == "cut":
        labels = fitted.single_linkage_tree_.get_clusters(params.epsilon, params.min_cluster_size)
        return _renumbered(labels.astype(np.int32), (labels >= 0).astype(np.float32))
    return _renumbered(fitted.labels_.astype(np.int32), fitted.probabilities_.astype(np.float32))


def selected_by_hdbscan(hierarchy: Hierarchy, params: ExtractionParams, is_fallback: bool) -> NDArray[np.int32]:
    """Labels that hdbscan's own condensing and selection find in our tree, numbered as `extract` numbers."""
    from hdbscan.hdbscan_ import _tree_to_labels

    table = hierarchy.single_linkage.as_linkage_matrix()
    # Copies merge at 0, and hdbscan's lambda of that is infinite; ours has a floor.
    table[:, 2] = np.maximum(table[:, 2], SMALLEST_DISTANCE)
    n = hierarchy.n_faces
    if params.method == "cut":
        from hdbscan._hdbscan_tree import labelling_at_cut

        # The package cuts below epsilon, we at it as well.
        above = np.nextafter(params.epsilon, np.inf)
        found = labelling_at_cut(table, above, params.min_cluster_size)
    else:
        found = _tree_to_labels(
            np.empty((n, 1)),
            table,
            min_cluster_size=params.min_cluster_size,
            cluster_selection_method=params.method,
            allow_single_cluster=is_fallback,
            cluster_selection_epsilon=max(params.epsilon, SINGLE_CLUSTER_EPSILON) if is_fallback else params.epsilon,
        )[0]
    return _renumbered(np.asarray(found, np.int32), np.zeros(n, np.float32)).labels


def _renumbered(labels: NDArray[np.int32], strength: NDArray[np.float32]) -> Clustering:
    return numbered(labels, strength, int(labels.max(initial=-1)) + 1)


def _fitted(vectors: NDArray[np.float32], min_samples: int, params: ExtractionParams) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own use of scikit-learn
        import hdbscan

        return hdbscan.HDBSCAN(
            min_cluster_size=params.min_cluster_size,
            min_samples=min(min_samples, len(vectors) - 1),
            cluster_selection_epsilon=params.epsilon,
            cluster_selection_method="leaf" if params.method == "leaf" else "eom",
        ).fit(np.asarray(vectors, np.float64))


def _in_other_company(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """Faces outside the largest common part of their two clusters."""
    _, group, size = np.unique(np.column_stack([a, b]), axis=0, return_inverse=True, return_counts=True)
    best: dict[int, int] = {}
    for label, count in zip(a.tolist(), size[group.ravel()].tolist(), strict=True):
        best[label] = max(best.get(label, 0), count)
    return len(a) - sum(best.values())
