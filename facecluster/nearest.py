"""Whom each loose face is nearest to: exact, and reckoned anew only for faces about which something changed.

At 100,000 faces with 10,000 loose ones, comparing each with everybody takes seconds, and a curator acts every second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facecluster.row_state import RowState
from facecluster.search import distances, nearest_owned

# Of two distances to twins, one read and one measured, the last bits may differ.
_TWINS = 1e-9
# Where the owners of more faces than this share changed, beginning anew is quicker.
_ANEW = 0.25


@dataclass(frozen=True, eq=False)
class Lists:
    """Saved neighbour lists of some faces.

    Attributes
    ----------
    rows : NDArray[np.int64]
        Shape (m,): the faces that have one, ascending.
    indices : NDArray[np.int32]
        Shape (m, k): their nearest among these, as places in `rows`.
    distances : NDArray[np.float64]
        Shape (m, k), ascending.
    """

    rows: NDArray[np.int64]
    indices: NDArray[np.int32]
    distances: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest face of anybody, for some faces at one moment; whom the curator ruled out is passed over.

    Attributes
    ----------
    state : RowState
        The moment.
    rows : NDArray[np.int64]
        Shape (m,), ascending.
    near : NDArray[np.int64]
        Shape (m,): row of the nearest face of somebody, the first of equally near ones; -1 for none.
    away : NDArray[np.float64]
        Shape (m,): its distance; inf for none.
    """

    state: RowState
    rows: NDArray[np.int64]
    near: NDArray[np.int64]
    away: NDArray[np.float64]

    @property
    def person(self) -> NDArray[np.int32]:
        """Shape (m,): person number of the nearest; -1 for none."""
        return np.where(self.near >= 0, self.state.owner[self.near], np.int32(-1))

    @property
    def cosine(self) -> NDArray[np.float64]:
        """Shape (m,): cosine with the nearest; -1 for none."""
        return np.where(self.near >= 0, 1.0 - np.minimum(self.away, 2.0) ** 2 / 2.0, -1.0)


def nearest_of(
    vectors: NDArray[np.float32], state: RowState, rows: NDArray[np.int64], lists: Lists | None = None
) -> Nearest:
    """Reckoned from the beginning: by the lists where they tell, against everybody where not."""
    ruled_out = _ruled_out(state, rows)
    near, away = np.full(len(rows), -1, np.int64), np.full(len(rows), np.inf)
    left = np.ones(len(rows), np.bool_)
    if lists is not None and lists.indices.size:
        near, away, left = _listed(vectors, state, rows, lists, ruled_out)
        is_listed = np.zeros(len(state.owner), np.bool_)
        is_listed[lists.rows] = True
        found = Nearest(state, rows, near, away)
        found = _closer(vectors, found, np.flatnonzero(~left), np.where(is_listed, -1, state.owner))
        near, away = found.near, found.away
    some = np.flatnonzero(left)
    near[some], away[some] = nearest_owned(vectors, rows[some], state.owner, _within(ruled_out, some))
    return Nearest(state, rows, near, away)


def nearest_after(
    old: Nearest, vectors: NDArray[np.float32], state: RowState, rows: NDArray[np.int64], lists: Lists | None = None
) -> Nearest:
    """The same for a later moment of the same faces, from what was known."""
    renumbered = state.numbers_since(old.state)
    was = renumbered[old.state.owner]
    came = (state.owner >= 0) & (was != state.owner)
    if came.mean() > _ANEW:
        return nearest_of(vectors, state, rows, lists)
    near, away = np.full(len(rows), -1, np.int64), np.full(len(rows), np.inf)
    at = np.searchsorted(old.rows, rows)
    at[at == len(old.rows)] = 0
    is_known = old.rows[at] == rows if len(old.rows) else np.zeros(len(rows), np.bool_)
    near[is_known], away[is_known] = old.near[at[is_known]], old.away[at[is_known]]

    ruled_out = _ruled_out(state, rows)
    has_rules = np.zeros(len(rows), np.bool_)
    has_rules[ruled_out[:, 0]] = True
    again = ~is_known | np.isin(rows, _said_otherwise(old.state, state, renumbered))
    again |= (near >= 0) & (state.owner[near] < 0)
    again[ruled_out[state.owner[near[ruled_out[:, 0]]] == ruled_out[:, 1], 0]] = True
    known = Nearest(state, rows, near, away)
    # A face that goes from one person to another changes nothing, but for loose faces of which one was ruled out.
    anybodys = np.where(came & (old.state.owner < 0), state.owner, np.int32(-1))
    known = _closer(vectors, known, np.flatnonzero(~again & ~has_rules), anybodys)
    known = _closer(vectors, known, np.flatnonzero(~again & has_rules), np.where(came, state.owner, np.int32(-1)))
    some = np.flatnonzero(again)
    anew = nearest_of(vectors, state, rows[some], lists)
    known.near[some], known.away[some] = anew.near, anew.away
    return known


