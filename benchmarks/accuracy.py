"""How well the default settings find true people, on the real vectors named by FACECLUSTER_REAL_FACES."""

from __future__ import annotations

import os
import sys

import numpy as np

from facecluster.clustering import ExtractionParams, build_hierarchy, extract, find_neighbours

DEFAULT = ExtractionParams(min_cluster_size=3, epsilon=0.35, method="eom")


def main() -> None:
    path = os.environ.get("FACECLUSTER_REAL_FACES")
    if not path:
        sys.exit("FACECLUSTER_REAL_FACES names no file of real face vectors. Nothing was measured.")
    with np.load(path, allow_pickle=False) as file:
        vectors, truth = file["vectors"], file["labels"]
    print(f"{len(vectors):,} faces of {len(np.unique(truth)):,} people")
    print(
        f"{'min_samples':>12} {'min size':>8}   {'B-cubed P':>9} {'R':>6} {'F':>6}   {'pairs P':>9} {'R':>6} {'F':>6}"
    )
    neighbours = find_neighbours(vectors)
    for min_samples in (3, 2):
        found = extract(build_hierarchy(vectors, min_samples, neighbours), DEFAULT).labels
        for least in (2, 3):
            a, b = units(found, least), units(truth, least)
            b_cubed, pairwise = scores(a, b)
            numbers = "   ".join(
                " ".join(f"{x:>{w}.3f}" for x, w in zip(s, (9, 6, 6), strict=True)) for s in (b_cubed, pairwise)
            )
            print(f"{min_samples:>12} {least:>8}   {numbers}")


def units(labels: np.ndarray, least: int) -> np.ndarray:
    """Labels in which noise, and every cluster of fewer than `least` faces, counts as one-face people."""
    _, at, count = np.unique(labels, return_inverse=True, return_counts=True)
    alone = (labels < 0) | (count[at] < least)
    out = at.astype(np.int64)
    out[alone] = len(count) + np.arange(np.count_nonzero(alone))
    return out


def scores(found: np.ndarray, truth: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(precision, recall, F) over faces (B-cubed) and over pairs of faces."""
    both = found * (truth.max() + 1) + truth
    size, true_size, common = (_sizes(labels) for labels in (found, truth, both))
    b_cubed = _with_f(float((common / size).mean()), float((common / true_size).mean()))
    # Each face has size - 1 partners: the sum counts every pair twice, which cancels.
    pairs = (common - 1).sum()
    return b_cubed, _with_f(pairs / max((size - 1).sum(), 1), pairs / max((true_size - 1).sum(), 1))


def _sizes(labels: np.ndarray) -> np.ndarray:
    """Of every face: how many faces have its label."""
    _, at, count = np.unique(labels, return_inverse=True, return_counts=True)
    return count[at]


def _with_f(precision: float, recall: float) -> tuple[float, float, float]:
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


if __name__ == "__main__":
    main()
