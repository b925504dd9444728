"""What stays of lists and trees made before, when faces have come or gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from facecluster.clustering.layout import Layout, lay_out_after
from facecluster.clustering.measure import pair_distances
from facecluster.errors import InputError

if TYPE_CHECKING:
    from facecluster.clustering.hierarchy import Hierarchy
    from facecluster.clustering.neighbours import Neighbours

# With more rows to compare anew, an order that puts all alike rows side by side is worth more than what is known.
_LARGEST_FRESH_SHARE = 1 / 3


@dataclass(frozen=True, eq=False)
class Kept:
    """Lists that are as final as they were, over positions of a new layout in which they come first.

    Attributes
    ----------
    layout : Layout
        Of the faces there are now: first the rows whose lists are kept, in the order they had.
    near : NDArray[np.int32]
        Shape (n_kept, k), positions in that layout.
    apart : NDArray[np.float64]
        Same shape: their distances.
    bounds : NDArray[np.uint8]
        Shape (n_kept, tiles of kept positions), as in `Neighbours`.
    """

    layout: Layout
    near: NDArray[np.int32]
    apart: NDArray[np.float64]
    bounds: NDArray[np.uint8]

    @property
    def n_kept(self) -> int:
        """Rows whose lists are kept; all rows from this position on are compared anew."""
        return len(self.near)


def rows_of_known(known_rows: ArrayLike | None, n_known: int, n_faces: int) -> NDArray[np.int64]:
    """Row of each known face now, -1 where it is gone, shape (n_known,); the first rows where nothing is said.

    Raises
    ------
    InputError
        If there are not as many as known faces, or one names no row, or two name the same.
    """
    rows = np.arange(n_known) if known_rows is None else np.asarray(known_rows).astype(np.int64)
    present = rows[rows >= 0] if rows.ndim == 1 else rows
    if rows.shape != (n_known,) or (present >= n_faces).any() or len(np.unique(present)) != len(present):
        raise InputError(
            f"The rows of the {n_known:,} known faces do not name different rows of these {n_faces:,}. "
            "Nothing was clustered. Give for each known face its row now, or -1 where it is gone."
        )
    return rows


def kept_lists(known: Neighbours, known_rows: ArrayLike | None, rows: NDArray[np.float32], k: int) -> Kept | None:
    """The part of `known` that holds for `rows`.

    Parameters
    ----------
    known : Neighbours
        Lists of faces of which some or all are among the rows now.
    known_rows : ArrayLike or None
        Shape (known.n_faces,): the row of each known face now, -1 where it is gone; the first rows where None.
    rows : NDArray[np.float32]
        Shape (n_faces, dimension), checked unit rows.
    k : int
        Neighbours of a list that are asked for now.

    Returns
    -------
    Kept or None
        None where it is as well to start anew: lists of another length, or too many rows without one.

    Raises
    ------
    InputError
        If the rows of known faces are no rows, or their vectors are not the known ones.
    """
    now = rows_of_known(known_rows, known.n_faces, len(rows))
    old = known.layout
    here = _row_of_position(old, now)
    is_kept = (here >= 0) & (here[known.near] >= 0).all(axis=1)
    chosen = np.flatnonzero(is_kept)
    layout = lay_out_after(rows, here[chosen])
    n_kept = len(chosen)
    if n_kept == 0 or known.near.shape[1] != min(k, layout.n_distinct - 1):
        return None
    if layout.n_distinct - n_kept > _LARGEST_FRESH_SHARE * layout.n_distinct:
        return None
    # Every neighbour of a kept row is still there, kept itself or not: what matters is where it lies now.
    near = layout.position[here[known.near[chosen]]]
    apart = known.apart[chosen]
    first = layout.first
    if not np.array_equal(pair_distances(rows, first[:n_kept], first[near[:, 0]]), apart[:, 0]):
        raise InputError(
            f"The known neighbour lists ({known.n_faces:,} faces) were made from other vectors than these rows. "
            "Nothing was clustered. Find the neighbours without them."
        )
    return Kept(layout, near.astype(np.int32), apart, _bounds(known.bounds, chosen, known.tile_width))


def row_marks(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A number for each row that says what it holds, shape (n_faces,): equal rows, equal numbers.

    For finding rows again, which `kept_lists` and `known_tree` then measure; it proves nothing.
    """
    marks: NDArray[np.uint64] = _marks(np.ascontiguousarray(rows).view(np.uint32))
    return marks


@njit(nogil=True, cache=True)
def _marks(words):  # type: ignore[no-untyped-def]
    out = np.empty(len(words), np.uint64)
    for row in range(len(words)):
        # The multiplications and shifts of splitmix64 (Steele, Lea and Flood 2014), a word at a time.
        mark = np.uint64(0x9E3779B97F4A7C15)
        for x in range(words.shape[1]):
            mark = (mark ^ np.uint64(words[row, x])) * np.uint64(0xBF58476D1CE4E5B9)
            mark ^= mark >> np.uint64(29)
        out[row] = mark
    return out


