"""The slow door against references that share none of its code."""

from __future__ import annotations

import hdbscan
import numpy as np
import pytest
from face_sets import burst, grid, people, prim_weights, random_set, strangers, unit
from scipy.spatial.distance import cdist

import facecluster.clustering.neighbours as neighbours_module
from facecluster.clustering import (
    ExtractionParams,
    Hierarchy,
    Neighbours,
    ThreadRunner,
    build_hierarchy,
    extract,
    find_neighbours,
)
from facecluster.errors import CancelledError, InputError

WHOLE_ARRAYS = ("u", "v", "weight", "distance", "knn_indices", "knn_distances", "core_distances")


@pytest.mark.parametrize("seed", range(300))
def test_sorted_tree_weights_equal_a_float64_prim(seed, monkeypatch):
    # Narrow tiles in half of the sets, so that bounds, layouts and edges of tiles take part in small ones too.
    if seed % 2:
        monkeypatch.setattr(neighbours_module, "TILE_WIDTH", 32)
    vectors, min_samples, k = random_set(seed)
    h = build_hierarchy(
        vectors, min_samples, find_neighbours(vectors, k, ThreadRunner(block_rows=96)), ThreadRunner(block_rows=96)
    )
    np.testing.assert_allclose(h.mst.weight, prim_weights(vectors, min_samples), rtol=2e-6, atol=0)
    certificate = h.certificate
    n_edges = certificate.edges_by_lists + certificate.edges_by_second_pass + certificate.edges_of_copies
    assert n_edges == len(h.mst) == len(vectors) - 1


@pytest.mark.parametrize("seed", range(0, 40))
def test_neighbour_lists_are_the_nearest_by_distance(seed):
    vectors, _, k = random_set(seed)
    knn = find_neighbours(vectors, k).knn
    apart = cdist(vectors.astype(np.float64), vectors.astype(np.float64))
    np.fill_diagonal(apart, np.inf)
    expected = np.sort(apart, axis=1)[:, : min(k, len(vectors) - 1)]
    np.testing.assert_allclose(knn.distances, expected, rtol=1e-12, atol=0)
    np.testing.assert_allclose(np.take_along_axis(apart, knn.indices, 1), knn.distances, rtol=1e-12, atol=0)
    assert all(len(set(row)) == len(row) for row in knn.indices.tolist())


def test_tied_neighbours_come_in_byte_order_of_their_rows():
    vectors = grid(np.random.default_rng(1), 200, 16)
    knn = find_neighbours(vectors, 12).knn
    as_bytes = [(row.tobytes(), at) for at, row in enumerate(vectors)]
    for row in range(len(vectors)):
        apart = np.sqrt(((vectors.astype(np.float64) - vectors[row]) ** 2).sum(axis=1))
        others = sorted((d, *as_bytes[at]) for at, d in enumerate(apart) if at != row)
        assert [at for _, _, at in others[:12]] == knn.indices[row].tolist()


@pytest.mark.parametrize("apart", [1e-3, 1e-4, 1e-5])
def test_a_burst_is_exact_where_products_see_nothing(apart):
    rng = np.random.default_rng(7)
    vectors = np.concatenate([burst(rng, 60, 512, apart), strangers(rng, 200, 512)])
    h = build_hierarchy(vectors, 3)
    np.testing.assert_allclose(h.mst.weight, prim_weights(vectors, 3), rtol=2e-6, atol=0)
    assert h.mst.weight[0] < 2 * apart


def test_tree_weights_equal_those_of_hdbscan():
    rng = np.random.default_rng(3)
    vectors = np.concatenate([people(rng, 400, 64, 30), strangers(rng, 60, 64)])
    theirs = hdbscan.HDBSCAN(min_cluster_size=3, min_samples=3, approx_min_span_tree=False, core_dist_n_jobs=1)
    theirs.fit(vectors.astype(np.float64))
    linkage = theirs.single_linkage_tree_.to_numpy()
    np.testing.assert_allclose(build_hierarchy(vectors, 3).mst.weight, linkage[:, 2], rtol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 5, 7])
