"""Random sets of unit vectors with everything that real ones hold, and slow references."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from facecluster.clustering import Hierarchy, build_hierarchy, find_neighbours


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(rng, n, dimension, n_people, spread=0.7):
    centres = unit(rng.standard_normal((max(n_people, 1), dimension)))
    noise = rng.standard_normal((n, dimension)) / np.sqrt(dimension)
    return unit(centres[rng.integers(0, max(n_people, 1), n)] + spread * rng.uniform(0.3, 1.2, (n, 1)) * noise)


def strangers(rng, n, dimension):
    return unit(rng.standard_normal((n, dimension)))


def burst(rng, n, dimension, apart):
    """Shots of one moment: all about `apart` from each other."""
    shift = rng.standard_normal((n, dimension)) * apart / np.sqrt(2 * dimension)
    return unit(rng.standard_normal(dimension) / np.sqrt(dimension) + shift)


def grid(rng, n, dimension):
    """Rows of few, equal numbers: exact distance ties everywhere, and twins."""
    signs = rng.choice([-0.5, 0.5], (n, 4))
    rows = np.zeros((n, dimension), np.float32)
    rows[np.arange(n)[:, None], (rng.integers(0, dimension // 4, n)[:, None] * 4) + np.arange(4)] = signs
    return rows


def random_set(seed):
    """Set number `seed`: (vectors, min_samples, k)."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([3, 7, 20, 60, 150, 300, 500, 800], p=[0.02, 0.03, 0.1, 0.2, 0.25, 0.2, 0.1, 0.1]))
    dimension = int(rng.choice([8, 19, 32, 64, 512], p=[0.15, 0.25, 0.3, 0.25, 0.05]))
    n = min(n, 150) if dimension == 512 else n
    parts = [people(rng, n, dimension, n // 12)]
    kind = seed % 8
    if kind == 1:
        parts += [parts[0][rng.integers(0, n, n // 3)], parts[0][rng.integers(0, min(n, 3), 45)]]
    elif kind == 2:
        parts += [burst(rng, 60, dimension, 1e-3), burst(rng, 60, dimension, 1e-4)]
    elif kind == 3:
        parts = [people(rng, n, dimension, 1, spread=0.4)]
    elif kind == 4:
        parts += [strangers(rng, n // 4 + 1, dimension)]
    elif kind == 5:
        parts = [grid(rng, n, dimension)]
    elif kind == 6:
        parts = [strangers(rng, n, dimension), *(burst(rng, 20, dimension, 1e-3) for _ in range(3))]
    elif kind == 7:
        parts += [burst(rng, 60, dimension, 1e-4), np.repeat(parts[0][:2], 25, axis=0), grid(rng, 30, dimension)]
    vectors = np.concatenate(parts)
    vectors = vectors[rng.permutation(len(vectors))][:800]
    min_samples = int(rng.choice([1, 2, 3, 5, 12, 40], p=[0.15, 0.2, 0.35, 0.15, 0.1, 0.05]))
    return vectors, min_samples, int(max(min_samples, rng.choice([1, 4, 16])))


def hierarchy_of_set(seed) -> Hierarchy:
    vectors, min_samples, k = random_set(seed)
    return build_hierarchy(vectors, min_samples, find_neighbours(vectors, k))


def prim_weights(vectors, min_samples):
    """Sorted weights of the spanning tree of mutual reachability, all in float64."""
    apart = cdist(vectors.astype(np.float64), vectors.astype(np.float64))
    core = np.sort(apart, axis=1)[:, min(min_samples, len(apart) - 1)]
    reach = np.maximum(np.maximum(core[:, None], core[None, :]), apart)
    least, outside, weights = reach[0].copy(), np.ones(len(apart), bool), []
    outside[0] = False
    for _ in range(len(apart) - 1):
        nearest = int(np.where(outside, least, np.inf).argmin())
        weights.append(least[nearest])
        outside[nearest] = False
        least = np.minimum(least, reach[nearest])
    return np.sort(weights)


def partition(labels):
    """Clusters as a set of sets of rows."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels[labels >= 0])}
