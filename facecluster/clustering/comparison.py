"""All products, once: each row's candidates for its list, and what the pairs left out cannot be above."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.blocks import Blocks, compare_window, merge_window, room_for, whole_lanes
from facecluster.clustering.known import Kept
from facecluster.clustering.lanes import LANES
from facecluster.clustering.layout import Layout
from facecluster.clustering.lists import NO_PRODUCT, NOTHING, recall, settle, what_is_known
from facecluster.clustering.measure import product_margin
from facecluster.clustering.tiles import Elsewhere, Found, TileRunner, Work, circle_rounds
from facecluster.clustering.windows import window_rounds

# Candidates beyond the list: pairs whose products nearly agree are told apart by measuring, and a longer list lets
# the bounds of the others be lower.
_SPARE = 8

# Blocks of a piece of work share their rows while these are in the processor's cache.
_BLOCKS_IN_A_SPAN = 3
_SPANS_PER_WORKER = 5
_ROWS_TO_SETTLE = 512

# First and last position of the rows and of the columns, which are the same or come later.
Piece = tuple[int, int, int, int]


def to_keep(k: int) -> int:
    """Candidates kept of each row for a list of k."""
    return k + _SPARE


class Comparison:
    """Lists of the distinct rows while they are being made.

    Everything it writes may be written again: a piece of work that a crash cut off is simply done anew.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        layout: Layout,
        floor: NDArray[np.float32] | None,
        k: int,
        tile_width: int,
        runner: TileRunner,
        kept: Kept | None = None,
    ) -> None:
        m = layout.n_distinct
        self.layout = layout
        self.tile_width = tile_width
        self._runner = runner
        self._m = m
        self._rows = _padded(rows, layout.first)
        self._margin = product_margin(rows.shape[1])
        self.key = layout.rank[layout.first]
        self._to_keep = to_keep(k)
        self._kept = kept
        # Where the rows start that are compared with all; the tile of the first of them is compared whole.
        self._start = kept.n_kept // tile_width * tile_width if kept else 0
        self.candidates = runner.array("candidates", (m, room_for(self._to_keep)), np.uint64, 0)
        self.filled = runner.array("filled", (m,), np.int32, 0)
        self.least = runner.array("least", (len(self._rows),), np.float32, float(NO_PRODUCT))
        if floor is not None:
            self.least[:m] = np.maximum(self.least[:m], floor)
        self.bounds = runner.array("bounds", (m, -(-m // tile_width)), np.uint8, 0)
        self.near = runner.array("near", (m, k), np.int32, -1)
        self.apart = runner.array("apart", (m, k), np.float64, np.inf)
        self._busy: dict[int, threading.Lock] = {}
        self._blocks = Blocks(
            self._rows,
            self.candidates,
            self.filled,
            self.least,
            self.bounds,
            self._to_keep,
            tile_width,
            runner.product,
        )

    @property
    def n_known(self) -> int:
        """Rows whose lists are known, and that only new rows are compared with."""
        return self._kept.n_kept if self._kept else 0

    def stages(self) -> Iterator[Work]:
        """What is to be done, one after the other: products first, then the measuring of the lists."""
        if self._kept:
            yield Work("recall", self._recall, [[(0,)]])
        block = _side_of_block(self._runner.block_rows, self.tile_width)
        rounds = self._rounds_of_fresh(block) if self._kept else self._rounds_of_all(block)
        starts = {start for pieces in rounds for piece in pieces for start in piece[::2]}
        self._busy = {start: threading.Lock() for start in starts}
        yield Work("compare", partial(self._compare, block), rounds, self._elsewhere(block))
        yield Work("measure", self._settle, [[(start,) for start in range(0, self._m, _ROWS_TO_SETTLE)]])

    def _recall(self, item: tuple[int, ...]) -> Found:  # noqa: ARG002
        """Writes down what is known, the listed rows as candidates: what is nearer than the last of them joins them."""
        kept = self._kept
        assert kept is not None  # noqa: S101  (the caller asked)
        n = kept.n_kept
        self.near[:n] = kept.near
        self.apart[:n] = kept.apart
        self.bounds[:n, : kept.bounds.shape[1]] = kept.bounds
        recall(kept.near, kept.apart, self._margin, self.candidates, self.filled, self.least)
        return ()

    def _rounds_of_all(self, block: int) -> list[list[Piece]]:
        """Each span with itself, which fills the lists with near faces, so that little of the rest gets in; the rest.

        Spans are whole blocks, and no fewer than keep every worker busy to the end.
        """
        fewest = _SPANS_PER_WORKER * self._runner.workers
        side = block * max(min(_BLOCKS_IN_A_SPAN, self._m // (fewest * block)), 1)
        diagonal, *others = _circle([(at, min(at + side, self._m)) for at in range(0, self._m, side)])
        return [diagonal, list(itertools.chain.from_iterable(others))]

    def _rounds_of_fresh(self, block: int) -> list[list[Piece]]:
        """All rows with those from `_start` on: a Latin square of leading and fresh spans, then the fresh ones."""
        n_fresh = self._m - self._start
        fresh = _split(self._start, self._m, max(self._runner.workers, -(-n_fresh // block)), self.tile_width)
        leading = _split(0, self._start, -(-self._start // (_BLOCKS_IN_A_SPAN * block)), self.tile_width)
        order = max(len(leading), len(fresh))
        rounds = []
        for shift in range(order):
            pairs = [(x, (x + shift) % order) for x in range(len(leading))]
            rounds.append([(*leading[x], *fresh[y]) for x, y in pairs if y < len(fresh)])
        return rounds + _circle(fresh)

    def _compare(self, block: int, item: tuple[int, ...]) -> Found:
        # Pieces of a round rarely meet, as they are in the order of a circle; where they do, one waits.
        with contextlib.ExitStack() as held:
            for start in sorted({item[0], item[2]}):
                held.enter_context(self._busy[start])
            return self._blocks.compare(block, item)

    def _elsewhere(self, block: int) -> Elsewhere:
        return Elsewhere(
            part=partial(compare_window, block=block, to_keep=self._to_keep, tile_width=self.tile_width),
            inputs=lambda: {"rows": self._rows},
            current=lambda: {"least": self.least},
            n_positions=self._m,
            rounds=lambda shards: window_rounds(self._m, self._start, shards, self.tile_width),
            merge=self._merge,
        )

    def _merge(self, item: tuple[int, ...], found: Found) -> Found:
        lists = (self.candidates, self.filled, self.least, self.bounds)
        return merge_window(item, found, *lists, self._to_keep, self.tile_width)

    def _settle(self, item: tuple[int, ...]) -> Found:
        (low,) = item
        high = min(low + _ROWS_TO_SETTLE, self._m)
        known = np.full(high - low, NOTHING, np.uint8)
        if self._kept:
            rows = slice(low, min(high, max(self._kept.n_kept, low)))
            apart = self._kept.apart[rows]
            known[: len(apart)] = what_is_known(apart, self._margin, self.filled[rows], self.least[rows])
        settle(
            self._rows,
            self.key,
            self._margin,
            self.tile_width,
            low,
            known,
            self.candidates,
            self.filled,
            self.bounds,
            self.near,
            self.apart,
        )
        return ()


def _split(low: int, high: int, n: int, width: int) -> list[tuple[int, int]]:
    """Positions low..high in at most n spans of whole tiles and nearly one length; `low` starts a tile."""
    tiles = -(-(high - low) // width)
    n = min(n, tiles)
    ends = [min(low + (tiles * x // n) * width, high) for x in range(n + 1)] if n else []
    return list(itertools.pairwise(ends))


def _circle(spans: list[tuple[int, int]]) -> list[list[Piece]]:
    """Every pair of the spans, and each with itself."""
    return [[(*spans[i], *spans[j]) for i, j in pairs] for pairs in circle_rounds(len(spans))]


def _side_of_block(rows: int, tile_width: int) -> int:
    """Whole tiles with about that many rows, or a half, a quarter, ... of a tile that has more."""
    if tile_width <= rows:
        return -(-rows // tile_width) * tile_width
    side = tile_width
    while side > rows and side % (2 * LANES) == 0:
        side //= 2
    return side


def _padded(rows: NDArray[np.float32], first: NDArray[np.int32]) -> NDArray[np.float32]:
    """Rows `first`, and rows of zeros after them."""
    m, dimension = len(first), rows.shape[1]
    out = np.empty((whole_lanes(m), dimension), np.float32)
    np.take(rows, first, axis=0, out=out[:m], mode="clip")
    out[m:] = 0.0
    return out
