"""Counts of faces by cluster and person, against a dictionary."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from facecluster.tally import count, distinct, pairs_of, stable_order

N_CLUSTERS, N_PEOPLE = 6, 5


@pytest.fixture(params=[0, 1, 300])
def rows(request):
    rng = np.random.default_rng(request.param)
    n = request.param
    return rng.integers(-2, N_CLUSTERS, n).astype(np.int32), rng.integers(-1, N_PEOPLE, n).astype(np.int32)


def test_a_tally_counts_as_a_dictionary_does(rows):
    label, owner = rows
    known = defaultdict(list)
    for row, pair in enumerate(zip(label.tolist(), owner.tolist(), strict=True)):
        if min(pair) >= 0:
            known[pair].append(row)
    tally = count(label, owner, N_PEOPLE)
    assert list(zip(tally.cluster.tolist(), tally.person.tolist(), strict=True)) == sorted(known)
    assert tally.n.tolist() == [len(known[pair]) for pair in sorted(known)]
    assert tally.first.tolist() == [known[pair][0] for pair in sorted(known)]
    for place, pair in enumerate(sorted(known)):
        assert np.flatnonzero(tally.of_row == place).tolist() == known[pair]
    for p in range(-1, N_PEOPLE):
        homes = [pair for pair in known if pair[1] == p]
        assert tally.home[p] == min(homes, key=lambda pair: (-len(known[pair]), pair), default=(-1,))[0]
    cluster, person = np.indices((N_CLUSTERS + 2, N_PEOPLE + 1)).reshape(2, -1) - np.array([[2], [1]])
    assert tally.n_of(cluster, person).tolist() == [
        len(known.get(pair, ())) for pair in zip(cluster.tolist(), person.tolist(), strict=True)
    ]


def test_who_is_alone_in_a_cluster():
    pairs = pairs_of(np.array([0, 2, 2, 3, 3]), np.array([4, 1, 1, 0, 2]), N_PEOPLE)
    assert pairs.lone(5).tolist() == [4, -1, 1, -1, -1]


def test_equal_keys_stay_in_their_order():
    keys = np.random.default_rng(0).integers(-3, 9, 1000).astype(np.int32)
    assert np.array_equal(stable_order(keys), np.argsort(keys, kind="stable"))
    assert not len(stable_order(keys[:0]))


def test_distinct_numbers_are_those_of_numpy(rows):
    for column in (*rows, rows[0].astype(np.int64) - 2**40):
        found = distinct(column)
        assert found.dtype == column.dtype
        assert np.array_equal(found, np.unique(column))
