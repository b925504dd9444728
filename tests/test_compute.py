"""Saved computations: content-addressed, whole or made again, and never pickled."""

from __future__ import annotations

import io
import os
import pickle
import threading
import zipfile

import numpy as np
import pytest
from small_library import make_library

from facecluster.clustering import ThreadRunner, build_hierarchy
from facecluster.compute import ComputeCache
from facecluster.demo import synthetic_faces
from facecluster.errors import CancelledError
from facecluster.hierarchies import Hierarchies


@pytest.fixture
def vectors():
    rows = np.random.default_rng(0).standard_normal((30, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(folder):
    return ComputeCache(folder)


def arrays(hierarchy):
    return {key: value.tolist() for key, value in hierarchy.to_arrays().items()}


def test_what_was_made_is_read_the_second_time(cache, folder, vectors):
    told = []
    first = cache.hierarchy(vectors, "faces", 3, lambda share, words: told.append(share))
    assert told
    told.clear()
    again = ComputeCache(folder).hierarchy(vectors, "faces", 3, lambda share, words: told.append(share))
    assert told == []
    assert arrays(again) == arrays(first)
    assert cache.has_hierarchy("faces", 3)
    assert not cache.has_hierarchy("faces", 4)
    assert not cache.has_hierarchy("other faces", 3)


def test_hierarchies_of_several_min_samples_share_their_neighbours(cache, folder, vectors):
    for min_samples in (1, 2, 3):
        cache.hierarchy(vectors, "faces", min_samples)
    assert len(list(folder.glob("neighbours-*"))) == 1
    cache.hierarchy(vectors, "faces", 20)
    assert len(list(folder.glob("neighbours-*"))) == 2  # longer lists


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def test_a_damaged_file_is_made_again_wherever_it_is_damaged(cache, folder, vectors):
    good = arrays(cache.hierarchy(vectors, "faces", 3))
    (path,) = folder.glob("hierarchy-*")
    data = path.read_bytes()
    # Denser in the zip's directory at the end, where a flipped bit hides arrays without an error.
    places = [*range(0, len(data), 197), *range(len(data) - 1200, len(data), 11)]
    for damaged in (b"", data[:100], data[: len(data) // 2], data[:-1], *(flip(data, at) for at in places)):
        path.write_bytes(damaged)
        assert arrays(cache.hierarchy(vectors, "faces", 3)) == good


@pytest.mark.filterwarnings("ignore:Reading")  # numpy takes a damaged head for one of Python 2
def test_a_large_array_is_made_again_wherever_its_head_is_damaged(cache, folder):
    good = {"a": np.arange(5000.0)}
    cache.stability("faces", lambda: good)
    (path,) = folder.glob("stability-*")
    data = path.read_bytes()
    start = data.index(b"{'descr'")
    for at in range(start, data.index(b"\n", start)):
        path.write_bytes(flip(data, at))
        assert np.array_equal(cache.stability("faces", lambda: good)["a"], good["a"])


def test_a_file_that_is_no_archive_is_made_again(cache, folder, vectors):
    good = arrays(cache.hierarchy(vectors, "faces", 3))
    (path,) = folder.glob("hierarchy-*")
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    assert arrays(cache.hierarchy(vectors, "faces", 3)) == good


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, ("this folder must never exist",))


def test_a_pickle_in_the_cache_is_never_loaded(cache, folder, vectors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = arrays(cache.hierarchy(vectors, "faces", 3))
    (path,) = folder.glob("hierarchy-*")
    inner = io.BytesIO()
    np.lib.format.write_array(inner, np.array([_Bomb()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("distance.npy", inner.getvalue())
    assert arrays(cache.hierarchy(vectors, "faces", 3)) == good
    path.write_bytes(pickle.dumps(_Bomb()))
    assert arrays(cache.hierarchy(vectors, "faces", 3)) == good
    assert not (tmp_path / "this folder must never exist").exists()


def test_cancelled_work_leaves_no_half_written_file(cache, folder, vectors):
    def cancel(_share, _words):
        raise CancelledError("Stopped.")

    with pytest.raises(CancelledError):
        cache.hierarchy(vectors, "faces", 3, cancel)
    assert not folder.exists() or not list(folder.glob(".*.tmp"))
    assert not cache.has_hierarchy("faces", 3)
    cache.hierarchy(vectors, "faces", 3)


def test_two_that_make_the_same_thing_at_once_both_get_it(folder, vectors):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ComputeCache(folder).hierarchy(vectors, "faces", 2)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(arrays(one) == arrays(found[0]) for one in found)
    assert not list(folder.glob(".*.tmp"))


def test_the_rows_of_a_base_are_remembered_and_can_be_replaced(cache):
    assert cache.base("faces") is None
    cache.set_base("faces", np.array([0, 2, 5]))
    cache.set_base("other faces", np.empty(0, np.int64))
    assert cache.base("faces").tolist() == [0, 2, 5]
    assert cache.base("other faces").tolist() == []
    cache.set_base("faces", np.array([1]))
    assert cache.base("faces").tolist() == [1]


def test_the_map_of_the_same_faces_is_the_same_and_is_kept(cache, vectors):
    assert not cache.has_map("faces")
    first = cache.map(vectors, "faces")
    assert first.shape == (30, 2)
    assert np.isfinite(first).all()
    assert cache.has_map("faces")
    assert np.array_equal(cache.map(vectors, "faces"), first)


@pytest.fixture
def many():
    return synthetic_faces(1_500, seed=4, style="album").vectors


def compared(monkeypatch):
    """Counts the products that are made from here on."""
    pairs = []
    product = ThreadRunner.product

    def counted(self, a, b, out):
        pairs.append(len(a) * len(b))
        product(self, a, b, out)

    monkeypatch.setattr(ThreadRunner, "product", counted)
    return pairs


def test_new_faces_are_compared_and_old_ones_are_not_again(cache, many, monkeypatch):
    cache.hierarchy(many[:1_480], "before", 3)
    pairs = compared(monkeypatch)
    order = np.random.default_rng(0).permutation(len(many))  # new ids come between old ones
    found = cache.hierarchy(many[order], "after", 3)
    assert 0 < sum(pairs) < len(many) ** 2 / 2
    expected = build_hierarchy(many[order], 3).to_arrays()
    for name, array in found.to_arrays().items():
        if name != "pairs_examined":
            assert np.array_equal(array, expected[name]), name


def test_faces_that_go_leave_the_lists_of_the_others(cache, many, monkeypatch):
    cache.hierarchy(many, "before", 3)
    pairs = compared(monkeypatch)
    left = np.delete(many, [3, 700], axis=0)
    found = cache.hierarchy(left, "after", 3)
    assert sum(pairs) < len(left) ** 2 / 2
    expected = build_hierarchy(left, 3).to_arrays()
    assert all(np.array_equal(found.to_arrays()[name], expected[name]) for name in expected if name != "pairs_examined")


def test_saved_results_of_faces_long_gone_are_removed(cache, folder, many):
    for n in range(1_495, 1_501):
        cache.hierarchy(many[:n], f"state{n}", 3)
    assert sorted({path.name.split("-")[1] for path in folder.glob("*.npz")}) == ["state1498", "state1499", "state1500"]


def test_a_long_build_that_is_cancelled_goes_on_where_it_was(cache, folder, many, monkeypatch):
    monkeypatch.setattr("facecluster.compute._WORTH_REMEMBERING", 1_000)

    def stop(share, _):
        if share > 0.8:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        cache.hierarchy(many, "faces", 3, stop)
    assert list(folder.glob("*.work"))
    pairs = compared(monkeypatch)
    cache.hierarchy(many, "faces", 3)
    assert sum(pairs) < len(many) ** 2 / 4
    assert not list(folder.glob("*.work"))


def test_the_rows_of_a_base_that_another_process_replaces_are_read_anew(tmp_path):
    library = make_library(tmp_path)
    view = library.view()
    ours, theirs = (Hierarchies(ComputeCache(tmp_path / "cache")) for _ in range(2))
    ours.set_base(view, 50.0)
    rows, mark = ours.base(view, 50.0)
    assert ours.base(view, 50.0)[0] is rows, "read once"
    library.mark([view.faces.ids[rows[0]]], "ignored")
    theirs.set_base(library.view(), 50.0)
    again = ours.base(view, 50.0)
    assert again[0].tolist() == rows[1:].tolist()
    assert again[1] != mark
