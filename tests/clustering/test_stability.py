"""Many partitions beside each other, against one at a time and against counting in the plainest way."""

from __future__ import annotations

import numpy as np
import pytest
from face_sets import hierarchy_of_set, partition

from facecluster.clustering import ExtractionParams, epsilon_changes, extract, impossible_pairs, moved, sweep
from facecluster.clustering.extract import partitions
from facecluster.clustering.tree import condense, condensed
from facecluster.errors import InputError

METHODS = ("eom", "leaf", "cut")


def int32(*values):
    return np.array(values, np.int32)


def naive_moved(before, after):
    """Each face by itself: does its group stay the majority of the other, both ways?"""
    n_placed = n_moved = 0
    for b, a in zip(before.tolist(), after.tolist(), strict=True):
        if b < 0 and a < 0:
            continue
        n_placed += 1
        common = np.count_nonzero((before == b) & (after == a))
        stays = b >= 0 and a >= 0 and 2 * common > np.count_nonzero(before == b)
        n_moved += not (stays and 2 * common > np.count_nonzero(after == a))
    return n_moved / n_placed if n_placed else 0.0


def cut(labels):
    return labels, int(labels.max(initial=-1)) + 1


@pytest.mark.parametrize("seed", range(60))
def test_moved_faces_are_those_counted_one_by_one_in_either_direction(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 60))
    before = rng.integers(-1, rng.integers(1, 6), n).astype(np.int32)
    after = np.where(rng.random(n) < 0.7, before, rng.integers(-1, 4, n)).astype(np.int32)
    found = moved(cut(before), cut(after))
    assert found == pytest.approx(naive_moved(before, after))
    assert found == pytest.approx(moved(cut(after), cut(before)))


def test_names_of_clusters_do_not_matter_and_noise_does_not_look_steady():
    before = int32(0, 0, 0, 1, 1, -1, -1, -1)
    assert moved(cut(before), cut(int32(1, 1, 1, 0, 0, -1, -1, -1))) == 0.0
    assert moved(cut(before), cut(int32(0, 0, 0, -1, -1, -1, -1, -1))) == pytest.approx(2 / 5)
    assert moved(cut(before), cut(int32(*[-1] * 8))) == 1.0
    assert moved(cut(int32(*[-1] * 4)), cut(int32(*[-1] * 4))) == 0.0


@pytest.mark.parametrize("seed", range(0, 48))
@pytest.mark.parametrize("method", METHODS)
def test_partitions_at_many_epsilons_are_those_of_extract(seed, method):
    h = hierarchy_of_set(seed)
    changes = epsilon_changes(h, ExtractionParams(3, 0.0, method))
    some = np.random.default_rng(seed).choice(changes, min(len(changes), 6), replace=False)
    epsilons = sorted({0.0, 0.35, *some.tolist()})
    for epsilon, (labels, most) in zip(epsilons, partitions(h, 3, method, epsilons), strict=True):
        assert partition(labels) == partition(extract(h, ExtractionParams(3, epsilon, method)).labels)
        assert labels.max(initial=-1) < max(most, 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_sweep_counts_what_one_partition_at_a_time_holds(method):
    samples = [hierarchy_of_set(8), hierarchy_of_set(8)]
    sizes, epsilons = (2, 3, 5), (0.0, 0.6, 0.9, 1.2)
    photo = np.random.default_rng(1).integers(-1, 40, samples[0].n_faces).astype(np.int32)
    found = sweep(samples, sizes, epsilons, method, photo)
    cuts = {}
    for b, size in enumerate(sizes):
        for c, epsilon in enumerate(epsilons):
            labels = extract(samples[0], ExtractionParams(size, epsilon, method)).labels
            cuts[b, c] = cut(labels)
            counts = np.bincount(labels[labels >= 0])
            assert found.people[0, b, c] == len(counts)
            assert found.placed[0, b, c] == counts.sum()
            assert found.largest[0, b, c] == counts.max(initial=0)
            assert found.impossible_pairs[0, b, c] == impossible_pairs(labels, photo)
    for b, c in cuts:
        if b + 1 < len(sizes):
            assert found.by_size[0, b, c] == pytest.approx(naive_moved(cuts[b, c][0], cuts[b + 1, c][0]))
        if c + 1 < len(epsilons):
            assert found.by_epsilon[0, b, c] == pytest.approx(naive_moved(cuts[b, c][0], cuts[b, c + 1][0]))
    assert not found.by_hierarchy.any(), "the two hierarchies are the same"


def test_photos_of_other_faces_are_refused():
    with pytest.raises(InputError, match="2 photo numbers"):
        sweep([hierarchy_of_set(8)], (3,), (0.0,), "eom", int32(1, 2))


def test_kept_condensed_trees_are_those_that_condense_makes_and_only_a_few():
    tree = hierarchy_of_set(10).single_linkage
    for size in (2, 3, 4, 2, 5):
        kept = condensed(tree, size)
        fresh = condense(tree, size)
        for name in kept.__dataclass_fields__:
            assert np.array_equal(getattr(kept, name), getattr(fresh, name))
    assert condensed(tree, 5) is condensed(tree, 5)
    assert condensed(tree, 3) is not kept
