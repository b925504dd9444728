"""The second, thin pass: looks only where a pair outside the neighbour lists could still shorten a tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.arrays import report
from facecluster.clustering.forest import largest_between, leaf_order, maxima_table
from facecluster.clustering.measure import distance, product_margin
from facecluster.clustering.tiles import Progress, TileRunner


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of positions with their measured numbers, each of shape (n_edges,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    weight: NDArray[np.float64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.a)

    def take(self, which: NDArray[np.int64]) -> Edges:
        """The edges at `which`, in that order."""
        return Edges(self.a[which], self.b[which], self.weight[which], self.distance[which])

    def plus(self, *others: Edges) -> Edges:
        """These edges followed by the others."""
        every = (self, *others)
        return Edges(
            np.concatenate([edges.a for edges in every]),
            np.concatenate([edges.b for edges in every]),
            np.concatenate([edges.weight for edges in every]),
            np.concatenate([edges.distance for edges in every]),
        )


class SecondPass:
    """Finds every pair outside the lists that is not excluded by the largest edge on its path in `tree`.

    By the cycle property a pair is in the exact tree only if it costs no more than that edge. Pairs *at* the
    bound are kept too, because the canonical order settles them.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        core: NDArray[np.float64],
        bounds: NDArray[np.float32],
        tile_width: int,
        tree: Edges,
    ) -> None:
        m = len(vectors)
        self._vectors = vectors
        self._core = core
        self._bounds = bounds
        self._width = tile_width
        self._margin = product_margin(vectors.shape[1])
        starts = np.arange(0, m, tile_width)
        place, between = leaf_order(m, tree.a, tree.b, tree.weight)
        self._place = place
        self._table = maxima_table(between)
        self._first_place = np.minimum.reduceat(place, starts)
        self._last_place = np.maximum.reduceat(place, starts)
        self._least_core = np.minimum.reduceat(core, starts)
        self._open = np.zeros(bounds.shape, np.bool_)

    def run(self, runner: TileRunner, progress: Progress | None) -> Iterator[tuple[Edges, int]]:
        """Yields, tile by tile, the pairs found and how many pairs were examined."""
        n_tiles = self._bounds.shape[1]
        with closing(runner.run(self._flag, [range(n_tiles)])) as flagged:
            for _ in flagged:
                pass
        starts = np.arange(0, len(self._vectors), self._width)
        tile_is_open = np.logical_or.reduceat(self._open, starts, axis=0)
        self._to_do = tile_is_open & tile_is_open.T
        with closing(runner.run(self._search, [range(n_tiles)])) as results:
            for tile, result in results:
                report(progress, 0.3 + 0.6 * (tile + 1) / n_tiles, "Proving the tree")
                yield result

    def _rows(self, tile: int) -> tuple[int, int]:
        return tile * self._width, min((tile + 1) * self._width, len(self._vectors))

    def _flag(self, tile: int) -> None:
        low, high = self._rows(tile)
        _flag_rows(
            low,
            high,
            self._bounds,
            self._margin,
            self._core,
            self._least_core,
            self._place,
            self._first_place,
            self._last_place,
            self._table,
            self._open,
        )

    def _search(self, tile: int) -> tuple[Edges, int]:
        low, high = self._rows(tile)
        examined = 0
        found = [_no_edges()]
        for other in tile + np.flatnonzero(self._to_do[tile, tile:]):
            other_low, other_high = self._rows(int(other))
            rows = low + np.flatnonzero(self._open[low:high, other])
            cols = other_low + np.flatnonzero(self._open[other_low:other_high, tile])
            products = self._vectors[rows] @ self._vectors[cols].T
            edges, n_pairs = _scan(
                products,
                rows,
                cols,
                bool(tile == other),
                self._vectors,
                self._margin,
                self._core,
                self._place,
                self._table,
            )
            found.append(Edges(*edges))
            examined += n_pairs
        return found[0].plus(*found[1:]), examined


def _no_edges() -> Edges:
    return Edges(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))


@njit(nogil=True, cache=True)
def _least_weight(product, margin, core):  # type: ignore[no-untyped-def]
    """What a pair costs at least, from its product and the larger core distance."""
    squared = 2.0 - 2.0 * (np.float64(product) + margin)
    return max(core, np.sqrt(squared)) if squared > 0.0 else core


@njit(nogil=True, cache=True)
def _flag_rows(low, high, bounds, margin, core, least_core, place, first, last, table, is_open):  # type: ignore[no-untyped-def]
    """Marks the tiles in which a row may still have a pair that costs no more than its path."""
    for row in range(low, high):
        here = place[row]
        for tile in range(bounds.shape[1]):
            if bounds[row, tile] < -2.0:
                continue
            # The path to any row of the tile lies within the places that the tile spans, and this one.
            path = max(
                largest_between(table, min(here, first[tile]), here),
                largest_between(table, here, max(here, last[tile])),
            )
            least = _least_weight(bounds[row, tile], margin, max(core[row], least_core[tile]))
            is_open[row, tile] = least <= path


@njit(nogil=True, cache=True)
def _scan(products, rows, cols, is_same_tile, vectors, margin, core, place, table):  # type: ignore[no-untyped-def]
    """Measures the pairs that their product does not exclude; returns those that cost no more than their path."""
    # Grown as needed: nearly always a handful out of 65,536.
    room = 256
    a = np.empty(room, np.int64)
    b = np.empty(room, np.int64)
    weight = np.empty(room, np.float64)
    apart = np.empty(room, np.float64)
    n_found = 0
    n_examined = 0
    for x in range(len(rows)):
        i = rows[x]
        for y in range(len(cols)):
            j = cols[y]
            if is_same_tile and j <= i:
                continue
            n_examined += 1
            larger_core = max(core[i], core[j])
            path = largest_between(table, place[i], place[j])
            if _least_weight(products[x, y], margin, larger_core) > path:
                continue
            d = distance(vectors, i, j)
            w = max(larger_core, d)
            if w > path:
                continue
            if n_found == room:
                room *= 4
                a = _grown(a, room)
                b = _grown(b, room)
                weight = _grown(weight, room)
                apart = _grown(apart, room)
            a[n_found] = i
            b[n_found] = j
            weight[n_found] = w
            apart[n_found] = d
            n_found += 1
    return (a[:n_found], b[:n_found], weight[:n_found], apart[:n_found]), n_examined


@njit(nogil=True, cache=True)
def _grown(values, room):  # type: ignore[no-untyped-def]
    out = np.empty(room, values.dtype)
    out[: len(values)] = values
    return out
