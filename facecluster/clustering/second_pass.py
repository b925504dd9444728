"""The second, thin pass: looks only where a pair outside the neighbour lists could still shorten a tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from facecluster.clustering.arrays import report
from facecluster.clustering.forest import largest_between, leaf_order, maxima_table
from facecluster.clustering.lists import bound_of
from facecluster.clustering.measure import distance, product_margin
from facecluster.clustering.tiles import Elsewhere, Found, Product, Progress, TileRunner, Work
from facecluster.clustering.windows import Window, window_rounds


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
    bound are kept too, because the canonical order settles them. Only pairs with a row that `is_fresh` are looked at.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        first: NDArray[np.int32],
        core: NDArray[np.float64],
        bounds: NDArray[np.uint8],
        tile_width: int,
        tree: Edges,
        is_fresh: NDArray[np.bool_],
        runner: TileRunner,
    ) -> None:
        m = len(first)
        starts = np.arange(0, m, tile_width)
        place, between = leaf_order(m, tree.a, tree.b, tree.weight)
        self._rows = rows
        self._first = first
        self._core = core
        self._bounds = bounds
        self._width = tile_width
        self._least_weight = _least_weights(product_margin(rows.shape[1]))
        self._place = place
        self._table = maxima_table(between)
        self._first_place = np.minimum.reduceat(place, starts)
        self._last_place = np.maximum.reduceat(place, starts)
        self._least_core = np.minimum.reduceat(core, starts)
        self._is_fresh = is_fresh
        self._has_fresh = np.logical_or.reduceat(is_fresh, starts)
        self._runner = runner
        self._open = runner.array("open", (bounds.shape[1], m), np.bool_, False)

    def run(self, progress: Progress | None) -> Iterator[tuple[Edges, int]]:
        """Yields, tile by tile, the pairs found and how many pairs were examined."""
        tiles = [(tile,) for tile in range(self._bounds.shape[1])]
        prove = Work("prove", self._search, [tiles], self._elsewhere())
        with closing(self._runner.carry_out(Work("flag", self._flag, [tiles]))) as flagged:
            for _ in flagged:
                pass
        with closing(self._runner.carry_out(prove)) as results:
            for share, found in results:
                report(progress, 0.3 + 0.6 * share, "Proving the tree")
                if found:
                    pairs, n_measured = found
                    a, b = pairs[:, :2].T.astype(np.int64)
                    yield Edges(a, b, *pairs[:, 2:].T), int(n_measured[0])

    def _flag(self, item: tuple[int, ...]) -> Found:
        (tile,) = item
        _flag_rows(
            tile * self._width,
            min((tile + 1) * self._width, len(self._first)),
            self._bounds,
            self._least_weight,
            self._core,
            self._least_core,
            self._place,
            self._first_place,
            self._last_place,
            self._table,
            self._is_fresh,
            self._has_fresh,
            self._open,
        )
        return ()

    def _search(self, item: tuple[int, ...]) -> Found:
        found, n_measured = _search_tile(
            item[0],
            item[0],
            self._width,
            self._open,
            self._bounds,
            self._least_weight,
            self._core,
            self._place,
            self._table,
            self._is_fresh,
            self._rows,
            self._first,
        )
        return found, np.array([n_measured], np.int64)

    def _elsewhere(self) -> Elsewhere:
        m = len(self._first)
        return Elsewhere(
            part=partial(search_window, width=self._width),
            inputs=lambda: {
                "rows": self._rows[self._first],
                "core": self._core,
                "bounds": self._bounds,
                "place": self._place,
                "is_fresh": self._is_fresh,
                "is_open": self._open,
                "table": self._table,
                "least_weight": self._least_weight,
            },
            current=dict,
            n_positions=m,
            rounds=lambda shards: [
                [item for item in items if self._has_open(Window(*item))]
                for items in window_rounds(m, 0, shards, self._width)
            ],
            merge=lambda _, found: found,
        )

    def _has_open(self, window: Window) -> bool:
        """Whether rows of the window are open to its columns, and columns to its rows."""
        tiles = window.tiles(self._width)
        return bool(
            self._open[tiles.col0 : tiles.col1, window.row0 : window.row1].any()
            and self._open[tiles.row0 : tiles.row1, window.col0 : window.col1].any()
        )


def search_window(inputs: Mapping[str, Any], item: tuple[int, ...], product: Product, *, width: int) -> Found:  # noqa: ARG001
    """The pairs of a window that nothing excludes, measured; see `_search_tile`."""
    window = Window(*item)
    tiles = window.tiles(width)
    arrays = (
        _columns(tiles.take(inputs["is_open"]), window),
        _columns(window.take(inputs["bounds"]), tiles),
        inputs["least_weight"][:],
        *(window.take(inputs[name]) for name in ("core", "place")),
        inputs["table"][:],
        *(window.take(inputs[name]) for name in ("is_fresh", "rows")),
        np.arange(len(window), dtype=np.int32),
    )
    found = []
    n_measured = 0
    for tile in range(tiles.n_rows):
        others_from = tile if window.is_diagonal else tiles.n_rows
        pairs, n_pairs = _search_tile(tile, others_from, width, *arrays)
        pairs[:, :2] = window.positions(pairs[:, :2])
        found.append(pairs)
        n_measured += n_pairs
    return np.concatenate(found), np.array([n_measured], np.int64)


def _columns(of_positions: NDArray[Any], window: Window) -> NDArray[Any]:
    return np.ascontiguousarray(window.take(of_positions.T).T)


def _least_weights(margin: float) -> NDArray[np.float64]:
    """What a pair costs at least under each byte of a bound, shape (256,), falling; infinite where there is none."""
    squared = [2.0 - 2.0 * (bound_of(np.uint8(code)) + margin) for code in range(256)]
    weights = np.sqrt(np.maximum(squared, 0.0))
    weights[0] = np.inf
    return weights


@njit(nogil=True, cache=True)
def _flag_rows(  # type: ignore[no-untyped-def]
    low, high, bounds, least_weight, core, least_core, place, first, last, table, is_fresh, has_fresh, is_open
):
    """Marks the tiles in which a row may still have a pair that costs no more than its path."""
    for row in range(low, high):
        here = place[row]
        for tile in range(bounds.shape[1]):
            if not (is_fresh[row] or has_fresh[tile]):
                continue
            least = max(least_weight[bounds[row, tile]], max(core[row], least_core[tile]))
            # The path to any row of the tile lies within the places that the tile spans, and this one.
            path = max(
                largest_between(table, min(here, first[tile]), here),
                largest_between(table, here, max(here, last[tile])),
            )
            is_open[tile, row] = least <= path


@njit(nogil=True, cache=True)
def _search_tile(  # type: ignore[no-untyped-def]
    tile, others_from, width, is_open, bounds, least_weight, core, place, table, is_fresh, vectors, first
):
    """Measures the pairs of a tile with later rows, in tiles from `others_from` on, that nothing excludes.

    Returns those that cost no more than their path, as (position, position, weight, distance), and how many were
    measured.
    """
    found = np.empty((1024, 4), np.float64)  # grown as needed: nearly always a handful
    n_found = 0
    n_measured = 0
    m = len(place)
    low = tile * width
    high = min(low + width, m)
    open_rows = np.empty(width, np.int64)
    for other in range(others_from, len(is_open)):
        n_rows = _marked(is_open[other], low, high, open_rows)
        for j in range(other * width, min((other + 1) * width, m) if n_rows else 0):
            if not is_open[tile, j]:
                continue
            if n_found + n_rows > len(found):
                found = _grown(found)
            for x in range(n_rows):
                i = open_rows[x]
                if i >= j:
                    break
                if not (is_fresh[i] or is_fresh[j]):
                    continue
                larger_core = max(core[i], core[j])
                path = largest_between(table, place[i], place[j])
                if max(larger_core, least_weight[min(bounds[j, tile], bounds[i, other])]) > path:
                    continue
                n_measured += 1
                d = distance(vectors, first[i], first[j])
                if max(larger_core, d) <= path:
                    found[n_found, 0] = i
                    found[n_found, 1] = j
                    found[n_found, 2] = max(larger_core, d)
                    found[n_found, 3] = d
                    n_found += 1
    return found[:n_found], n_measured


@njit(nogil=True, cache=True)
def _marked(is_open, low, high, rows):  # type: ignore[no-untyped-def]
    """Writes the rows of low..high that are open to `rows`; how many there are."""
    n_rows = 0
    for i in range(low, high):
        if is_open[i]:
            rows[n_rows] = i
            n_rows += 1
    return n_rows


@njit(nogil=True, cache=True)
def _grown(found):  # type: ignore[no-untyped-def]
    out = np.empty((4 * len(found), 4), np.float64)
    out[: len(found)] = found
    return out
