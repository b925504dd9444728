"""The map: UMAP on the neighbours that clustering found, always the same for the same faces.

The graph is umap-learn's own, edge by edge. The places are found by the same steps, but all faces of an epoch move at
once, each seeing where the others were when it began: so the outcome depends on no thread, and every core can work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from facecluster.clustering.tiles import usable_cores
from facecluster.ports import Progress, part_of

SEED = 0
MIN_DIST = 0.15
N_NEIGHBORS = 15  # the face itself is the first, as umap-learn counts
# Closeness on the map is 1 / (1 + A * d ** (2 * B)): what umap-learn fits to MIN_DIST and a spread of 1.
A, B = 1.4139999225741604, 0.9488152489751854
# umap-learn has 1 and 1. Exact neighbours bind faces to strangers that approximate lists miss, and the people sink into
# one ball. On 6,182 real faces 1 and 1 keep 0.32 of the 15 nearest faces, these 0.37.
REPULSION, FIRST_STEP = 4.0, 0.25
PUSHES = 5  # faces drawn at random that push a face away, for each neighbour that pulls it

_FEW, _EPOCHS_OF_FEW, _EPOCHS = 10_000, 500, 200
# Of the start's width. Each axis is divided by its span, and identical faces must not start in one spot.
_JITTER = 1e-4
# The start needs the main axes roughly: more rows than these take longer than the epochs and change nothing.
_ROWS_FOR_AXES = 32_768
_ROWS_AT_ONCE = 2_048  # in float64
_LEAST_ROWS, _MOST_BLOCKS = 512, 256  # of one task: short enough to stop at once, long enough to be worth a thread


def project(
    vectors: NDArray[np.float32],
    indices: NDArray[np.int32],
    distances: NDArray[np.float64],
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Place every face in the plane.

    Parameters
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), unit rows; only their two main axes are used, as the start.
    indices, distances : NDArray
        Shape (n_faces, k): exact neighbours, ascending, the face itself left out. Up to `N_NEIGHBORS` or fewer faces,
        and with k below 2, the two main axes are the map.
    progress : callable, optional
        Told several times in every epoch; what it raises stops the work and comes out unchanged.

    Returns
    -------
    NDArray[np.float32]
        Shape (n_faces, 2), finite. Neither distance nor area on it means anything by itself.

    Sources: McInnes, Healy and Melville (2018) for the graph and the forces; `batch` of uwot for faces that move at
    once.
    """
    n = len(vectors)
    start = _principal_axes(vectors, part_of(progress, 0.0, 0.1))
    if n <= N_NEIGHBORS or indices.shape[1] < 2:
        return start
    k = min(N_NEIGHBORS, indices.shape[1] + 1)
    n_epochs = epochs(n)
    with ThreadPoolExecutor(usable_cores(), "map") as pool:
        graph = fuzzy_graph(indices[:, : k - 1], distances[:, : k - 1], pool, part_of(progress, 0.1, 0.15))
        # An edge is used in this share of the epochs; one that would not be used once is left out, as in umap-learn.
        share = graph.data / graph.data.max()
        graph.data[share < 1.0 / n_epochs] = 0.0
        graph.eliminate_zeros()
        return _layout(graph, start, n_epochs, pool, part_of(progress, 0.15, 1.0))


def epochs(n_faces: int) -> int:
    """Epochs of a map of so many faces, as umap-learn chooses."""
    return _EPOCHS_OF_FEW if n_faces <= _FEW else _EPOCHS


def fuzzy_graph(
    indices: NDArray[np.int32],
    distances: NDArray[np.float64],
    pool: ThreadPoolExecutor,
    progress: Progress | None = None,
) -> csr_array:
    """How strongly faces belong together, in (0, 1]: `umap.umap_.fuzzy_simplicial_set`, symmetric.

    Written again because umap-learn takes seconds to load and compiles anew in every process.
    """
    n, k = indices.shape
    near = np.ascontiguousarray(distances, np.float32)
    strength = np.empty((n, k), np.float32)
    # Of all distances, the zero of each face to itself included.
    mean = float(near.sum(dtype=np.float64)) / (n * (k + 1))
    _in_blocks(pool, n, partial(_membership, near, mean, strength), part_of(progress, 0.0, 0.4))
    columns = np.ascontiguousarray(indices, np.int32).ravel()
    one_way = csr_array((strength.ravel(), columns, np.arange(0, n * k + 1, k, dtype=np.int32)), shape=(n, n))
    # The order of the edges decides the sum of a face's steps, and sums of sorted rows are several times faster.
    one_way.sort_indices()
    _tell(progress, 0.5)
    other_way = one_way.T.tocsr()
    _tell(progress, 0.6)
    both = one_way.multiply(other_way)
    _tell(progress, 0.7)
    graph = one_way + other_way
    _tell(progress, 0.85)
    graph = graph - both
    graph.sort_indices()
    _tell(progress, 1.0)
    return graph


