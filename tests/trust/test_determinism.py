"""The short form of R21: two orders, two threads and one with four shards, here and in a fresh process."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("distributed")

from facecluster.clustering import build_hierarchy
from facecluster.compute import ComputeCache
from trust import determinism


def test_the_same_faces_give_the_same_clusters_and_the_same_saved_bytes(tell):
    found = determinism.everywhere(seed=1, seconds=600, n_orders=2, grid=(((2, 0), (1, 4)),), with_map=False)
    assert found.failures == []
    assert found.n == 2 * 2 * 2 * 3  # forms, orders, engines, restarts
    tell(f"R21: {found.n} cases, {found.note}")


def test_the_faces_hold_every_kind_of_tie_and_edges_that_no_list_has():
    faces = determinism.faces(seed=1)
    products = np.rint(faces.vectors.astype(np.float64) @ faces.vectors.T * 2**30)
    assert np.bincount(faces.content).max() >= 15  # copies of one row
    assert len(np.unique(faces.content)) == 2_048 < len(faces)
    nearest = -np.sort(-products, axis=1)[:, 1:6]
    assert (nearest[:, 1:] == nearest[:, :-1]).any(axis=1).sum() > 500  # whose nearest are equally far
    is_zero = faces.vectors == 0
    assert (is_zero & np.signbit(faces.vectors)).any()  # rows at distance 0 that differ in their bytes
    assert (is_zero & ~np.signbit(faces.vectors)).any()
    assert build_hierarchy(faces.vectors, 3).certificate.edges_by_second_pass > 0


def test_clusters_are_numbered_by_size_and_then_by_smallest_row():
    labels = np.array([7, -1, 3, 3, 9, 9, 7, -1, 5, 3], np.int32)
    assert determinism.renumbered(labels).tolist() == [1, -1, 0, 0, 2, 2, 1, -1, 3, 0]
    assert determinism.renumbered(np.full(3, -1, np.int32)).tolist() == [-1, -1, -1]


def test_what_is_only_read_is_not_computed(tmp_path):
    faces = determinism.faces(seed=1, distinct=400)
    with pytest.raises(AssertionError, match="computed again"):
        ComputeCache(tmp_path, determinism.Idle()).hierarchy(faces.vectors, "faces", 3)
