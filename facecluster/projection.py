"""The map: UMAP on the neighbours that clustering found, always the same for the same faces."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

SEED = 0
MIN_DIST = 0.15
N_NEIGHBORS = 15
# Of the start's width. UMAP divides by the span of each axis, and identical faces must not start in one spot.
_JITTER = 1e-4
_BLOCK = 8192  # rows in float64 at a time


def project(
    vectors: NDArray[np.float32], indices: NDArray[np.int32], distances: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Place every face in the plane.

    Parameters
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), unit rows; only their two main axes are used, as the start.
    indices, distances : NDArray
        Shape (n_faces, k): exact neighbours, ascending, the face itself left out. Up to `N_NEIGHBORS` or fewer faces,
        and with k below 2, the two main axes are the map.

    Returns
    -------
    NDArray[np.float32]
        Shape (n_faces, 2), finite. Neither distance nor area on it means anything by itself.
    """
    n = len(vectors)
    start = _principal_axes(vectors)
    if n <= N_NEIGHBORS or indices.shape[1] < 2:
        return start
    k = min(N_NEIGHBORS, indices.shape[1] + 1)
    # umap-learn counts the face itself as its own first neighbour.
    own = np.arange(n, dtype=np.int32)[:, None]
    knn = (
        np.hstack([own, indices[:, : k - 1]]).astype(np.int32),
        np.hstack([np.zeros((n, 1)), distances[:, : k - 1]]).astype(np.float32),
    )
    with warnings.catch_warnings():
        # umap-learn warns that a given graph cannot place later faces; the map is made anew instead.
        warnings.simplefilter("ignore")
        import umap

        model = umap.UMAP(
            n_neighbors=k,
            min_dist=MIN_DIST,
            init=start,
            random_state=SEED,
            n_jobs=1,
            precomputed_knn=(*knn, None),
            # Without it, fewer than 4,096 faces are measured pair by pair and the given neighbours are not looked at.
            force_approximation_algorithm=True,
        )
        return np.asarray(model.fit_transform(np.ascontiguousarray(vectors)), np.float32)


def _principal_axes(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """First two principal components, scaled to 10 as UMAP likes its start; signs fixed, so that maps do not flip.

    In float64 and rounded: the last digits of a product depend on the machine's threads, and UMAP blows them up.
    """
    n = len(vectors)
    if n < 2 or vectors.shape[1] < 2:
        return np.zeros((n, 2), np.float32)
    mean = vectors.mean(axis=0, dtype=np.float64)
    blocks = [slice(start, start + _BLOCK) for start in range(0, n, _BLOCK)]
    gram = np.zeros((vectors.shape[1],) * 2)
    for block in blocks:
        centred = vectors[block] - mean
        gram += centred.T @ centred
    axes = np.linalg.eigh(gram)[1][:, [-1, -2]]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    plane = np.concatenate([(vectors[block] - mean) @ axes for block in blocks])
    span = np.abs(plane).max()
    plane = np.round(plane * (10.0 / span if span > 0 else 1.0), 3)
    plane += np.random.default_rng(SEED).normal(scale=10.0 * _JITTER, size=plane.shape)
    return np.asarray(plane, np.float32)
