"""Nearest faces are the nearest, by distances that are measured and not read off a product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facecluster.search import cosine, distances, nearest_faces, nearest_owned, widened

NONE = np.empty(0, np.int64)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@st.composite
def face_sets(draw):
    """Unit vectors with twins and bursts at distances that no float32 product can tell apart."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(1, 40))
    rows = rng.standard_normal((n, 8))
    burst = draw(st.integers(0, n))
    rows[:burst] = rows[0] + draw(st.sampled_from([0.0, 1e-6, 1e-4, 1e-2])) * rng.standard_normal((burst, 8))
    return unit(rows)


def slowly(vectors, query, rows):
    away = [float(np.sqrt(((vectors[r].astype(np.float64) - query.astype(np.float64)) ** 2).sum())) for r in rows]
    return sorted(zip(away, rows, strict=True))


@settings(deadline=None)
@given(face_sets(), st.integers(0, 45), st.integers(0, 39))
def test_nearest_faces_are_those_of_a_slow_search(vectors, k, at):
    at %= len(vectors)
    rows, found = nearest_faces(vectors, vectors[at], k, np.array([at]))
    expected = slowly(vectors, vectors[at], [r for r in range(len(vectors)) if r != at])[:k]
    assert rows.tolist() == [row for _, row in expected]
    np.testing.assert_allclose(found, [away for away, _ in expected], rtol=1e-12)


@settings(deadline=None)
@given(face_sets(), st.lists(st.integers(-1, 2), min_size=40, max_size=40))
def test_the_nearest_owned_face_is_that_of_a_slow_search(vectors, owner):
    owner = np.array(owner[: len(vectors)], np.int32)
    rows = np.arange(len(vectors))
    nearest, found = nearest_owned(vectors, rows, owner)
    for row in rows:
        expected = slowly(vectors, vectors[row], [r for r in np.flatnonzero(owner >= 0).tolist() if r != row])
        assert (nearest[row], found[row]) == ((expected[0][1], expected[0][0]) if expected else (-1, np.inf))


def test_nothing_is_near_in_an_empty_library():
    empty = np.empty((0, 8), np.float32)
    rows, found = nearest_faces(empty, np.ones(8, np.float32), 5)
    assert len(rows) == len(found) == 0
    nearest, found = nearest_owned(empty, NONE, np.empty(0, np.int32))
    assert len(nearest) == len(found) == 0


def test_a_hundred_copies_of_one_face_come_in_the_order_of_their_rows():
    vectors = np.tile(unit([[1, 2, 3, 4]]), (100, 1))
    rows, found = nearest_faces(vectors, vectors[50], 5, np.array([50]))
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert found.tolist() == [0.0] * 5


@pytest.mark.parametrize(("distance", "similarity"), [(0.0, 1.0), (2**0.5, 0.0), (2.0, -1.0)])
def test_distance_and_cosine_say_the_same(distance, similarity):
    assert cosine(distance) == pytest.approx(similarity, abs=1e-12)


def test_small_distances_keep_their_digits():
    a, b = unit([[1.0, 0.0], [1.0, 1e-5]])
    assert distances(np.stack([a, b]), np.array([1]), a)[0] == pytest.approx(1e-5, rel=1e-3)


def test_a_search_is_widened_to_the_whole_of_the_people_found():
    vectors = unit([[1, 0.0], [1, 0.1], [1, 0.2], [0, 1.0], [-1, 0], [0.1, -1]])
    owner = np.array([-1, 0, -1, 0, 0, 1], np.int32)
    hits = widened(vectors, owner, vectors[0], 2, np.array([0]))
    assert [(hit.row, hit.why, hit.person) for hit in hits] == [
        (1, "direct", 0),
        (2, "direct", -1),
        (3, "same person", 0),
        (4, "same person", 0),
    ]
    assert all(hit.cosine == pytest.approx(float(vectors[hit.row] @ vectors[0]), abs=1e-6) for hit in hits)


def test_noise_widens_nothing_and_what_is_left_out_does_not_come_back():
    vectors = unit([[1, 0.0], [1, 0.1], [1, 0.2]])
    owner = np.array([0, -1, 0], np.int32)
    assert [hit.row for hit in widened(vectors, owner, vectors[0], 1, np.array([0]))] == [1]
    assert [hit.row for hit in widened(vectors, owner, vectors[1], 3, np.array([0, 1]))] == [2]


def test_a_search_goes_on_to_whoever_is_likely_the_same_as_somebody_found_and_no_further():
    vectors = unit([[1, 0.0], [1, 0.1], [1, 0.2], [0, 1.0], [-1, 0], [0.1, -1]])
    owner = np.array([-1, 0, -1, 0, 1, 2], np.int32)
    hits = widened(vectors, owner, vectors[0], 1, np.array([0]), {0: [1], 1: [0, 2]})
    assert [(hit.row, hit.why, hit.person) for hit in hits] == [
        (1, "direct", 0),
        (3, "same person", 0),
        (4, "suggested", 1),
    ]
