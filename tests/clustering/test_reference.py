"""The checks that `facecluster verify` runs, on faces small enough for the package to be quick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facecluster.clustering import ExtractionParams, build_hierarchy, extract
from facecluster.clustering.reference import SAMPLE, hdbscan_clustering, selected_by_hdbscan, verify
from facecluster.demo import synthetic_faces


@pytest.fixture(scope="module")
def vectors():
    return synthetic_faces(600, seed=3).vectors


@pytest.mark.parametrize("method", ["eom", "leaf", "cut"])
def test_our_tree_and_labels_pass_the_checks(vectors, method):
    params = ExtractionParams(3, 1.05, method)
    found = verify(vectors, build_hierarchy(vectors, 3), 3, params)
    assert found.is_equal
    assert found.n_checked == len(vectors) <= SAMPLE
    assert "equal" in found.in_words()


def test_a_tree_with_one_wrong_weight_does_not_pass(vectors):
    h = build_hierarchy(vectors, 3)
    weight = h.mst.weight.copy()
    weight[300] *= 1.0001
    broken = replace(h, mst=replace(h.mst, weight=weight))
    assert not verify(vectors, broken, 3, ExtractionParams()).is_weights_equal


def test_copies_and_a_single_person_are_selected_as_hdbscan_selects_them():
    one = synthetic_faces(400, seed=1)
    person = one.vectors[one.person == 0][:20]
    rows = np.concatenate([person, np.repeat(person[:1], 12, axis=0)])
    h = build_hierarchy(rows, 3)
    clusters = extract(h, ExtractionParams())
    assert np.array_equal(
        selected_by_hdbscan(h, ExtractionParams(), clusters.is_single_cluster_fallback), clusters.labels
    )


def test_the_package_end_to_end_finds_nearly_the_same_people(vectors):
    ours = extract(build_hierarchy(vectors, 3), ExtractionParams())
    theirs = hdbscan_clustering(vectors, 3, ExtractionParams())
    assert np.mean((ours.labels >= 0) == (theirs.labels >= 0)) > 0.97


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_faces_are_equal_to_themselves(n):
    vectors = np.eye(4, dtype=np.float32)[:n]
    assert verify(vectors, build_hierarchy(vectors, 3), 3, ExtractionParams()).is_equal
    assert len(hdbscan_clustering(vectors, 3, ExtractionParams()).labels) == n
