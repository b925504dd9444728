"""Covers against choosing one by one."""

from __future__ import annotations

import numpy as np
import pytest
from face_sets import people

from facecluster.clustering import cover, covers
from facecluster.errors import InputError


def reference(rows, vectors, score, threshold):
    rows = sorted(rows)
    sharp = [row for row in rows if np.isnan(score[row]) or score[row] >= threshold]
    if not sharp:
        return max(rows, key=lambda row: (score[row], -row))
    mean = vectors[rows].astype(np.float64).sum(axis=0)
    return max(sharp, key=lambda row: (round(float(vectors[row].astype(np.float64) @ mean), 9), -row))


@pytest.mark.parametrize("seed", range(20))
def test_covers_are_those_chosen_one_by_one(seed):
    rng = np.random.default_rng(seed)
    n = 120
    vectors = people(rng, n, 32, 6)
    vectors[60:90] = vectors[30:60]
    labels = np.concatenate([np.arange(8), rng.integers(-1, 8, n - 8)]).astype(np.int32)
    score = np.where(rng.random(n) < 0.3, np.nan, rng.integers(0, 90, n)).astype(np.float32)
    score[labels == 0] = rng.integers(0, 40, np.count_nonzero(labels == 0))
    chosen = covers(labels, vectors, score, 50.0)
    assert chosen.dtype == np.int32
    for cluster in range(8):
        rows = np.flatnonzero(labels == cluster)
        assert chosen[cluster] == reference(rows, vectors, score, 50.0)
        assert cover(rng.permutation(rows), vectors, score, 50.0) == chosen[cluster]


def test_no_clusters_have_no_covers():
    vectors = people(np.random.default_rng(0), 5, 8, 1)
    assert len(covers(np.full(5, -1, np.int32), vectors, np.zeros(5), 50.0)) == 0
    assert len(covers(np.empty(0, np.int32), vectors[:0], np.empty(0), 50.0)) == 0


def test_a_person_without_faces_is_refused():
    with pytest.raises(InputError, match="without faces has no cover"):
        cover([], people(np.random.default_rng(0), 5, 8, 1), np.zeros(5), 50.0)


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="5 labels, 5 vectors and 4 blur scores"):
        covers(np.zeros(5, np.int32), people(np.random.default_rng(0), 5, 8, 1), np.zeros(4), 50.0)