def test_threads_blocks_and_tiles_do_not_change_a_bit(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([random_set(seed)[0], people(rng, 300, random_set(seed)[0].shape[1], 20)])
    reference = build_hierarchy(vectors, 3).to_arrays()
    for workers, block_rows, width in [(1, 256, 256), (2, 64, 32), (3, 128, 64), (2, 4096, 512)]:
        monkeypatch.setattr(neighbours_module, "TILE_WIDTH", width)
        other = build_hierarchy(vectors, 3, runner=ThreadRunner(workers, block_rows)).to_arrays()
        for name in (*WHOLE_ARRAYS, "edges_by_lists", "edges_by_second_pass"):
            assert np.array_equal(reference[name], other[name]), name


def test_many_faces_laid_out_by_likeness_come_out_the_same(monkeypatch):
    rng = np.random.default_rng(11)
    vectors = np.concatenate([people(rng, 2600, 32, 130), strangers(rng, 300, 32), burst(rng, 60, 32, 1e-3)])
    reference = build_hierarchy(vectors, 3).to_arrays()
    monkeypatch.setattr("facecluster.clustering.layout._FEWEST_ROWS_TO_ORDER", 10**9)
    other = build_hierarchy(vectors, 3, runner=ThreadRunner(1, 1024)).to_arrays()
    assert all(np.array_equal(reference[name], other[name]) for name in WHOLE_ARRAYS)
    np.testing.assert_allclose(reference["weight"], prim_weights(vectors, 3), rtol=2e-6, atol=0)


@pytest.mark.parametrize("seed", range(0, 48))
def test_the_order_of_the_rows_does_not_change_the_partition(seed):
    vectors, min_samples, _ = random_set(seed)
    shuffle = np.random.default_rng(seed).permutation(len(vectors))
    h, shuffled = build_hierarchy(vectors, min_samples), build_hierarchy(vectors[shuffle], min_samples)
    assert np.array_equal(h.mst.weight, shuffled.mst.weight)
    for size, method in [(2, "eom"), (3, "leaf"), (5, "eom")]:
        params = ExtractionParams(size, 0.35, method)
        labels, others = extract(h, params).labels[shuffle], extract(shuffled, params).labels
        # Copies of one row may change places with each other, so rows are compared by what they are.
        assert _by_content(vectors[shuffle], labels) == _by_content(vectors[shuffle], others)


def _by_content(vectors, labels):
    keys = [row.tobytes() for row in vectors]
    clusters = [sorted(key for key, at in zip(keys, labels, strict=True) if at == c) for c in set(labels.tolist())]
    return sorted(clusters)


def test_ten_thousand_copies_are_one_row():
    rng = np.random.default_rng(5)
    vectors = np.concatenate([np.repeat(strangers(rng, 1, 64), 10_000, axis=0), strangers(rng, 20, 64)])
    h = build_hierarchy(vectors, 3)
    assert h.certificate.pairs == 21 * 20 // 2
    assert h.certificate.edges_of_copies == 9_999
    assert np.count_nonzero(h.mst.weight == 0.0) == 9_999
    assert extract(h).labels[:10_000].tolist() == [0] * 10_000


def test_fewer_copies_than_min_samples_cost_their_common_core_distance():
    rng = np.random.default_rng(6)
    vectors = np.concatenate([np.repeat(strangers(rng, 1, 64), 3, axis=0), strangers(rng, 20, 64)])
    h = build_hierarchy(vectors, 5)
    copies = h.mst.distance == 0.0
    assert np.count_nonzero(copies) == 2
    assert np.array_equal(h.mst.weight[copies], h.core_distances[:2])
    assert h.core_distances[0] > 1.0


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("min_samples", [1, 3, 50])
@pytest.mark.parametrize("k", [1, 16, 60])
def test_any_number_of_faces_has_a_hierarchy(n, min_samples, k):
    vectors = strangers(np.random.default_rng(n), n, 32)
    k = max(k, min_samples)
    nb = find_neighbours(vectors, k)
    assert nb.k == min(k, max(n - 1, 0))
    h = build_hierarchy(vectors, min_samples, nb)
    assert len(h.mst) == max(n - 1, 0)
    assert h.knn.indices.shape == (n, nb.k)
    if n > 1:
        np.testing.assert_allclose(h.mst.weight, prim_weights(vectors, min_samples), rtol=2e-6)
    for method in ("eom", "leaf", "cut"):
        assert len(extract(h, ExtractionParams(3, 0.35, method)).labels) == n


def test_min_samples_above_the_lists_makes_longer_ones_or_says_so():
    vectors = people(np.random.default_rng(8), 100, 32, 5)
    assert build_hierarchy(vectors, 30).knn.k == 30
    with pytest.raises(InputError, match=r"min_samples is 30.*only 16"):
        build_hierarchy(vectors, 30, find_neighbours(vectors, 16))


def test_lists_of_other_vectors_are_refused():
    rng = np.random.default_rng(9)
    vectors, others = strangers(rng, 50, 32), strangers(rng, 50, 32)
    for wrong in (others, vectors[:49]):
        with pytest.raises(InputError, match="made from other vectors"):
            build_hierarchy(vectors, 3, find_neighbours(wrong))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v * np.float32(1.001), r"Row 0 has length 1\.001"),
        (lambda v: np.where(np.arange(9)[:, None] == 4, 0, v), r"Row 4 has length 0, not 1"),
        (lambda v: np.where(np.arange(9)[:, None] == 6, np.nan, v), "Row 6 holds a value that is not a finite"),
        (lambda v: np.where(np.arange(9)[:, None] == 5, np.inf, v), "Row 5 holds a value that is not a finite"),
        (lambda v: v[0], r"shape \(16,\)"),
        (lambda v: v[None], r"shape \(1, 9, 16\)"),
        (lambda v: (v * 100).astype(np.int64), "type int64"),
    ],
)
@pytest.mark.parametrize("door", [find_neighbours, build_hierarchy])
def test_rows_that_cannot_be_measured_are_refused_with_the_row(door, spoil, message):
    with pytest.raises(InputError, match=message):
        door(spoil(strangers(np.random.default_rng(2), 9, 16)))


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None, True])
def test_neighbour_counts_that_make_no_sense_are_refused(value):
    vectors = strangers(np.random.default_rng(2), 9, 16)
    with pytest.raises(InputError, match="k is"):
        find_neighbours(vectors, value)
    with pytest.raises(InputError, match="min_samples is"):
        build_hierarchy(vectors, value)