def _ruled_out(state: RowState, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shape (m, 2): place in `rows` and the person that this face is not."""
    place = np.full(len(state.owner), -1, np.int64)
    place[rows] = np.arange(len(rows))
    said = state.not_person.astype(np.int64)
    return np.column_stack([place[said[:, 0]], said[:, 1]])[place[said[:, 0]] >= 0]


def _within(ruled_out: NDArray[np.int64], some: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same, counted within some of the places, ascending."""
    at = np.searchsorted(some, ruled_out[:, 0])
    at[at == len(some)] = 0
    there = some[at] == ruled_out[:, 0] if len(some) else np.zeros(len(ruled_out), np.bool_)
    return np.asarray(np.column_stack([at, ruled_out[:, 1]])[there])


def _said_otherwise(before: RowState, now: RowState, renumbered: NDArray[np.int32]) -> NDArray[np.int64]:
    """Faces for which other people are ruled out than before."""
    width = len(now.people) + 1
    a = before.not_person[:, 0].astype(np.int64) * width + renumbered[before.not_person[:, 1]] + 1
    b = now.not_person[:, 0].astype(np.int64) * width + now.not_person[:, 1] + 1
    return np.unique(np.setxor1d(a, b) // width)


def _listed(
    vectors: NDArray[np.float32],
    state: RowState,
    rows: NDArray[np.int64],
    lists: Lists,
    ruled_out: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """The nearest among listed faces, and which faces the lists tell nothing of."""
    at = np.searchsorted(lists.rows, rows)
    at[at == len(lists.rows)] = 0
    candidates = lists.rows[lists.indices[at]]
    owner = state.owner[candidates]
    for place, person in ruled_out.tolist():
        owner[place, owner[place] == person] = -1
    allowed = owner >= 0
    first = allowed.argmax(axis=1)
    every = np.arange(len(rows))
    reach = lists.distances[at][every, first] + _TWINS
    # Where the last of a list is as near as the first that counts, more twins may lie behind it.
    left = (lists.rows[at] != rows) | ~allowed.any(axis=1) | (lists.distances[at, -1] <= reach)
    near, away = np.full(len(rows), -1, np.int64), np.full(len(rows), np.inf)
    for place in np.flatnonzero(~left).tolist():
        some = np.sort(candidates[place, allowed[place] & (lists.distances[at[place]] <= reach[place])])
        found = distances(vectors, some, vectors[rows[place]])
        best = int(found.argmin())
        near[place], away[place] = some[best], found[best]
    return near, away, left


def _closer(vectors: NDArray[np.float32], known: Nearest, some: NDArray[np.int64], owner: NDArray[np.int32]) -> Nearest:
    """The same where a face that has an `owner` is nearer to the faces at `some` places than what is known."""
    if not len(some) or not (owner >= 0).any():
        return known
    ruled_out = _within(_ruled_out(known.state, known.rows), some)
    near, away = nearest_owned(vectors, known.rows[some], owner, ruled_out, known.away[some])
    nearer = (away < known.away[some]) | ((away == known.away[some]) & (near < known.near[some]) & (near >= 0))
    found = replace(known, near=known.near.copy(), away=known.away.copy())
    found.near[some[nearer]], found.away[some[nearer]] = near[nearer], away[nearer]
    return found
