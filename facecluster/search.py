"""Exact nearest faces and nearest people, every distance measured by difference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# Rows of a product at a time: 512 x 100,000 floats are 200 MB.
_BLOCK = 512
# A product of unit rows is off by less than half of this (float32, 512 terms): it may exclude, and distances decide.
_MARGIN = 2.0**-14
NOBODY: Mapping[int, Collection[int]] = MappingProxyType({})


def cosine(distance: float) -> float:
    """Cosine similarity of two unit vectors at this distance."""
    return 1.0 - distance * distance / 2.0


def distances(vectors: NDArray[np.float32], rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean distances of some rows to one vector, by difference in float64."""
    difference = np.asarray(vectors[rows], np.float64) - np.asarray(query, np.float64)
    return np.asarray(np.sqrt((difference * difference).sum(axis=1)))


def nearest_faces(
    vectors: NDArray[np.float32], query: NDArray[np.float32], k: int, leave_out: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `k` rows nearest to one vector, ascending by (distance, row).

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.float64]]
        Rows and distances in [0, 2].
    """
    score = np.asarray(vectors @ query)
    if leave_out is not None:
        score[leave_out] = -np.inf
    wanted = min(k, int(np.isfinite(score).sum()))
    if wanted <= 0:
        return np.empty(0, np.int64), np.empty(0)
    last = np.partition(score, len(score) - wanted)[len(score) - wanted]
    rows = np.flatnonzero(score >= last - _MARGIN)
    found = distances(vectors, rows, query)
    order = np.lexsort((rows, found))[:wanted]
    return rows[order], found[order]


def nearest_owned(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    owner: NDArray[np.int32],
    ruled_out: NDArray[np.int64] | None = None,
    within: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of some faces the nearest other face that somebody owns: row (-1 for none) and distance (inf).

    Parameters
    ----------
    ruled_out : NDArray[np.int64] | None
        Shape (m, 2): place in `rows`, and an owner who is passed over for that face.
    within : NDArray[np.float64] | None
        Shape (n_rows,): who is farther is of no interest, and is not measured.
    """
    owned = np.flatnonzero(owner >= 0)
    nearest = np.full(len(rows), -1, np.int64)
    found = np.full(len(rows), np.inf)
    if not len(owned) or not len(rows):
        return nearest, found
    candidates = np.ascontiguousarray(vectors[owned])
    by_place = {} if ruled_out is None else _by_place(ruled_out)
    least = np.full(len(rows), -np.inf) if within is None else 1.0 - np.minimum(within, 2.0) ** 2 / 2.0 - _MARGIN
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        score = vectors[some] @ candidates.T
        own = np.minimum(np.searchsorted(owned, some), len(owned) - 1)
        itself = np.flatnonzero(owned[own] == some)
        score[itself, own[itself]] = -np.inf
        for place in by_place.keys() & range(start, start + len(some)):
            score[place - start, np.isin(owner[owned], by_place[place])] = -np.inf
        best = score.max(axis=1)
        near = score >= best[:, None] - _MARGIN
        for i in np.flatnonzero(np.isfinite(best) & (best >= least[start : start + _BLOCK])).tolist():
            columns = np.flatnonzero(near[i])
            away = distances(candidates, columns, vectors[some[i]])
            at = int(away.argmin())
            nearest[start + i], found[start + i] = owned[columns[at]], away[at]
    return nearest, found


def _by_place(pairs: NDArray[np.int64]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, owner in pairs.tolist():
        found.setdefault(place, []).append(owner)
    return found


@dataclass(frozen=True)
class Hit:
    """One face of an answer, and why it is there: near itself, or of a person who has such a face, or is likely one."""

    row: int
    distance: float
    cosine: float
    why: Literal["direct", "same person", "suggested"]
    person: int  # person number, -1 for nobody


def widened(
    vectors: NDArray[np.float32],
    owner: NDArray[np.int32],
    query: NDArray[np.float32],
    k: int,
    leave_out: NDArray[np.int64],
    likely: Mapping[int, Collection[int]] = NOBODY,
) -> list[Hit]:
    """The `k` nearest faces, after them all further faces of the people among them; some rows left out of both.

    Last come the faces of those who are `likely` the same as one of these people, by person number.
    """
    rows, found = nearest_faces(vectors, query, k, leave_out)
    hits = [
        Hit(row, distance, cosine(distance), "direct", int(owner[row]))
        for row, distance in zip(rows.tolist(), found.tolist(), strict=True)
    ]
    people = set(owner[rows].tolist()) - {-1}
    others = {other for person in people for other in likely.get(person, ())} - people
    is_left = np.ones(len(owner), np.bool_)
    is_left[rows] = is_left[leave_out] = False
    same, suggested = (np.flatnonzero(is_left & np.isin(owner, list(some))) for some in (people, others))
    return [
        *hits,
        *_hits(vectors, owner, query, same, "same person"),
        *_hits(vectors, owner, query, suggested, "suggested"),
    ]


def _hits(
    vectors: NDArray[np.float32],
    owner: NDArray[np.int32],
    query: NDArray[np.float32],
    rows: NDArray[np.int64],
    why: Literal["same person", "suggested"],
) -> list[Hit]:
    away = distances(vectors, rows, query)
    return [
        Hit(int(rows[i]), float(away[i]), cosine(float(away[i])), why, int(owner[rows[i]]))
        for i in np.lexsort((rows, away)).tolist()
    ]