def _layout(
    graph: csr_array,
    start: NDArray[np.float32],
    n_epochs: int,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> NDArray[np.float32]:
    low = start.min(axis=0)
    before = np.ascontiguousarray(10.0 * (start - low) / (start.max(axis=0) - low), np.float32)
    after = np.empty_like(before)
    share = (graph.data / graph.data.max()).astype(np.float32)
    ends, tails = graph.indptr.astype(np.int64), graph.indices
    for epoch in range(n_epochs):
        step = FIRST_STEP * (1.0 - epoch / n_epochs)
        move = partial(_move, before, after, ends, tails, share, epoch, step)
        _in_blocks(pool, len(before), move, part_of(progress, epoch / n_epochs, (epoch + 1) / n_epochs))
        before, after = after, before
    return before


def _tell(progress: Progress | None, share: float) -> None:
    if progress:
        progress(share, "Drawing the map")


def _in_blocks(
    pool: ThreadPoolExecutor, n_rows: int, do: Callable[[int, int], None], progress: Progress | None
) -> None:
    """Do all rows, block by block; where `progress` raises, blocks that have not begun are dropped."""
    size = max(_LEAST_ROWS, -(-n_rows // _MOST_BLOCKS))
    starts = range(0, n_rows, size)
    waiting = deque(pool.submit(do, start, min(start + size, n_rows)) for start in starts)
    try:
        while waiting:
            waiting.popleft().result()
            _tell(progress, 1.0 - len(waiting) / len(starts))
    finally:
        for future in waiting:
            future.cancel()


@njit(nogil=True, cache=True)
def _membership(distances, mean, strength, first, last):  # type: ignore[no-untyped-def]
    """Strengths of the edges of some rows: they sum to log2(k + 1), and the nearest other face has 1."""
    k = distances.shape[1]
    target = np.log2(k + 1.0)
    for row in range(first, last):
        near = distances[row]
        nearest, total = 0.0, 0.0
        for d in near:
            total += d
            if nearest == 0.0:  # identical faces do not count
                nearest = d
        low, high, width = 0.0, np.inf, 1.0
        for _ in range(64):
            found = 0.0
            for d in near:
                found += np.exp(-max(d - nearest, 0.0) / width)
            if abs(found - target) < 1e-5:
                break
            if found > target:
                high = width
            else:
                low = width
            width = 2.0 * width if high == np.inf else (low + high) / 2.0
        width = max(width, 1e-3 * (total / (k + 1) if nearest > 0.0 else mean))
        for x in range(k):
            beyond = near[x] - nearest
            strength[row, x] = np.exp(-beyond / width) if beyond > 0.0 else 1.0


@njit(nogil=True, cache=True)
def _mixed(row, epoch):  # type: ignore[no-untyped-def]
    """A number of 64 bits that says nothing about row and epoch (the finish of splitmix64)."""
    x = np.uint64(row + 1) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(epoch + SEED) * np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True)
def _clipped(force, step):  # type: ignore[no-untyped-def]
    return min(max(force, np.float32(-4.0)), np.float32(4.0)) * step


@njit(nogil=True, cache=True, fastmath=True)
def _move(before, after, ends, tails, share, epoch, step, first, last):  # type: ignore[no-untyped-def]
    """One epoch of some rows: neighbours pull, faces drawn at random push.

    A row sees its own steps at once and those of the others in the next epoch. An edge pulls with twice its force: in
    umap-learn each of its two directions moves both faces.
    """
    n = np.uint64(len(before))
    a, b, step = np.float32(A), np.float32(B), np.float32(step)
    one, pull, push = np.float32(1.0), np.float32(-2.0 * A * B), np.float32(2.0 * REPULSION * B)
    for row in range(first, last):
        x, y = before[row, 0], before[row, 1]
        drawn = _mixed(row, epoch)
        for edge in range(ends[row], ends[row + 1]):
            # Spreads the uses of an edge evenly over the epochs.
            if np.int64(np.float32(epoch + 1) * share[edge]) == np.int64(np.float32(epoch) * share[edge]):
                continue
            other = np.int64(tails[edge])
            dx, dy = x - before[other, 0], y - before[other, 1]
            d2 = dx * dx + dy * dy
            if d2 > 0.0:
                power = d2**b
                force = pull * power / (d2 * (a * power + one))
                x += np.float32(2.0) * _clipped(force * dx, step)
                y += np.float32(2.0) * _clipped(force * dy, step)
            for _ in range(PUSHES):
                drawn = drawn * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                other = np.int64(((drawn >> np.uint64(32)) * n) >> np.uint64(32))
                dx, dy = x - before[other, 0], y - before[other, 1]
                d2 = dx * dx + dy * dy
                if d2 > 0.0:
                    force = push / ((np.float32(0.001) + d2) * (a * d2**b + one))
                    x += _clipped(force * dx, step)
                    y += _clipped(force * dy, step)
        after[row, 0], after[row, 1] = x, y


def _principal_axes(vectors: NDArray[np.float32], progress: Progress | None = None) -> NDArray[np.float32]:
    """First two principal components, scaled to 10 as UMAP likes its start; signs fixed, so that maps do not flip.

    In float64 on one thread and rounded: the last digits of a product depend on threads, and UMAP blows them up.
    """
    n = len(vectors)
    if n < 2 or vectors.shape[1] < 2:
        return np.zeros((n, 2), np.float32)
    some = vectors[:: -(-n // _ROWS_FOR_AXES)]
    mean = some.mean(axis=0, dtype=np.float64)
    gram = np.zeros((vectors.shape[1],) * 2)
    plane = np.empty((n, 2))
    with threadpool_limits(1, user_api="blas"):
        for start in range(0, len(some), _ROWS_AT_ONCE):
            centred = some[start : start + _ROWS_AT_ONCE] - mean
            gram += centred.T @ centred
            _tell(progress, 0.5 * start / len(some))
        axes = np.linalg.eigh(gram)[1][:, [-1, -2]]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
        for start in range(0, n, _ROWS_AT_ONCE):
            plane[start : start + _ROWS_AT_ONCE] = (vectors[start : start + _ROWS_AT_ONCE] - mean) @ axes
            _tell(progress, 0.5 + 0.5 * start / n)
    span = np.abs(plane).max()
    plane *= 10.0 / span if span > 0 else 1.0
    plane = plane.round(3)
    plane += np.random.default_rng(SEED).normal(scale=10.0 * _JITTER, size=plane.shape)
    return np.asarray(plane, np.float32)
