"""Windows on the matrix of all pairs: work done in them alone, in any order, even twice, comes to the same result."""

from __future__ import annotations

import numpy as np
import pytest
from face_sets import burst, people, random_set, strangers

import facecluster.clustering.neighbours as neighbours_module
from facecluster.clustering import ThreadRunner, build_hierarchy, find_neighbours
from facecluster.clustering.tiles import blas_product
from facecluster.clustering.windows import Window, window_rounds


class InWindows:
    """Does everything that can be done elsewhere in windows of its own, some twice, in any order, with old bounds."""

    block_rows, workers = 64, 2

    def __init__(self, shards, seed):
        self._threads = ThreadRunner(2, 64)
        self._shards = shards
        self._rng = np.random.default_rng(seed)
        self.array, self.product = self._threads.array, self._threads.product
        self.stages = []

    def carry_out(self, work):
        if work.elsewhere is None:
            yield from self._threads.carry_out(work)
            return
        self.stages.append(work.name)
        there = work.elsewhere
        inputs = there.inputs()
        current = [{name: array.copy() for name, array in there.current().items()}]
        for items in there.rounds(self._shards):
            for x in self._rng.permutation([*range(len(items)), *range(0, len(items), 3)]):
                old = current[self._rng.integers(len(current))]
                found = there.part({**inputs, **old}, items[x], blas_product)
                yield 0.5, ()
                yield 0.5, there.merge(items[x], found)
                current.append({name: array.copy() for name, array in there.current().items()})


def assert_same(found, expected):
    ours, theirs = found.to_arrays(), expected.to_arrays()
    for name in theirs:
        if name != "pairs_examined":
            assert np.array_equal(ours[name], theirs[name]), name


@pytest.fixture(autouse=True)
def narrow_tiles(monkeypatch):
    monkeypatch.setattr(neighbours_module, "TILE_WIDTH", 32)


@pytest.mark.parametrize("seed", range(64))
def test_windows_alone_come_to_the_same_hierarchy(seed):
    vectors, min_samples, k = random_set(seed)
    runner = InWindows([1, 3, 4, 8][seed % 4], seed)
    found = build_hierarchy(vectors, min_samples, find_neighbours(vectors, k, runner), runner)
    assert_same(found, build_hierarchy(vectors, min_samples, find_neighbours(vectors, k)))
    assert runner.stages == ["compare", "prove"]


@pytest.mark.parametrize("seed", range(0, 64, 3))
@pytest.mark.parametrize("width", [128, 256, 1024])
def test_tiles_wider_than_blocks_come_to_the_same_hierarchy(seed, width, monkeypatch):
    vectors, min_samples, k = random_set(seed)
    expected = build_hierarchy(vectors, min_samples, find_neighbours(vectors, k))
    monkeypatch.setattr(neighbours_module, "TILE_WIDTH", width)
    for runner in (ThreadRunner(2, 64), InWindows(3, seed)):
        assert_same(build_hierarchy(vectors, min_samples, find_neighbours(vectors, k, runner), runner), expected)


@pytest.mark.parametrize("seed", range(24))
def test_windows_of_new_faces_alone_come_to_the_same_hierarchy(seed):
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([people(rng, 500, 24, 25), strangers(rng, 60, 24), burst(rng, 30, 24, 1e-3)])
    vectors = vectors[rng.permutation(len(vectors))]
    n_known = int(rng.integers(400, len(vectors)))
    runner = InWindows([1, 3, 4, 8][seed % 4], seed)
    known = find_neighbours(vectors[:n_known], 6)
    found = find_neighbours(vectors, 6, runner, known=known)
    known_tree = build_hierarchy(vectors[:n_known], 3, known)
    assert_same(
        build_hierarchy(vectors, 3, found, runner, known=known_tree),
        build_hierarchy(vectors, 3, find_neighbours(vectors, 6)),
    )


@pytest.mark.parametrize("n", [1, 7, 8, 9, 40, 61])
@pytest.mark.parametrize("fresh_from", [0, 8, 24])
@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_every_pair_with_a_fresh_position_is_in_one_window(n, fresh_from, shards):
    met = np.zeros((n, n), int)
    for item in (item for items in window_rounds(n, fresh_from, shards, 8) for item in items):
        window = Window(*item)
        assert window.row0 % 8 == window.col0 % 8 == 0
        assert window.is_diagonal or (window.row1 % 8 == 0 and window.row1 <= window.col0)
        is_here = np.zeros((n, n), np.bool_)
        is_here[window.row0 : window.row1, window.col0 : window.col1] = True
        met += is_here | is_here.T
    place = np.arange(n)
    assert np.array_equal(met, np.maximum(place[:, None], place) >= fresh_from)


def test_what_is_numbered_in_a_window_has_its_positions_back():
    window = Window(8, 16, 24, 29)
    assert window.positions(np.arange(len(window))).tolist() == [*range(8, 16), *range(24, 29)]
    assert window.take(np.arange(40)).tolist() == [*range(8, 16), *range(24, 29)]
    assert len(window.tiles(8)) == 2
    assert len(Window(8, 16, 8, 16)) == 8
