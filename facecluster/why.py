"""Why a face is where it is: who it is near to, what joined it, and which faces hold a person's halves together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facecluster.model import FaceId, PersonId
from facecluster.search import cosine, distances
from facecluster.splitting import PersonTree
from facecluster.view import View

# A half that matters holds at least so much of a person.
_HALF = 0.1


@dataclass(frozen=True)
class Near:
    """Another face, and how far it is."""

    face: FaceId
    person: PersonId | None
    distance: float
    cosine: float


@dataclass(frozen=True)
class Joined:
    """The edge by which a face came to its person.

    Attributes
    ----------
    face : FaceId
        The other end.
    weight : float
        Mutual reachability within the person: the strictest cut at which the face is still in.
    distance : float
        Plain distance of the two, at most the weight.
    n_hanging : int
        Faces that would part from the rest of the person without this one.
    """

    face: FaceId
    weight: float
    distance: float
    n_hanging: int


@dataclass(frozen=True)
class Bridge:
    """Two faces that alone hold two halves of a person together.

    Attributes
    ----------
    face, other : FaceId
        The first in the smaller half.
    weight, distance : float
        Of the edge between them.
    n_smaller : int
        Faces of the smaller half.
    n_hanging : int
        Faces that would part from the rest of the person without `face`.
    """

    face: FaceId
    other: FaceId
    weight: float
    distance: float
    n_smaller: int
    n_hanging: int


@dataclass(frozen=True)
class Why:
    """What is known about a face and its person.

    Attributes
    ----------
    nearest : tuple[Near, ...]
        Nearest confirmed faces of the person; where there are none, nearest ones of any kind.
    is_by_confirmed : bool
        Whether those are confirmed.
    joined : Joined | None
        None for somebody's only face.
    elsewhere : Near | None
        Nearest face of anybody else.
    reason : str
        Why the live run's second layer moved the face; "" where it did not.
    """

    nearest: tuple[Near, ...]
    is_by_confirmed: bool
    joined: Joined | None
    elsewhere: Near | None
    reason: str

    @property
    def is_doubtful(self) -> bool:
        """Somebody else has a face at least as near as the person's own nearest."""
        own = self.nearest[0].distance if self.nearest else np.inf
        return self.elsewhere is not None and self.elsewhere.distance <= own


def why(view: View, face: FaceId, tree: PersonTree, k: int = 3) -> Why:
    """Evidence for a face of the person that `tree` is of.

    Parameters
    ----------
    k : int
        Nearest faces of the person that are shown.
    """
    row = view.row(face)
    others = tree.rows[tree.rows != row]
    confirmed = others[view.state.pin[others] >= 0]
    run = view.snapshot.run
    return Why(
        _nearest(view, row, confirmed if len(confirmed) else others, k),
        bool(len(confirmed)),
        _joined(view, row, tree),
        next(iter(_elsewhere(view, row)), None),
        run.reason.get(face, "") if run is not None else "",
    )


def _nearest(view: View, row: int, rows: NDArray[np.int64], k: int) -> tuple[Near, ...]:
    """The nearest of some faces; products choose, and differences measure."""
    vectors = view.faces.vectors
    score = vectors[rows] @ vectors[row]
    some = rows[np.argsort(-score, kind="stable")[: 2 * k]]
    away = distances(vectors, some, vectors[row])
    return tuple(_near(view, int(some[at]), float(away[at])) for at in np.lexsort((some, away))[:k])


def _elsewhere(view: View, row: int) -> tuple[Near, ...]:
    """The nearest face of anybody else whom the curator did not rule out."""
    owner, said = view.state.owner, view.state.not_person
    ruled_out = said[said[:, 0] == row, 1]
    rows = np.flatnonzero((owner >= 0) & (owner != owner[row]) & ~np.isin(owner, ruled_out))
    return _nearest_of_all(view, row, rows)


