"""The face shown for a person: sharp, and nearest to what they look like on the whole."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from facecluster.errors import InputError


def cover(rows: ArrayLike, vectors: NDArray[np.float32], blur_score: ArrayLike, threshold: float) -> int:
    """The face to show for one person.

    The sharp face nearest to the mean of all of the person's faces (by cosine); where none is sharp, the
    sharpest. Ties by smallest row.

    Parameters
    ----------
    rows : ArrayLike
        Shape (n_members,): the person's faces, at least one.
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), unit rows.
    blur_score : ArrayLike
        Shape (n_faces,), variance of the Laplacian, larger is sharper; NaN where unknown, which counts as
        sharp.
    threshold : float
        Least score of a sharp face.

    Returns
    -------
    int
        A row out of `rows`.
    """
    members = np.unique(np.asarray(rows, dtype=np.int64))
    if not len(members):
        raise InputError("A person without faces has no cover. Nothing was chosen. Give at least one row.")
    chosen = covers(np.zeros(len(members), np.int32), vectors[members], np.asarray(blur_score)[members], threshold)
    return int(members[chosen[0]])


def covers(
    labels: NDArray[np.int32], vectors: NDArray[np.float32], blur_score: ArrayLike, threshold: float
) -> NDArray[np.int32]:
    """The face to show for every cluster; see `cover`.

    Parameters
    ----------
    labels : NDArray[np.int32]
        Shape (n_faces,): clusters numbered from 0, none empty, NOISE for none.
    vectors, blur_score, threshold
        As in `cover`.

    Returns
    -------
    NDArray[np.int32]
        Shape (n_clusters,), rows.
    """
    score = np.array(blur_score, dtype=np.float64)
    if not len(labels) == len(vectors) == len(score):
        raise InputError(
            f"There are {len(labels):,} labels, {len(vectors):,} vectors and {len(score):,} blur scores. "
            "No covers were chosen. Give one of each for every face."
        )
    order = np.argsort(labels, kind="stable")
    order = order[np.searchsorted(labels[order], 0) :]
    starts = np.searchsorted(labels[order], np.arange(int(labels.max(initial=-1)) + 2))
    chosen: NDArray[np.int32] = _covers(order, starts, np.asarray(vectors), score, float(threshold))
    return chosen


@njit(nogil=True, cache=True)
def _covers(order, starts, vectors, score, threshold):  # type: ignore[no-untyped-def]
    dimension = vectors.shape[1]
    out = np.empty(len(starts) - 1, np.int32)
    mean = np.empty(dimension, np.float64)
    for cluster in range(len(starts) - 1):
        members = order[starts[cluster] : starts[cluster + 1]]
        mean[:] = 0.0
        for row in members:
            for t in range(dimension):
                mean[t] += vectors[row, t]
        nearest, best_product = -1, -np.inf
        sharpest, best_score = -1, -np.inf
        # Members come in ascending order, so that the first of equals is the smallest row.
        for row in members:
            if score[row] < threshold:
                if score[row] > best_score:
                    sharpest, best_score = row, score[row]
                continue
            product = 0.0
            for t in range(dimension):
                product += mean[t] * vectors[row, t]
            if product > best_product:
                nearest, best_product = row, product
        out[cluster] = nearest if nearest >= 0 else sharpest
    return out
