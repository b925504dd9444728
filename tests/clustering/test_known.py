"""Faces come and go: what is known is kept, and nothing comes out differently."""

from __future__ import annotations

import numpy as np
import pytest
from face_sets import burst, people, random_set, strangers, unit

import facecluster.clustering.neighbours as neighbours_module
from facecluster.clustering import ThreadRunner, build_hierarchy, find_neighbours
from facecluster.errors import InputError

WHOLE = ("u", "v", "weight", "distance", "knn_indices", "knn_distances", "core_distances")
RUNNER = ThreadRunner(2, 64)


def changed(seed):
    """Faces before and after, and the row that each has afterwards: some added, some gone, the rest shuffled."""
    rng = np.random.default_rng(seed)
    dimension = 24
    vectors = np.concatenate(
        [people(rng, 500, dimension, 25), strangers(rng, 60, dimension), burst(rng, 30, dimension, 1e-3)]
    )
    vectors = np.concatenate([vectors, vectors[rng.integers(0, len(vectors), 20)]])  # copies
    n = len(vectors)
    is_before = rng.random(n) < rng.choice([0.7, 0.95, 1.0])
    is_after = rng.random(n) < rng.choice([0.9, 0.99, 1.0])
    before = rng.permutation(np.flatnonzero(is_before))
    after = rng.permutation(np.flatnonzero(is_after))
    place = np.full(n, -1)
    place[after] = np.arange(len(after))
    return vectors[before], vectors[after], place[before]


def same(a, b):
    a, b = a.to_arrays(), b.to_arrays()
    for name in (*WHOLE, "edges_by_lists", "edges_by_second_pass", "edges_of_copies"):
        assert np.array_equal(a[name], b[name]), name


@pytest.mark.parametrize("seed", range(40))
def test_lists_of_changed_faces_are_those_of_a_new_search(seed, monkeypatch):
    monkeypatch.setattr(neighbours_module, "TILE_WIDTH", 32)
    before, after, rows = changed(seed)
    known = find_neighbours(before, 6, RUNNER)
    found = find_neighbours(after, 6, RUNNER, known=known, known_rows=rows)
    anew = find_neighbours(after, 6, RUNNER)
    assert np.array_equal(found.knn.indices, anew.knn.indices)
    assert np.array_equal(found.knn.distances, anew.knn.distances)
    for min_samples in (1, 3, 6):
        same(build_hierarchy(after, min_samples, found), build_hierarchy(after, min_samples, anew))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("min_samples", [1, 3])
def test_a_hierarchy_with_faces_added_is_that_of_a_new_build(seed, min_samples, monkeypatch):
    monkeypatch.setattr(neighbours_module, "TILE_WIDTH", 32)
    vectors, _, _ = random_set(seed)
    rng = np.random.default_rng(seed)
    is_known = rng.random(len(vectors)) < rng.choice([0.5, 0.9, 0.98])
    if not is_known.any():
        pytest.skip("this seed knows no face")
    rows = rng.permutation(np.flatnonzero(is_known))
    k = 5
    known = find_neighbours(vectors[rows], k, RUNNER)
    old = build_hierarchy(vectors[rows], min_samples, known)
    found = find_neighbours(vectors, k, RUNNER, known=known, known_rows=rows)
    same(
        build_hierarchy(vectors, min_samples, found, known=old, known_rows=rows),
        build_hierarchy(vectors, min_samples, find_neighbours(vectors, k, RUNNER)),
    )


def test_additions_upon_additions_come_out_the_same(monkeypatch):
    monkeypatch.setattr(neighbours_module, "TILE_WIDTH", 32)
    rng = np.random.default_rng(3)
    vectors = unit(rng.standard_normal((900, 16)))
    known, old = find_neighbours(vectors[:500], 8, RUNNER), None
    old = build_hierarchy(vectors[:500], 3, known)
    for n in (520, 521, 600, 700, 777, 900):
        known = find_neighbours(vectors[:n], 8, RUNNER, known=known)
        old = build_hierarchy(vectors[:n], 3, known, known=old)
    same(old, build_hierarchy(vectors, 3, find_neighbours(vectors, 8, RUNNER)))


def test_few_new_faces_are_compared_with_all_and_the_others_are_not(monkeypatch):
    rng = np.random.default_rng(4)
    vectors = people(rng, 3000, 32, 150)
    known = find_neighbours(vectors[:2970], 16)
    seen = []
    product = ThreadRunner.product

    def counted(self, a, b, out):
        seen.append(len(a) * len(b))
        product(self, a, b, out)

    monkeypatch.setattr(ThreadRunner, "product", counted)
    said = []
    find_neighbours(vectors, 16, known=known, progress=lambda _, message: said.append(message))
    assert "Comparing faces, the lists of 2,970 of 3,000 are known" in said
    # The 30 new rows, and the whole of the tile in which they start.
    assert sum(seen) <= 3000 * (256 + 30) * 1.2


def test_lists_of_other_vectors_are_refused():
    rng = np.random.default_rng(5)
    vectors = strangers(rng, 60, 16)
    known = find_neighbours(vectors, 5)
    with pytest.raises(InputError, match="made from other vectors"):
        find_neighbours(strangers(rng, 70, 16), 5, known=known)
    with pytest.raises(InputError, match="do not name different rows"):
        find_neighbours(vectors, 5, known=known, known_rows=np.zeros(60))
    with pytest.raises(InputError, match="do not name different rows"):
        find_neighbours(vectors[:50], 5, known=known)


def test_a_hierarchy_of_faces_that_are_gone_is_refused():
    rng = np.random.default_rng(6)
    vectors = strangers(rng, 60, 16)
    old = build_hierarchy(vectors, 3)
    rows = np.arange(60) - 1
    with pytest.raises(InputError, match="faces are gone"):
        build_hierarchy(vectors[1:], 3, known=old, known_rows=rows)
    with pytest.raises(InputError, match="min_samples"):
        build_hierarchy(vectors, 4, known=old)
