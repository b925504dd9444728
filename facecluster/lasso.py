"""What a curator draws on the map, held against every face and not only against those that are drawn as points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from facecluster.model import FaceId, PersonId
from facecluster.search import nearest_owned
from facecluster.view import View

# plotly re-tests every drawn point at each move of a lasso: past some 20,000 it stops feeling live.
MOST_DRAWN = 15_000
LEAST_PER_PERSON = 8  # a small person must not vanish where only some faces are drawn
# The rest shows where many are, and who is nobody's: where there are thousands of people, 8 of each would leave none.
_SHARE_OF_PEOPLE = 0.75
# Drawn of what lies outside the part that is looked at, so that a map moved by hand is never empty.
_SHARE_OUTSIDE = 0.2
# Faces that are held against every other face there is: 0.1 s of 100,000. Of more, each is held against the faces of
# the people with the nearest middles: the same answer for every face of somebody (400 at random, of 100,000 made-up
# faces and 5,000 people), and for five of six strangers, who are far from everybody.
MOST_EXACT = 64
_CANDIDATES = 16
_BLOCK = 64
# 2^64 by the golden ratio: multiples of it, taken modulo 2^64, lie evenly however many there are.
_SCATTER = np.uint64(0x9E3779B97F4A7C15)

Window = tuple[float, float, float, float]
"""Left, bottom, right and top of a part of the map, in its units."""


@dataclass(frozen=True)
class FaceMap:
    """Faces on the map. `row` (n,) in the library, `xy` (n, 2) places, `owner` (n,) person number or -1."""

    row: NDArray[np.int64]
    xy: NDArray[np.float32]
    owner: NDArray[np.int32]

    @classmethod
    def of(cls, view: View, row: NDArray[np.int64], xy: NDArray[np.float32]) -> FaceMap:
        """The map of a library as it is now, without faces that were set aside."""
        shown = ~view.state.is_masked[row]
        return cls(row[shown], xy[shown], view.state.owner[row[shown]])

    def __len__(self) -> int:
        return len(self.row)

    def nearest(self, x: float, y: float) -> int | None:
        """Row of the face at a place, the nearest where there is none exactly there; None on an empty map."""
        if not len(self):
            return None
        away = ((np.asarray(self.xy, np.float64) - (x, y)) ** 2).sum(axis=1)
        return int(self.row[int(away.argmin())])

    def enclosed(self, shapes: Sequence[Mapping[str, Sequence[float]]]) -> NDArray[np.int64]:
        """Rows inside any of the shapes drawn, each by the `x` and the `y` of its corners."""
        found = np.zeros(len(self), np.bool_)
        for shape in shapes:
            found |= inside(self.xy, shape["x"], shape["y"])
        return self.row[found]

    def within(self, window: Window) -> NDArray[np.bool_]:
        """Which faces lie in a part of the map."""
        left, bottom, right, top = window
        x, y = self.xy[:, 0], self.xy[:, 1]
        return np.asarray((x >= left) & (x <= right) & (y >= bottom) & (y <= top))

    def to_draw(self, window: Window | None = None, most: int = MOST_DRAWN, always: int = -1) -> NDArray[np.int64]:
        """Which faces are drawn as points, ascending: at most so many, somebody's `always` first, spread evenly.

        Where a part of the map is looked at, most of them lie in it and a little around it.
        """
        theirs = np.flatnonzero(self.owner == always) if always >= 0 else np.empty(0, np.int64)
        theirs = self._spread(theirs, most)
        rest = np.ones(len(self), np.bool_)
        rest[theirs] = False
        most -= len(theirs)
        near = np.zeros(len(self), np.bool_) if window is None else rest & self.within(_widened(window))
        first = self._spread(np.flatnonzero(near), round(most * (1 - _SHARE_OUTSIDE)))
        others = self._spread(np.flatnonzero(rest & ~near), most - len(first))
        return np.sort(np.concatenate([theirs, first, others]))

    def _spread(self, at: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        return at[spread(self.owner[at], self.row[at], most)]


def _widened(window: Window, by: float = 0.25) -> Window:
    left, bottom, right, top = window
    x, y = (right - left) * by, (top - bottom) * by
    return left - x, bottom - y, right + x, top + y


def inside(xy: NDArray[np.floating[Any]], corners_x: Sequence[float], corners_y: Sequence[float]) -> NDArray[np.bool_]:
    """Whether points, shape (n, 2), lie inside a polygon, by the even-odd rule; one edge at a time over all points."""
    found = np.zeros(len(xy), np.bool_)
    if not len(corners_x):
        return found
    # Nothing outside the frame of the polygon can lie in it, and a lasso has some hundred edges.
    low, high = (min(corners_x), min(corners_y)), (max(corners_x), max(corners_y))
    at = np.flatnonzero(((xy >= low) & (xy <= high)).all(axis=1))
    x, y = np.asarray(xy[at, 0], np.float64), np.asarray(xy[at, 1], np.float64)
    is_in = np.zeros(len(at), np.bool_)
    corners = list(zip(corners_x, corners_y, strict=True))
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        if ay != by:
            crosses = (ay > y) != (by > y)
            is_in ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    found[at] = is_in
    return found


def spread(
    owner: NDArray[np.int32], row: NDArray[np.int64], most: int, least: int = LEAST_PER_PERSON
) -> NDArray[np.int64]:
    """Which of many points are drawn: evenly spread, some of everybody, ascending.

    Everybody has `least` of them where that leaves a quarter for the rest, else as many as do, and one in any case
    while there are as many as people. Those of nobody (-1) have no such right. Which ones hangs on the `row` of each,
    so that a look closer adds points and hardly moves any.
    """
    n = len(owner)
    if n <= most:
        return np.arange(n)
    shuffled = np.argsort(row.astype(np.uint64) * _SCATTER, kind="stable")
    # How manyeth of its owner each point is, in the shuffled order.
    order = shuffled[np.argsort(owner[shuffled], kind="stable")]
    first = np.searchsorted(owner[order], owner[order], side="left")
    nth = np.empty(n, np.int64)
    nth[order] = np.arange(n) - first
    up_to = np.cumsum(np.bincount(nth[(owner >= 0) & (nth < least)], minlength=least))
    entitled = max(int((up_to <= _SHARE_OF_PEOPLE * most).sum()), 1)
    nth[(owner < 0) | (nth >= entitled)] = entitled
    return np.sort(shuffled[np.argsort(nth[shuffled], kind="stable")][:most])


# --- whom the faces are like, by the whole vectors: the map is flat and may mislead -------------------------------


@dataclass(frozen=True)
class Likeness:
    """Whom some faces are nearest to.

    Attributes
    ----------
    person : PersonId or None
        To whom most of them are; None where there is nobody.
    faces : tuple of FaceId
        Those that are not nearer to somebody else, as they were given.
    others : tuple of (PersonId, tuple of FaceId)
        The rest, by who is nearer to them, most faces first.
    """

    person: PersonId | None
    faces: tuple[FaceId, ...]
    others: tuple[tuple[PersonId, tuple[FaceId, ...]], ...]

    @property
    def n_others(self) -> int:
        """Faces that are nearer to somebody else."""
        return sum(len(faces) for _, faces in self.others)


def middles(view: View) -> NDArray[np.float32]:
    """Shape (n_people, 512): the middle of each person's faces, length 1; zeros for who has none."""
    owned = np.flatnonzero(view.state.owner >= 0)
    who = view.state.owner[owned]
    n = (len(view.state.people), len(view.faces))
    sums = np.asarray(csr_array((np.ones(len(owned), np.float32), (who, owned)), shape=n) @ view.faces.vectors)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(length > 0, length, 1), np.float32)


