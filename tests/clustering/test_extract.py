"""The fast door against hdbscan's own condensing and selection on our tree."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
import pytest
from face_sets import hierarchy_of_set, partition, people, strangers
from hdbscan._hdbscan_tree import labelling_at_cut
from hdbscan.hdbscan_ import _tree_to_labels

from facecluster.clustering import (
    NOISE,
    ExtractionParams,
    build_hierarchy,
    epsilon_changes,
    extract,
)
from facecluster.errors import InputError

hierarchy = lru_cache(maxsize=None)(hierarchy_of_set)


def reference(h, size, epsilon, method, *, allow_single_cluster=False):
    linkage = h.single_linkage.as_linkage_matrix()
    # The floor of lambda: hdbscan itself makes it infinite and adds infinities.
    linkage[:, 2] = np.maximum(linkage[:, 2], 1e-9)
    labels, strength, *_ = _tree_to_labels(
        None, linkage, size, method, allow_single_cluster, cluster_selection_epsilon=epsilon
    )
    return labels, strength


@pytest.mark.parametrize("seed", range(300))
def test_labels_are_those_of_hdbscan_on_our_tree(seed):
    h = hierarchy(seed)
    rng = np.random.default_rng(seed)
    inner = float(rng.choice(h.mst.weight)) if len(h.mst) else 0.5
    for size in (2, 3, int(rng.integers(4, 12))):
        for method in ("eom", "leaf"):
            for epsilon in (0.0, float(rng.uniform(0.1, 1.3)), inner):
                c = extract(h, ExtractionParams(size, epsilon, method))
                labels, strength = reference(h, size, epsilon, method)
                if method == "eom" and not (labels >= 0).any():
                    labels, strength = reference(h, size, max(epsilon, 1.10), method, allow_single_cluster=True)
                    assert c.is_single_cluster_fallback == bool((labels >= 0).any())
                assert partition(c.labels) == partition(labels)
                assert np.array_equal(c.labels == NOISE, labels == NOISE)
                np.testing.assert_allclose(c.strength, strength, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(0, 64))
def test_a_plain_cut_is_that_of_hdbscan(seed):
    h = hierarchy(seed)
    for epsilon in (0.0, 0.35, 0.8, float(np.median(h.mst.weight))):
        c = extract(h, ExtractionParams(3, epsilon, "cut"))
        # hdbscan cuts below the value, we at it.
        linkage = h.single_linkage.as_linkage_matrix()
        labels = labelling_at_cut(linkage, np.nextafter(epsilon, np.inf), 3)
        assert partition(c.labels) == partition(labels)
        assert np.all((c.strength > 0) == (c.labels >= 0))
        assert c.strength.max(initial=0) <= 1


@pytest.mark.parametrize("seed", range(0, 64))
@pytest.mark.parametrize("method", ["eom", "leaf", "cut"])
def test_the_partition_changes_exactly_at_the_values_of_epsilon_changes(seed, method):
    h = hierarchy(seed)
    for size in (2, 4):
        changes = epsilon_changes(h, ExtractionParams(size, 0.0, method))
        assert np.all(np.diff(changes) > 0)
        probes = np.concatenate([[0.0], changes])
        if len(changes) > 25:
            picked = np.random.default_rng(seed).choice(len(changes), 25, replace=False)
            probes = np.concatenate([[0.0], changes[np.sort(picked)]])
        for value in probes:
            at = partition(extract(h, ExtractionParams(size, value, method)).labels)
            following = changes[changes > value]
            end = float(following[0]) if len(following) else 3.0
            if value > 0:
                below = np.nextafter(value, 0.0)
                assert partition(extract(h, ExtractionParams(size, below, method)).labels) != at
            for inside in (value + 0.5 * (end - value), np.nextafter(end, 0.0)):
                if value <= inside < end:
                    assert partition(extract(h, ExtractionParams(size, inside, method)).labels) == at


def test_one_person_alone_comes_out_as_one_person():
    vectors = people(np.random.default_rng(1), 40, 512, 1, spread=0.6)
    c = extract(build_hierarchy(vectors))
    assert c.is_single_cluster_fallback
    assert c.n_clusters == 1
    assert np.count_nonzero(c.labels == 0) >= 36


@pytest.mark.parametrize("n", [3, 5, 8, 25])
def test_strangers_alone_stay_noise(n):
    # Among two dozen strangers HDBSCAN itself may find a split; then there is nothing to fall back from.
    sets = [build_hierarchy(strangers(np.random.default_rng(seed), n, 512)) for seed in range(12)]
    without_split = [h for h in sets if not (reference(h, 3, 0.35, "eom")[0] >= 0).any()]
    assert len(without_split) >= 6
    for h in without_split:
        c = extract(h)
        assert c.labels.tolist() == [NOISE] * n
        assert not c.is_single_cluster_fallback


@pytest.mark.parametrize("seed", range(0, 40))
@pytest.mark.parametrize("method", ["eom", "leaf", "cut"])
def test_clusters_are_numbered_by_size_and_then_by_smallest_row(seed, method):
    c = extract(hierarchy(seed), ExtractionParams(2, 0.6, method))
    order = [(-np.count_nonzero(c.labels == x), np.flatnonzero(c.labels == x)[0]) for x in range(c.n_clusters)]
    assert order == sorted(order)
    assert c.labels.dtype == np.int32
    assert c.strength.dtype == np.float32
    assert np.all(c.strength[c.labels == NOISE] == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_cluster_size": 1}, "min_cluster_size is 1"),
        ({"min_cluster_size": 2.5}, "min_cluster_size is 2.5"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"epsilon": float("inf")}, "epsilon is inf"),
        ({"epsilon": "wide"}, "epsilon is 'wide'"),
        ({"method": "dbscan"}, "method is 'dbscan'.*eom, leaf, cut"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ExtractionParams(**arguments)


@pytest.mark.parametrize("method", ["eom", "leaf", "cut"])
def test_a_minimum_size_above_all_faces_finds_at_most_the_one_person(method):
    c = extract(hierarchy(3), ExtractionParams(10_000, 0.35, method))
    assert c.n_clusters <= 1
    assert c.is_single_cluster_fallback == (c.n_clusters == 1)


def test_a_chain_of_merges_takes_no_recursion_and_no_time():
    # Every merge adds one face: the deepest tree there can be.
    angle = np.cumsum(np.linspace(1e-5, 2e-5, 50_000))
    vectors = np.column_stack([np.cos(angle), np.sin(angle)])
    h = hierarchy_of_chain(vectors)
    extract(h)
    start = time.perf_counter()
    extract(h, ExtractionParams(5, 0.4, "eom"))
    assert time.perf_counter() - start < 2


def hierarchy_of_chain(vectors):
    from facecluster.clustering import Certificate, Hierarchy, KnnGraph, SpanningTree

    n = len(vectors)
    apart = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
    rows = np.arange(n, dtype=np.int32)
    mst = SpanningTree(rows[:-1], rows[1:], np.sort(apart), np.sort(apart))
    knn = KnnGraph(np.empty((n, 0), np.int32), np.empty((n, 0)))
    return Hierarchy(mst, knn, np.zeros(n), 1, Certificate(n - 1, 0, 0, 0, 0))