def rows_by_mark(known: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each known mark a row of `wanted` with that mark, none twice, -1 where there is none (left)."""
    ours, theirs = np.argsort(wanted, kind="stable"), np.argsort(known, kind="stable")
    marks, others = wanted[ours], known[theirs]
    if len(wanted) == 0 or len(known) == 0:
        return np.full(len(known), -1)
    # The second copy of a row takes the second of its marks, and so on.
    turn = np.arange(len(others)) - np.searchsorted(others, others)
    at = np.searchsorted(marks, others) + turn
    is_there = marks[np.minimum(at, len(marks) - 1)] == others
    is_there &= at < len(marks)
    rows = np.empty(len(known), np.int64)
    rows[theirs] = np.where(is_there, ours[np.minimum(at, len(marks) - 1)], -1)
    return rows


def _row_of_position(layout: Layout, now: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row now of some copy at each old position, -1 where all are gone, shape (n_distinct,)."""
    here = np.full(layout.n_distinct, -1, np.int64)
    present = np.flatnonzero(now >= 0)
    here[layout.position[present]] = now[present]
    return here


def _bounds(known: NDArray[np.uint8], chosen: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Bounds of the kept rows: a tile now has rows of neighbouring old tiles, and the largest of their bounds."""
    starts = np.arange(0, len(chosen), width)
    first = chosen[starts] // width
    last = chosen[np.minimum(starts + width, len(chosen)) - 1] // width
    rows = known[chosen]
    out = rows[:, first]
    for more in range(1, int((last - first).max(initial=0)) + 1):
        np.maximum(out, rows[:, np.minimum(first + more, last)], out=out)
    return out


@dataclass(frozen=True, eq=False)
class KnownTree:
    """What stays of a hierarchy when faces are added: pairs of old faces outside it need not be looked at again.

    Their mutual reachability was their distance and still is, while no edge of the old tree has become longer. So
    the new tree lies within the old tree, the lists, old and new, and the pairs with a new face.

    Attributes
    ----------
    a, b : NDArray[np.int64]
        Positions of pairs of old faces that may be in the new tree and are perhaps in no list.
    distance : NDArray[np.float64]
        Same shape: their distances.
    is_fresh : NDArray[np.bool_]
        Shape (n_distinct,): positions without an old face.
    is_changed : NDArray[np.bool_]
        Same shape: positions that are fresh or have another core distance than before; a pair of two others
        costs what it did, and only the old tree's are needed.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance: NDArray[np.float64]
    is_fresh: NDArray[np.bool_]
    is_changed: NDArray[np.bool_]


def known_tree(
    known: Hierarchy,
    known_rows: ArrayLike | None,
    rows: NDArray[np.float32],
    layout: Layout,
    core: NDArray[np.float64],
    min_samples: int,
) -> KnownTree | None:
    """The part of `known` that holds for `rows`.

    Parameters
    ----------
    known : Hierarchy
        Of faces that are all among the rows now.
    known_rows : ArrayLike or None
        Shape (known.n_faces,): the row of each known face now; the first rows where None.
    rows : NDArray[np.float32]
        Shape (n_faces, dimension), checked unit rows.
    layout : Layout
        Of these rows.
    core : NDArray[np.float64]
        Shape (n_distinct,): their core distances now, by position.
    min_samples : int
        As asked for now.

    Returns
    -------
    KnownTree or None
        None where there were too few faces for `min_samples` neighbours, so that core distances may have grown.

    Raises
    ------
    InputError
        If a known face is gone, `min_samples` is another, or the known tree is of other vectors.
    """
    now = rows_of_known(known_rows, known.n_faces, len(rows))
    if known.min_samples != min_samples:
        raise InputError(
            f"The known hierarchy was built with min_samples {known.min_samples}, not {min_samples}. "
            "No hierarchy was built. Build it without the known one."
        )
    if (now < 0).any():
        raise InputError(
            f"{np.count_nonzero(now < 0):,} faces are gone of the {known.n_faces:,} in the known hierarchy, and others "
            "may now be joined differently. No hierarchy was built. Build it without the known one."
        )
    u, v = now[known.mst.u], now[known.mst.v]
    if not np.array_equal(pair_distances(rows, u, v), known.mst.distance):
        raise InputError(
            f"The known hierarchy ({known.n_faces:,} faces) was built from other vectors than these rows. "
            "No hierarchy was built. Build it without the known one."
        )
    if known.n_faces <= min_samples:
        return None
    at = layout.position[now]
    is_fresh = np.ones(len(core), np.bool_)
    is_fresh[at] = False
    is_changed = is_fresh.copy()
    is_changed[at] = core[at] != known.core_distances
    is_stale = is_changed[at]
    listed, place = np.nonzero(is_stale[:, None] | is_stale[known.knn.indices])
    a = np.concatenate([layout.position[u], at[listed]])
    b = np.concatenate([layout.position[v], at[known.knn.indices[listed, place]]])
    distance = np.concatenate([known.mst.distance, known.knn.distances[listed, place]])
    is_pair = a != b
    return KnownTree(a[is_pair].astype(np.int64), b[is_pair].astype(np.int64), distance[is_pair], is_fresh, is_changed)
