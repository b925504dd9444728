"""What is known of real vectors; needs the file named by FACECLUSTER_REAL_FACES."""

from __future__ import annotations

import os

import numpy as np
import pytest
from test_extract import partition, reference

from facecluster.clustering import ExtractionParams, build_hierarchy, epsilon_changes, extract, find_neighbours

FILE = os.environ.get("FACECLUSTER_REAL_FACES", "")

pytestmark = pytest.mark.skipif(not FILE, reason="FACECLUSTER_REAL_FACES names no file of real face vectors")


@pytest.fixture(scope="module")
def vectors():
    with np.load(FILE, allow_pickle=False) as file:
        return file["vectors"]


@pytest.fixture(scope="module")
def neighbours(vectors):
    return find_neighbours(vectors)


def test_epsilon_up_to_1_10_changes_nothing(vectors, neighbours):
    h = build_hierarchy(vectors, 3, neighbours)
    base = extract(h, ExtractionParams(3, 0.0)).labels
    for epsilon in (0.35, 1.0, 1.05, 1.10):
        assert np.array_equal(extract(h, ExtractionParams(3, epsilon)).labels, base)
    assert epsilon_changes(h, ExtractionParams(3))[0] > 1.10


def test_epsilon_of_1_20_collapses_most_people_into_one(vectors, neighbours):
    labels = extract(build_hierarchy(vectors, 3, neighbours), ExtractionParams(3, 1.20)).labels
    assert np.bincount(labels[labels >= 0])[0] > 0.3 * len(labels)


@pytest.mark.parametrize("min_samples", [1, 2, 3, 5])
@pytest.mark.parametrize("method", ["eom", "leaf"])
def test_hdbscan_takes_the_same_people_from_our_tree(vectors, neighbours, min_samples, method):
    h = build_hierarchy(vectors, min_samples, neighbours)
    for epsilon in (0.0, 0.35, 1.14, 1.2):
        labels, strength = reference(h, 3, epsilon, method)
        c = extract(h, ExtractionParams(3, epsilon, method))
        assert partition(c.labels) == partition(labels)
        np.testing.assert_allclose(c.strength, strength, rtol=1e-6, atol=1e-7)


def test_nearly_all_pairs_are_proved_without_looking_twice(vectors, neighbours):
    certificate = build_hierarchy(vectors, 3, neighbours).certificate
    assert certificate.pairs_examined < 0.15 * certificate.pairs
    assert certificate.edges_by_lists > 0.99 * len(vectors) - 10
