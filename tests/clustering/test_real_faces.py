"""What is known of real vectors; needs the file named by FACECLUSTER_REAL_FACES."""

from __future__ import annotations

import os

import numpy as np
import pytest
from test_extract import partition, reference

from facecluster.clustering import (
    ExtractionParams,
    RowFacts,
    build_hierarchy,
    churn,
    epsilon_changes,
    extract,
    find_neighbours,
    refine,
)

FILE = os.environ.get("FACECLUSTER_REAL_FACES", "")

pytestmark = pytest.mark.skipif(not FILE, reason="FACECLUSTER_REAL_FACES names no file of real face vectors")


@pytest.fixture(scope="module")
def vectors():
    with np.load(FILE, allow_pickle=False) as file:
        return file["vectors"]


@pytest.fixture(scope="module")
def person():
    with np.load(FILE, allow_pickle=False) as file:
        return file["labels"]


@pytest.fixture(scope="module")
def facts():
    with np.load(FILE, allow_pickle=False) as file:
        return RowFacts(photo=file["photo"] if "photo" in file else np.empty(0, np.int32))


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


def b_cubed_f(labels, person, least):
    """Noise, and what is below the minimum size on either side, counts as one-face people."""
    sides = []
    for side in (labels, person):
        _, at, count = np.unique(side, return_inverse=True, return_counts=True)
        alone = (side < 0) | (count[at] < least)
        sides.append(np.where(alone, len(count) + np.arange(len(side)), at))
    sizes = [np.bincount(side)[side] for side in sides]
    _, at, count = np.unique(np.stack(sides), axis=1, return_inverse=True, return_counts=True)
    precision, recall = ((count[at.ravel()] / size).mean() for size in sizes)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(("least", "at_least"), [(2, 0.995), (3, 0.9965)])
def test_refine_finds_people_far_better_than_hdbscan_alone(vectors, person, facts, neighbours, least, at_least):
    h = build_hierarchy(vectors, 3, neighbours)
    old = b_cubed_f(extract(h).labels, person, least)
    new = b_cubed_f(refine(h, extract(h, ExtractionParams(least)), vectors, facts).labels, person, least)
    assert new >= old + 0.03
    assert new >= at_least


def test_nine_of_ten_faces_stay_with_the_largest_part_of_their_cluster(vectors, facts, neighbours):
    h = build_hierarchy(vectors, 3, neighbours)
    clusters = extract(h)
    r = refine(h, clusters, vectors, facts)
    kept = 0
    for c in range(clusters.n_clusters):
        inside = r.labels[clusters.labels == c]
        kept += np.bincount(inside[inside >= 0], minlength=1).max()
    share = kept / np.count_nonzero(clusters.labels >= 0)
    assert share >= 0.9
    assert r.kept_together == pytest.approx(share)


def test_every_slider_still_changes_the_people(vectors, facts, neighbours):
    def labels(min_samples=3, **params):
        h = build_hierarchy(vectors, min_samples, neighbours)
        return refine(h, extract(h, ExtractionParams(**params)), vectors, facts).labels

    default = labels()
    for other in (labels(2), labels(min_cluster_size=2), labels(epsilon=1.14), labels(method="leaf")):
        assert churn(default, other) > 0.001
