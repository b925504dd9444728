"""The map is finite, the same each time, and puts alike faces together."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from facecluster.clustering import find_neighbours
from facecluster.demo import demo_faces
from facecluster.projection import N_NEIGHBORS, project


def unit(n: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, 64))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def mapped(vectors: np.ndarray, k: int = 16) -> np.ndarray:
    knn = find_neighbours(vectors, k=k).knn
    return project(vectors, knn.indices, knn.distances)


@pytest.fixture(scope="module")
def demo_200() -> tuple[np.ndarray, np.ndarray]:
    vectors = np.ascontiguousarray(demo_faces().vectors[:200], np.float32)
    return vectors, mapped(vectors)


@pytest.mark.parametrize("n", [0, 1, 2, 3, N_NEIGHBORS, N_NEIGHBORS + 1])
@pytest.mark.parametrize("k", [1, 2, 16])
def test_few_faces_and_few_neighbours_have_a_place_too(n, k):
    places = mapped(unit(n), k)
    assert places.shape == (n, 2)
    assert places.dtype == np.float32
    assert np.isfinite(places).all()


@pytest.mark.parametrize("n_different", [1, 2, 3])
def test_twins_are_placed_beside_each_other_and_not_nowhere(n_different):
    places = mapped(np.repeat(unit(n_different), 30, axis=0))
    assert np.isfinite(places).all()
    assert np.ptp(places) > 0


def test_the_same_faces_give_the_same_map(demo_200):
    vectors, places = demo_200
    assert np.array_equal(mapped(vectors), places)


def test_alike_faces_are_together_on_the_map(demo_200):
    vectors, places = demo_200
    nearest = find_neighbours(vectors, k=1).knn.indices[:, 0]
    to_nearest = np.linalg.norm(places - places[nearest], axis=1)
    to_anybody = np.linalg.norm(places - places[np.random.default_rng(0).permutation(len(places))], axis=1)
    assert np.median(to_nearest) < 0.2 * np.median(to_anybody)


def test_the_map_needs_no_more_than_neighbours_and_a_start(demo_200):
    """The graph that is given is the one that is used: other distances, another map."""
    vectors, places = demo_200
    knn = find_neighbours(vectors, k=16).knn
    other = project(vectors, np.roll(knn.indices, 1, axis=0), knn.distances)
    assert not np.allclose(other, places)


def test_umap_is_not_loaded_before_a_map_is_drawn():
    """It takes seconds to load; every page would wait for it."""
    import subprocess

    told = "import sys, facecluster.service; sys.exit('umap' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
