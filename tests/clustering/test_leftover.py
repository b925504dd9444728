"""Groups of left-over faces are those of average linkage done the slow way, whatever the order of the rows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facecluster.clustering.leftover import Law, alike_groups, alike_pairs, listed_pairs

LAW = Law(0.28, 0.16)
NOTHING = np.empty((0, 2), np.int32)


def faces(seed: int, n: int = 45, dimension: int = 12):
    """People of a few faces who are hardly alike, some twins, and photos of up to three faces."""
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((12, dimension))
    rows = people[rng.integers(0, 12, n)] + rng.uniform(0.8, 1.6) * rng.standard_normal((n, dimension))
    rows[n - 3 :] = rows[:3]
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    photo = np.where(rng.random(n) < 0.3, -1, rng.integers(0, n // 2, n)).astype(np.int32)
    return vectors, photo, rng.integers(0, n, (3, 2)).astype(np.int32)


def slowly(vectors, photo, apart, law=LAW):
    """Average linkage that looks at all pairs of groups before each step."""
    on_grid = np.rint(vectors.astype(np.float64) * 2**15) / 2**15
    cosine = on_grid @ on_grid.T
    told = {frozenset(pair) for pair in apart.tolist()}

    def may_join(a, b):
        photos = [{int(photo[row]) for row in group} - {-1} for group in (a, b)]
        return not photos[0] & photos[1] and not any(frozenset((x, y)) in told for x in a for y in b)

    groups = [[row] for row in range(len(vectors))]
    while True:
        best = []
        for a, b in combinations(groups, 2):
            score = cosine[np.ix_(a, b)].sum() / (len(a) * len(b)) - (law.large + law.small / (len(a) + len(b)))
            if score >= 0 and may_join(a, b):
                best.append((-score, *sorted((min(a), min(b)))))
        if not best:
            return {frozenset(group) for group in groups if len(group) > 1}
        _, first, second = min(best)
        left, right = (next(g for g in groups if min(g) == row) for row in (first, second))
        groups = [g for g in groups if g not in (left, right)] + [left + right]


def found(vectors, photo, apart, law=LAW):
    return alike_groups(vectors, alike_pairs(vectors, law.least, np.arange(len(vectors))), photo, apart, law)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100_000))
def test_groups_are_those_of_average_linkage_done_slowly(seed):
    vectors, photo, apart = faces(seed)
    apart = apart[apart[:, 0] != apart[:, 1]]
    assert {frozenset(g.rows.tolist()) for g in found(vectors, photo, apart)} == slowly(vectors, photo, apart)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100_000), st.integers(1, 30), st.sampled_from([-0.2, 0.0, 0.1]))
def test_groups_that_take_in_nearly_everybody_are_too(seed, n, least):
    """Whichever of two has a sum already: a face that comes before its group, or after it."""
    (vectors, photo, _), law = faces(seed, n=max(n, 6), dimension=4), Law(least, 0.02)
    assert {frozenset(g.rows.tolist()) for g in found(vectors, photo, NOTHING, law)} == slowly(
        vectors, photo, NOTHING, law
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 100_000))
def test_pairs_are_the_same_in_one_go_and_in_two(seed):
    vectors, _, _ = faces(seed)
    some, others = np.arange(0, 45, 2), np.arange(1, 45, 2)
    whole = alike_pairs(vectors, LAW.least, np.arange(45))
    parts = [alike_pairs(vectors, LAW.least, *rows) for rows in ((some,), (others,), (some, others))]
    assert sorted(map(tuple, whole.tolist())) == sorted(map(tuple, np.concatenate(parts).tolist()))


def test_the_most_typical_face_of_a_group_comes_first_and_its_likeness_is_the_mean_with_the_others():
    vectors, photo, _ = faces(3)
    groups = found(vectors, np.full_like(photo, -1), NOTHING)
    assert groups
    assert [len(g.rows) for g in groups] == sorted((len(g.rows) for g in groups), reverse=True)
    cosine = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    for group in groups:
        own = cosine[np.ix_(group.rows, group.rows)]
        mean = (own.sum(axis=1) - np.diag(own)) / (len(own) - 1)
        np.testing.assert_allclose(group.likeness, mean, atol=1e-6)
        assert (np.diff(group.likeness) <= 1e-6).all()


def test_nothing_is_alike_among_no_faces():
    vectors, photo, _ = faces(1)
    none = np.empty(0, np.int64)
    assert alike_groups(vectors, alike_pairs(vectors, LAW.least, none), photo, NOTHING, LAW) == ()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 100_000))
def test_pairs_read_from_lists_are_those_of_a_comparison_of_all(seed):
    """Whoever has a list or none, however short the lists are, and whichever faces are asked about."""
    vectors, _, _ = faces(seed, n=60, dimension=6)
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(rng.random(60) < 0.7)
    listed = np.flatnonzero(rng.random(60) < 0.8)
    k = int(rng.integers(1, 8))
    away = np.linalg.norm(vectors[listed][:, None].astype(np.float64) - vectors[listed][None], axis=2)
    np.fill_diagonal(away, np.inf)
    order = np.argsort(away, axis=1, kind="stable")[:, :k]
    least = float(rng.uniform(0.3, 0.99))
    got = listed_pairs(vectors, least, rows, listed, listed[order], np.take_along_axis(away, order, axis=1))
    wanted = alike_pairs(vectors, least, rows)
    cosine = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    assert len(np.unique(got, axis=0)) == len(got)
    assert (got[:, 0] < got[:, 1]).all()
    sure = {tuple(pair) for pair in wanted.tolist() if cosine[tuple(pair)] >= least}
    maybe = {tuple(pair) for pair in np.argwhere(np.triu(cosine >= least - 2**-11, 1)).tolist()}
    assert sure <= {tuple(pair) for pair in got.tolist()} <= maybe & {(a, b) for a in rows for b in rows}
