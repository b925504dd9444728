"""Whom a loose face is nearest to is what a slow search says, however the library came to where it is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facecluster.model import PersonId
from facecluster.nearest import Lists, Nearest, nearest_after, nearest_of
from facecluster.row_state import RowState

N, DIMENSION = 40, 6


def vectors_of(seed: int):
    """Faces of which some are twins, to the last bit or nearly so."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((N, DIMENSION))
    rows[20:30] = rows[rng.integers(0, 20, 10)]
    rows[25:30] += 1e-6 * rng.standard_normal((5, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def state_of(rng: np.random.Generator) -> RowState:
    """A moment at which some of five people are there, and things were said of them."""
    people = tuple(PersonId(f"p-{i}") for i in sorted(rng.choice(5, rng.integers(1, 6), replace=False)))
    owner = np.where(rng.random(N) < 0.5, -1, rng.integers(0, len(people), N)).astype(np.int32)
    masked = rng.random(N) < 0.1
    owner[masked] = -1
    said = np.column_stack([rng.integers(0, N, 12), rng.integers(0, len(people), 12)]).astype(np.int32)
    none, flags = np.empty((0, 2), np.int32), np.zeros(len(people), np.bool_)
    pin = np.full(N, -1, np.int32)
    return RowState(people, owner, pin, masked, said, none, none, flags, flags, frozenset(), (), ())


def lists_of(vectors, rows, k: int) -> Lists:
    apart = np.linalg.norm(vectors[rows].astype(np.float64)[:, None] - vectors[rows].astype(np.float64), axis=2)
    np.fill_diagonal(apart, np.inf)
    order = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return Lists(rows, order.astype(np.int32), np.take_along_axis(apart, order, axis=1))


def slowly(vectors, state: RowState, row: int) -> tuple[int, float]:
    ruled_out = set(state.not_person[state.not_person[:, 0] == row, 1].tolist())
    away = [
        (float(np.sqrt(((vectors[other].astype(np.float64) - vectors[row]) ** 2).sum())), other)
        for other in range(N)
        if state.owner[other] >= 0 and other != row and state.owner[other] not in ruled_out
    ]
    return min(away)[::-1] if away else (-1, np.inf)


def is_right(found: Nearest, vectors) -> bool:
    return list(zip(found.near.tolist(), found.away.tolist(), strict=True)) == [
        slowly(vectors, found.state, row) for row in found.rows.tolist()
    ]


def loose(state: RowState):
    return np.flatnonzero((state.owner < 0) & ~state.is_masked)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10_000), st.integers(0, 8), st.booleans())
def test_the_nearest_are_those_of_a_slow_search_with_and_without_lists(seed, k, is_everybody):
    rng, vectors = np.random.default_rng(seed), vectors_of(seed)
    state = state_of(rng)
    rows = np.arange(N) if is_everybody else loose(state)
    base = np.flatnonzero(rng.random(N) < 0.7)
    lists = lists_of(vectors, base, k) if k < len(base) else None
    assert is_right(nearest_of(vectors, state, rows, lists), vectors)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.booleans())
def test_what_is_kept_from_before_is_what_a_search_anew_would_find(seed, has_lists):
    rng, vectors = np.random.default_rng(seed), vectors_of(seed)
    state = state_of(rng)
    lists = lists_of(vectors, np.arange(30), 4) if has_lists else None
    found = nearest_of(vectors, state, loose(state), lists)
    for _ in range(6):
        # A few faces go elsewhere, or somebody becomes one with somebody else, or everything is different.
        after = state_of(rng)
        if rng.random() < 0.8:
            owner, masked = state.owner.copy(), state.is_masked.copy()
            some = rng.choice(N, 4, replace=False)
            owner[some], masked[some] = rng.integers(-1, len(state.people), 4), False
            if rng.random() < 0.3:
                owner[owner == 0] = len(state.people) - 1
            said = state.not_person if rng.random() < 0.5 else state.not_person[:-2]
            after = RowState(**{**vars(state), "owner": owner, "is_masked": masked, "not_person": said})
        state = after
        found = nearest_after(found, vectors, state, loose(state), lists)
        assert is_right(found, vectors)


def test_an_act_looks_only_at_what_it_changed(monkeypatch):
    rng, vectors = np.random.default_rng(3), vectors_of(3)
    state = state_of(rng)
    found = nearest_of(vectors, state, loose(state))
    owner = state.owner.copy()
    owner[found.rows[0]] = 0
    now = RowState(**{**vars(state), "owner": owner})
    searched: list[int] = []
    monkeypatch.setattr(
        "facecluster.nearest.nearest_of", lambda v, s, rows, lists: searched.extend(rows) or nearest_of(v, s, rows)
    )
    nearest_after(found, vectors, now, loose(now))
    assert searched == []