def test_progress_rises_to_one_and_can_cancel_anywhere():
    vectors = people(np.random.default_rng(4), 700, 16, 20)
    shares = []
    build_hierarchy(vectors, 3, progress=lambda share, _: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert min(shares) >= 0.0
    for stop in range(len(shares)):
        told = []

        def cancel(share, message, told=told, stop=stop):
            told.append(message)
            if len(told) > stop:
                raise CancelledError(f"stopped at {share}")

        with pytest.raises(CancelledError, match="stopped at"):
            build_hierarchy(vectors, 3, progress=cancel)
        assert len(told) == stop + 1


def test_results_survive_a_file_without_pickle(tmp_path):
    vectors = random_set(1)[0]
    nb = find_neighbours(vectors, 8)
    h = build_hierarchy(vectors, 3, nb)
    np.savez(tmp_path / "nb.npz", **nb.to_arrays())
    np.savez(tmp_path / "h.npz", **h.to_arrays())
    again = Neighbours.from_arrays(np.load(tmp_path / "nb.npz", allow_pickle=False))
    read = Hierarchy.from_arrays(np.load(tmp_path / "h.npz", allow_pickle=False))
    for mine, other in ((nb, again), (h, read), (h, build_hierarchy(vectors, 3, again))):
        arrays = other.to_arrays()
        for name, array in mine.to_arrays().items():
            assert array.dtype == arrays[name].dtype, name
            assert np.array_equal(array, arrays[name]), name
    assert read.certificate == h.certificate
    assert read.min_samples == 3
    assert np.array_equal(extract(read).labels, extract(h).labels)


def test_vectors_may_be_a_read_only_memory_map(tmp_path):
    vectors = people(np.random.default_rng(4), 90, 16, 5)
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert np.array_equal(build_hierarchy(mapped).mst.weight, build_hierarchy(vectors).mst.weight)


def test_rows_differing_in_the_sign_of_a_zero_are_at_distance_zero():
    row = unit([[0.0, 1.0, 1.0, 0.0]])
    vectors = np.concatenate([row, row * np.float32([-1, 1, 1, 1]), row, strangers(np.random.default_rng(0), 5, 4)])
    h = build_hierarchy(vectors, 1)
    assert np.count_nonzero(h.mst.weight == 0.0) == 2
    assert set(h.knn.indices[0, :2].tolist()) == {1, 2}