def _nearest_of_all(view: View, row: int, rows: NDArray[np.int64]) -> tuple[Near, ...]:
    # One product with all faces is quicker than to pick the vectors of nearly all of them first.
    score = np.asarray(view.faces.vectors @ view.faces.vectors[row])[rows]
    if not len(rows):
        return ()
    some = rows[np.flatnonzero(score >= score.max() - 2.0**-14)]
    away = distances(view.faces.vectors, some, view.faces.vectors[row])
    at = int(away.argmin())
    return (_near(view, int(some[at]), float(away[at])),)


def _near(view: View, row: int, distance: float) -> Near:
    owner = int(view.state.owner[row])
    return Near(
        view.faces.ids[row], view.state.people[owner] if owner >= 0 else None, distance, max(cosine(distance), -1.0)
    )


def _joined(view: View, row: int, tree: PersonTree) -> Joined | None:
    at = int(np.searchsorted(tree.rows, row))
    edges = np.flatnonzero((tree.u == at) | (tree.v == at))
    if not len(edges):
        return None
    first = int(edges[0])  # the lightest: edges ascend
    other = int(tree.u[first] + tree.v[first]) - at
    return Joined(
        view.faces.ids[int(tree.rows[other])],
        float(tree.weight[first]),
        float(tree.distance[first]),
        _n_hanging(tree, at, *_sides(tree)),
    )


def _n_hanging(tree: PersonTree, at: int, below: NDArray[np.int64], parent: NDArray[np.int64]) -> int:
    """Faces that would part from the largest part of the rest without the face at a place."""
    edges = np.flatnonzero((tree.u == at) | (tree.v == at))
    sides = [int(below[x]) if parent[x] == at else len(tree) - int(below[at]) for x in _ends(tree, edges, at)]
    return len(tree) - 1 - max(sides)


def _ends(tree: PersonTree, edges: NDArray[np.int64], at: int) -> Sequence[int]:
    """The other ends of some edges of a face."""
    return [int(end) for end in (tree.u[edges] + tree.v[edges] - at).tolist()]


def _sides(tree: PersonTree) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each place: faces below it, itself counted, and what it hangs on; the tree hangs on place 0 (-1)."""
    n = len(tree)
    ends: list[list[int]] = [[] for _ in range(n)]
    for u, v in zip(tree.u.tolist(), tree.v.tolist(), strict=True):
        ends[u].append(v)
        ends[v].append(u)
    parent = np.full(n, -1, np.int64)
    order, seen = [0], [False] * n
    seen[0] = True
    for at in order:  # grows as it is walked
        for end in ends[at]:
            if not seen[end]:
                seen[end] = True
                parent[end] = at
                order.append(end)
    below = np.ones(n, np.int64)
    for at in reversed(order[1:]):
        below[parent[at]] += below[at]
    return below, parent


def bridges(view: View, tree: PersonTree, most: int = 3) -> tuple[Bridge, ...]:
    """The edges whose loss would leave two halves of at least a tenth each, the weakest first.

    Parameters
    ----------
    most : int
        How many to give: in the trunk of a tree nearly every edge is one, and only the weak ones say anything.
    """
    below, parent = _sides(tree)
    n = len(tree)
    found = []
    for edge in range(n - 2, -1, -1):
        u, v = int(tree.u[edge]), int(tree.v[edge])
        child = u if parent[u] == v else v
        n_below = int(below[child])
        smaller = min(n_below, n - n_below)
        if smaller < max(_HALF * n, 2):
            continue
        near = child if n_below == smaller else int(parent[child])
        ids = view.faces.ids
        found.append(
            Bridge(
                ids[int(tree.rows[near])],
                ids[int(tree.rows[u + v - near])],
                float(tree.weight[edge]),
                float(tree.distance[edge]),
                smaller,
                _n_hanging(tree, near, below, parent),
            )
        )
        if len(found) == most:
            break
    return tuple(found)