def nearest_people(view: View, rows: NDArray[np.int64], middle: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of the person to whom each of some faces is nearest, -1 where there is nobody.

    By the nearest other face of the people with the nearest `middles`; somebody of whom the curator said that a face
    is not them does not count for it.
    """
    found = np.full(len(rows), -1, np.int64)
    n_people, said, owner = len(middle), view.state.not_person, view.state.owner
    if not n_people:
        return found
    ruled_out = {int(row): said[said[:, 0] == row, 1] for row in rows[np.isin(rows, said[:, 0])].tolist()}
    score = view.faces.vectors[rows] @ middle.T
    score[:, ~middle.any(axis=1)] = -np.inf
    n = min(_CANDIDATES, n_people)
    candidates = np.argpartition(-score, n - 1, axis=1)[:, :n]
    # Faces of one corner have candidates in common: taken together, few faces of others are looked at.
    order = np.argsort(score.argmax(axis=1), kind="stable")
    plain = order[~np.isin(rows[order], list(ruled_out))]
    blocks = [plain[at : at + _BLOCK] for at in range(0, len(plain), _BLOCK)]
    blocks += [np.array([at]) for at in order.tolist() if int(rows[at]) in ruled_out]
    for block in blocks:
        allowed = np.zeros(n_people + 1, np.bool_)  # the last one is nobody's, whose number is -1
        allowed[candidates[block]] = True
        if int(rows[block[0]]) in ruled_out:
            allowed[ruled_out[int(rows[block[0]])]] = False
        near, _ = nearest_owned(view.faces.vectors, rows[block], np.where(allowed[owner], owner, -1).astype(np.int32))
        found[block] = np.where(near >= 0, owner[near], -1)
    return found


def likeness(view: View, faces: Sequence[FaceId], middle: NDArray[np.float32]) -> Likeness:
    """Whom some faces are nearest to, each by its nearest other face; `middle` as `middles` has them."""
    if len(faces) <= MOST_EXACT:
        person = {one.face: one.person for one in view.nearest(faces)}
        near = [-1 if (who := person[face]) is None else view.number[who] for face in faces]
    else:
        near = nearest_people(view, np.array([view.row(face) for face in faces], np.int64), middle).tolist()
    count = Counter(number for number in near if number >= 0)
    by_size = sorted(count, key=lambda number: (-count[number], number))
    if not by_size:
        return Likeness(None, tuple(faces), ())
    most, everybody = by_size[0], view.state.people
    theirs: dict[int, list[FaceId]] = {number: [] for number in by_size}
    for face, number in zip(faces, near, strict=True):
        theirs[number if number >= 0 else most].append(face)
    others = tuple((everybody[number], tuple(theirs[number])) for number in by_size[1:])
    return Likeness(everybody[most], tuple(theirs[most]), others)


def whole_person(view: View, faces: Sequence[FaceId]) -> PersonId | None:
    """The person whose faces these are, all of them and no other; None where there is no such person."""
    owner = view.owner(faces[0]) if faces else None
    return owner if owner is not None and set(view.ids_of(owner)) == set(faces) else None
