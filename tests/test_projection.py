"""The map is finite, the same each time, puts alike faces together, and can be stopped."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from small_library import PARAMS, make_library

from facecluster import compute, projection
from facecluster.clustering import find_neighbours
from facecluster.demo import demo_faces, synthetic_faces
from facecluster.errors import CancelledError
from facecluster.projection import MIN_DIST, N_NEIGHBORS, fuzzy_graph, project


def unit(n: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, 64))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def mapped(vectors: np.ndarray, k: int = 16, progress=None) -> np.ndarray:
    knn = find_neighbours(vectors, k=k).knn
    return project(vectors, knn.indices, knn.distances, progress)


def with_itself(indices: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists as umap-learn wants them: each face is its own first neighbour."""
    own = np.arange(len(indices), dtype=np.int32)[:, None]
    far = np.hstack([np.zeros((len(own), 1)), distances]).astype(np.float32)
    return np.hstack([own, indices]).astype(np.int32), far


def kept(indices: np.ndarray, places: np.ndarray) -> float:
    """Share of the nearest faces that are among the nearest on the map."""
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    near = apart.argsort(axis=1)[:, : indices.shape[1]]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(indices, near, strict=True)]))


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


def test_a_placeholder_that_stands_for_thousands_of_faces_does_not_break_the_map():
    """All its copies have the same few neighbours, who are pulled by all of them."""
    others = unit(300)
    places = mapped(np.concatenate([others, np.repeat(unit(1, seed=1), 1000, axis=0)]))
    assert np.isfinite(places).all()
    middle = np.median(places[300:], axis=0)
    to_copies = np.median(np.linalg.norm(places[300:] - middle, axis=1))
    to_others = np.median(np.linalg.norm(places[:300] - middle, axis=1))
    assert to_copies < to_others


def test_the_same_faces_give_the_same_map_on_any_number_of_threads(demo_200, monkeypatch):
    vectors, places = demo_200
    assert np.array_equal(mapped(vectors), places)
    # Small blocks, so that the threads have something to share.
    monkeypatch.setattr(projection, "_LEAST_ROWS", 7)
    for n_threads in (1, 3, 8):
        monkeypatch.setattr(projection, "usable_cores", lambda n=n_threads: n)
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


# --- umap-learn is the reference -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def umap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no tensorflow
        return importlib.import_module("umap")


@pytest.mark.parametrize("n_twins", [1, 4, 20])
def test_the_graph_is_that_of_umap_learn(umap, n_twins):
    vectors = np.concatenate([unit(400), np.repeat(unit(3, seed=1), n_twins, axis=0)])
    knn = find_neighbours(vectors, k=14).knn
    indices, distances = with_itself(knn.indices, knn.distances)
    of_lists = {"knn_indices": indices, "knn_dists": distances}
    theirs = umap.umap_.fuzzy_simplicial_set(vectors, 15, None, "euclidean", **of_lists)[0]
    with ThreadPoolExecutor(2) as pool:
        ours = fuzzy_graph(knn.indices, knn.distances, pool)
    # They stop their search at 1e-5 in float32, we in float64.
    assert np.allclose(ours.toarray(), theirs.toarray(), atol=1e-3)
    assert (abs(ours - ours.T)).max() == 0


def test_the_curve_is_that_of_umap_learn(umap):
    assert pytest.approx(umap.umap_.find_ab_params(1.0, MIN_DIST), rel=1e-4) == (projection.A, projection.B)


def test_the_map_keeps_as_many_neighbours_as_umap_learn_does(umap):
    vectors = synthetic_faces(1000, seed=0, style="crowd").vectors
    knn = find_neighbours(vectors, k=14).knn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a given graph cannot place later faces
        model = umap.UMAP(
            n_neighbors=15,
            min_dist=MIN_DIST,
            random_state=0,
            precomputed_knn=(*with_itself(knn.indices, knn.distances), None),
            force_approximation_algorithm=True,
        )
        theirs = model.fit_transform(vectors)
    assert kept(knn.indices, project(vectors, knn.indices, knn.distances)) > kept(knn.indices, theirs) - 0.01


def test_umap_learn_is_not_loaded_for_a_map():
    """It takes seconds to load and compiles in every process."""
    told = (
        "import sys, numpy as np, facecluster.service; from facecluster.projection import project;"
        "lists = (np.arange(20)[:, None] + np.arange(1, 6)) % 20;"
        "project(np.eye(20, dtype=np.float32), lists.astype(np.int32), np.ones((20, 5)));"
        "sys.exit('umap' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


# --- progress, and how it is stopped ---------------------------------------------------------------------------------


def test_progress_moves_with_every_epoch(demo_200):
    told: list[float] = []
    mapped(demo_200[0], progress=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == pytest.approx(1.0)
    assert np.diff(told).max() < 0.1
    assert len(set(told)) > 500


@pytest.mark.parametrize("are_known", [True, False])
def test_the_bar_of_a_library_begins_where_the_work_does(tmp_path, are_known):
    cache, vectors = compute.ComputeCache(tmp_path), unit(600)
    if are_known:
        cache.neighbours(vectors, "faces", compute.NEIGHBOURS)
    told: list[tuple[float, str]] = []
    cache.map(vectors, "faces", lambda *said: told.append(said))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    drawing = [share for share, words in told if words == "Drawing the map"]
    assert drawing[0] == pytest.approx(0.0 if are_known else 0.7, abs=0.01)
    assert drawing[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("at", [0.0, 0.12, 0.15, 0.2])
def test_a_map_that_is_cancelled_stops_within_a_second(at):
    vectors = unit(20_000)
    lists = (np.arange(20_000)[:, None] + np.arange(1, 15)).astype(np.int32) % 20_000
    asked: list[float] = []

    def cancel(share: float, _: str) -> None:
        if share >= at:
            asked.append(time.monotonic())
            raise CancelledError("Stopped.")

    with pytest.raises(CancelledError):
        project(vectors, lists, np.ones(lists.shape), cancel)
    assert len(asked) == 1
    assert time.monotonic() - asked[0] < 1


# --- once for the same faces -----------------------------------------------------------------------------------------


def test_a_slider_never_draws_the_map_again(tmp_path, monkeypatch):
    drawn: list[int] = []

    def counted(vectors, *args, **kwargs):
        drawn.append(len(vectors))
        return project(vectors, *args, **kwargs)

    monkeypatch.setattr(compute, "project", counted)
    service = make_library(tmp_path)
    rows, places = service.map()
    for change in (
        {"epsilon": 0.8},
        {"min_cluster_size": 5},
        {"min_samples": 1},
        {"min_samples": 4, "method": "leaf"},
        {"refine": False},
    ):
        service.publish(service.plan(replace(PARAMS, **change)))
        assert service.has_map()
        again = service.map()
        assert np.array_equal(again[0], rows)
        assert np.array_equal(again[1], places)
    assert drawn == [len(rows)]
