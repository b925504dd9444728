"""One person's own spanning tree, what a private cut on it makes of them, and several people made of one.

The tree is made of the person's faces alone, so it is there before anything else was computed, and it holds faces that
no clustering put together: confirmed, moved or merged ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from facecluster import decisions
from facecluster.clustering.measure import pair_distances
from facecluster.decisions import Draft
from facecluster.errors import InputError
from facecluster.model import FaceId, PersonId
from facecluster.view import View

# Every pair of so many faces fits into 150 MB, and their tree takes a third of a second. Of more, every other (every
# third, ...) face is looked at, and the rest hang on the nearest of these.
_MOST_PAIRED = 6_000
_ROWS_AT_ONCE = 512

# Cuts that leave more parts are not offered: nobody looks through them.
MOST_PARTS = 24


@dataclass(frozen=True, eq=False)
class PersonTree:
    """The least spanning tree of mutual reachability among one person's faces.

    Attributes
    ----------
    rows : NDArray[np.int64]
        Shape (n,): face rows, ascending.
    u, v : NDArray[np.int64]
        Shape (n - 1,): places in `rows`; edges by (weight, distance), ascending.
    weight, distance : NDArray[np.float64]
        Shape (n - 1,): mutual reachability within the person, and plain distance, in [0, 2].
    """

    rows: NDArray[np.int64]
    u: NDArray[np.int64]
    v: NDArray[np.int64]
    weight: NDArray[np.float64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Step:
    """A cut at which one more part comes off.

    Attributes
    ----------
    n_edges : int
        Edges of the tree that stay; what `cut` takes.
    weight : float
        Of the least edge that goes: faces further apart than this are taken apart.
    n_parts : int
        Parts of the size asked for.
    n_comes_off : int
        Faces of the smaller side of that edge.
    """

    n_edges: int
    weight: float
    n_parts: int
    n_comes_off: int


@dataclass(frozen=True)
class Part:
    """Faces that a cut leaves together, the most typical first."""

    faces: tuple[FaceId, ...]
    confirmed: tuple[FaceId, ...]


def person_tree(vectors: NDArray[np.float32], rows: NDArray[np.int64], min_samples: int) -> PersonTree:
    """The spanning tree of some faces, by Prim over all their pairs.

    Parameters
    ----------
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), unit rows.
    rows : NDArray[np.int64]
        Whose tree it is; at least one.
    min_samples : int
        Neighbours among these faces that make one dense: a stray face between two crowds does not join them early.

    Returns
    -------
    PersonTree
        Products choose the edges (they are off by less than 2**-14), and differences measure them. Of more than 6,000
        faces it is the tree of an even sample, and each other face hangs on the nearest of these.
    """
    step = -(-len(rows) // _MOST_PAIRED)
    some = np.arange(0, len(rows), step)
    mine = np.ascontiguousarray(vectors[rows])
    chosen = mine[some] if step > 1 else mine
    a, b, core = _prim(chosen, min(min_samples, len(some) - 1))
    weight_of = np.zeros(len(rows))
    weight_of[some] = core
    rest = np.setdiff1d(np.arange(len(rows)), some)
    u = np.concatenate([some[a], rest])
    v = np.concatenate([some[b], some[_nearest(mine[rest], chosen)]])
    distance = np.asarray(pair_distances(mine, u, v), np.float64)
    weight = np.maximum(np.maximum(weight_of[u], weight_of[v]), distance)
    order = np.lexsort((v, u, distance, weight))
    return PersonTree(rows, u[order], v[order], weight[order], distance[order])


def _prim(mine: NDArray[np.float32], dense: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Both ends of each edge, and core distances."""
    n = len(mine)
    apart = mine @ mine.T
    np.multiply(apart, -2.0, out=apart)
    np.add(apart, 2.0, out=apart)
    np.maximum(apart, 0.0, out=apart)  # squared distances, which order pairs as distances do
    core = np.zeros(n, np.float32)
    if dense > 0:
        np.fill_diagonal(apart, 0.0)  # the face itself is the first of its neighbours and is not counted
        for start in range(0, n, _ROWS_AT_ONCE):
            block = apart[start : start + _ROWS_AT_ONCE]
            core[start : start + len(block)] = np.partition(block, dense, axis=1)[:, dense]
    ends = np.zeros(n, np.int64)
    best = np.full(n, np.inf, np.float32)
    reach = np.empty(n, np.float32)
    is_open = np.ones(n, np.bool_)
    a, b = np.empty(n - 1, np.int64), np.empty(n - 1, np.int64)
    at = 0
    is_open[0] = False
    for edge in range(n - 1):
        np.maximum(apart[at], core, out=reach)
        np.maximum(reach, core[at], out=reach)
        nearer = np.flatnonzero((reach < best) & is_open)
        best[nearer], ends[nearer] = reach[nearer], at
        best[at] = np.inf
        at = int(best.argmin())
        is_open[at] = False
        a[edge], b[edge] = ends[at], at
    return a, b, np.sqrt(core.astype(np.float64))


