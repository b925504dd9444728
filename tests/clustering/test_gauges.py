"""Gauges against counting one by one."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from facecluster.clustering import (
    RowFacts,
    churn,
    contradicted_not_persons,
    contradicted_pins,
    impossible_pair_rows,
    impossible_pairs,
    noise_share,
)
from facecluster.errors import InputError


def int32(*values):
    return np.array(values, np.int32)


@pytest.mark.parametrize("seed", range(30))
def test_impossible_pairs_are_those_counted_one_by_one(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 80))
    labels = rng.integers(-1, 6, n).astype(np.int32)
    photo = rng.integers(-1, 12, n).astype(np.int32)
    expected = [
        [a, b] for a, b in combinations(range(n), 2) if labels[a] == labels[b] >= 0 and photo[a] == photo[b] >= 0
    ]
    assert impossible_pair_rows(labels, photo).tolist() == expected
    assert impossible_pairs(labels, photo) == len(expected)


def test_labels_and_photos_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="3 labels but 2 photo numbers"):
        impossible_pairs(int32(0, 0, 1), int32(1, 1))


def test_noise_share_is_that_of_faces_without_a_cluster():
    assert noise_share(int32(-1, 0, 0, -1)) == 0.5
    assert noise_share(int32()) == 0.0


def test_a_pin_is_contradicted_in_noise_or_with_more_pins_of_somebody_else():
    #              0  1  2  3   4  5  6  7
    labels = int32(0, 0, 0, 0, -1, 1, 1, 2)
    pins = np.array([[0, 7], [1, 7], [2, 9], [4, 7], [5, 9], [6, 3], [7, 7]], np.int32)
    # 2 is outnumbered, 4 is noise; 5 and 6 are one each, so the smaller number counts.
    assert contradicted_pins(labels, pins).tolist() == [2, 4, 5]
    assert contradicted_pins(labels, pins[:2]).tolist() == []
    assert contradicted_pins(labels, RowFacts().pins).tolist() == []


def test_a_not_person_is_contradicted_by_sharing_a_cluster_with_a_pin_of_that_person():
    labels = int32(0, 0, 1, -1, -1)
    facts = RowFacts(
        pins=np.array([[0, 5], [3, 6]], np.int32),
        not_person=np.array([[1, 5], [1, 6], [2, 5], [4, 6]], np.int32),
    )
    assert contradicted_not_persons(labels, facts).tolist() == [[1, 5]]
    assert contradicted_not_persons(labels, RowFacts()).tolist() == []


def test_churn_is_one_minus_the_best_matching():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(1, 40))
        before, after = (rng.integers(-1, 5, n).astype(np.int32) for _ in range(2))
        kept = max(
            sum(np.count_nonzero((before == a) & (after == b)) for a, b in enumerate(order))
            for order in permutations(range(5))
        )
        kept += np.count_nonzero((before == -1) & (after == -1))
        assert churn(before, after) == pytest.approx(1 - kept / n)


def test_churn_ignores_the_numbers_of_clusters():
    labels = np.random.default_rng(1).integers(-1, 9, 200).astype(np.int32)
    renumbered = np.append(np.random.default_rng(2).permutation(9), -1).astype(np.int32)[labels]
    assert churn(labels, renumbered) == 0.0
    assert churn(int32(), int32()) == 0.0
    assert churn(int32(-1, -1), int32(0, 0)) == 1.0
    with pytest.raises(InputError, match="2 faces and the other 1"):
        churn(int32(0, 0), int32(0))