def _nearest(rest: NDArray[np.float32], chosen: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of each face the nearest of the chosen ones."""
    found = [
        (rest[start : start + _ROWS_AT_ONCE] @ chosen.T).argmax(axis=1) for start in range(0, len(rest), _ROWS_AT_ONCE)
    ]
    return np.concatenate([np.empty(0, np.int64), *found]).astype(np.int64)


class _Pieces:
    """Union of places, with their number of faces."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))
        self.size = [1] * n

    def root(self, x: int) -> int:
        parent = self.parent
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    def join(self, x: int, y: int) -> None:
        """Joins two roots."""
        if self.size[x] < self.size[y]:
            x, y = y, x
        self.parent[y] = x
        self.size[x] += self.size[y]


def steps(tree: PersonTree, least: int) -> tuple[Step, ...]:
    """Cuts at which a part of at least `least` faces comes off, the loosest first.

    A cut that makes more than `MOST_PARTS` is left out. None for somebody who falls into no two such parts.
    """
    pieces = _Pieces(len(tree))
    n_parts = len(tree) if least <= 1 else 0
    found = []
    for edge, (u, v) in enumerate(zip(tree.u.tolist(), tree.v.tolist(), strict=True)):
        x, y = pieces.root(u), pieces.root(v)
        smaller, larger = sorted((pieces.size[x], pieces.size[y]))
        if smaller >= least:
            if n_parts <= MOST_PARTS:
                found.append(Step(edge, float(tree.weight[edge]), n_parts, smaller))
            n_parts -= 1
        elif larger < least <= smaller + larger:
            n_parts += 1
        pieces.join(x, y)
    return tuple(reversed(found))


def likeliest(found: Sequence[Step]) -> int:
    """Which of the steps to show first: the one that takes the largest part off, the loosest of equals."""
    return max(range(len(found)), key=lambda at: (found[at].n_comes_off, -at))


def cut(tree: PersonTree, n_edges: int, least: int) -> NDArray[np.int32]:
    """Parts of at least `least` faces that the first `n_edges` edges hold together.

    Smaller pieces, single faces too, stay with the part that they reach by the least edge.

    Returns
    -------
    NDArray[np.int32]
        Shape (n,): number of the part, the largest first, ties by their first row.
    """
    pieces = _Pieces(len(tree))
    edges = list(zip(tree.u.tolist(), tree.v.tolist(), strict=True))
    for u, v in edges[:n_edges]:
        pieces.join(pieces.root(u), pieces.root(v))
    is_part = [pieces.parent[x] == x and pieces.size[x] >= least for x in range(len(tree))]
    for u, v in edges[n_edges:]:
        x, y = pieces.root(u), pieces.root(v)
        if not (is_part[x] and is_part[y]):
            is_part[x] = is_part[y] = is_part[x] or is_part[y]
            pieces.join(x, y)
    roots = np.array([pieces.root(x) for x in range(len(tree))])
    _, first, label, counts = np.unique(roots, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(first), np.int32)
    number[np.lexsort((first, -counts))] = np.arange(len(first))
    return np.asarray(number[label], np.int32)


def parts(view: View, tree: PersonTree, label: NDArray[np.int32]) -> list[Part]:
    """The parts of a cut: first the one that keeps the person (most confirmed faces, then most faces), then by size."""
    vectors, ids = view.faces.vectors, view.faces.ids
    found = []
    for number in range(int(label.max()) + 1):
        rows = tree.rows[label == number]
        mine = vectors[rows]
        typical = rows[np.lexsort((rows, -(mine @ mine.mean(axis=0))))].tolist()
        confirmed = tuple(ids[row] for row in rows.tolist() if view.state.pin[row] >= 0)
        found.append(Part(tuple(ids[row] for row in typical), confirmed))
    keeper = max(range(len(found)), key=lambda at: (len(found[at].confirmed), len(found[at].faces), -at))
    return [found[keeper], *found[:keeper], *found[keeper + 1 :]]


def split(
    draft: Draft, view: View, person: PersonId, leaving: Sequence[Sequence[FaceId]], stay: Sequence[FaceId] = ()
) -> str:
    """Make new people of parts of one; returns the title of the change.

    Their faces are pinned there, and are not the first person any more, nor each other's: no later clustering asks or
    puts them together again. Whoever was split keeps id, name and everything else.

    Parameters
    ----------
    stay : sequence of FaceId
        Faces that stay whatever part they are in.

    Raises
    ------
    InputError
        If a face is not this person's (any more), stands in two parts, or if nobody would stay or leave.
    """
    kept = set(stay)
    groups = [some for part in leaving if (some := sorted(set(part) - kept))]
    faces = [face for some in groups for face in some]
    n_mine = len(view.rows(person))
    if len(set(faces)) < len(faces) or any(view.owner(face) != person for face in faces):
        raise InputError(
            f"Some of these faces are not those of {view.called(person)} any more, or stand in two parts. "
            "Nothing was split. Look at the parts again."
        )
    if not 0 < len(faces) < n_mine:
        raise InputError(
            f"{len(faces):,} of the {n_mine:,} faces of {view.called(person)} would leave. Nothing was split. "
            "Some have to leave, and some have to stay."
        )
    title = f"Split {view.called(person)}: {_people(groups)} came off"
    for some in groups:
        new = decisions.new_person(draft, some[0])
        decisions.move(draft, dict.fromkeys(some, person), new)
    for a, b in combinations(groups, 2):
        decisions.link(draft, a[0], b[0], "different")
    return title


def _people(groups: Sequence[Sequence[FaceId]]) -> str:
    """Sentence's worth of new people: "2 people of 41 and 7 faces"."""
    sizes = [f"{len(some):,}" for some in groups]
    listed = f"{', '.join(sizes[:-1])} and {sizes[-1]}" if len(sizes) > 1 else sizes[0]
    faces = "face" if sizes == ["1"] else "faces"
    return f"{'1 person' if len(sizes) == 1 else f'{len(sizes)} people'} of {listed} {faces}"
