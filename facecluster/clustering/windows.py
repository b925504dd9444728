"""Windows on the matrix of all pairs: two ranges of positions at a time, as they are worked on elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """The pairs of a range of rows and a range of columns, which are the same or come later.

    The positions of both are numbered one after the other ("here"), so that what works on all positions works on
    these few as it is.

    Attributes
    ----------
    row0, row1, col0, col1 : int
        Positions; row0 and col0 are multiples of the tile width, and so is row1 where the columns come later.
    """

    row0: int
    row1: int
    col0: int
    col1: int

    @property
    def is_diagonal(self) -> bool:
        """Whether rows and columns are the same."""
        return self.row0 == self.col0

    @property
    def n_rows(self) -> int:
        """Rows; they are the first positions here."""
        return self.row1 - self.row0

    def __len__(self) -> int:
        return self.n_rows + (0 if self.is_diagonal else self.col1 - self.col0)

    @property
    def starts(self) -> tuple[tuple[int, int], ...]:
        """(position here, position) of where each range starts."""
        return ((0, self.row0),) if self.is_diagonal else ((0, self.row0), (self.n_rows, self.col0))

    def take(self, of_positions: Any) -> NDArray[Any]:
        """What an array, or a file of one, holds of the positions here."""
        rows = of_positions[self.row0 : self.row1]
        if self.is_diagonal:
            return np.asarray(rows)
        return np.concatenate([rows, of_positions[self.col0 : self.col1]])

    def tiles(self, width: int) -> Window:
        """The same of tiles instead of positions."""
        return Window(self.row0 // width, -(-self.row1 // width), self.col0 // width, -(-self.col1 // width))

    def positions(self, here: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions of what is numbered here."""
        return np.where(here < self.n_rows, here + self.row0, here - self.n_rows + self.col0)


def window_rounds(n_positions: int, fresh_from: int, shards: int, width: int) -> list[list[tuple[int, ...]]]:
    """Every pair with a position from `fresh_from` on, in one window each.

    Parameters
    ----------
    n_positions : int
        Number of positions.
    fresh_from : int
        A multiple of `width`.
    shards : int
        Ranges into which all positions are cut, about equally, at multiples of `width`.
    width : int
        Positions in a tile.

    Returns
    -------
    list of lists of (row0, row1, col0, col1)
        First each range with itself: alike rows lie side by side, so these find most of what there is to find.
    """
    side = -(-n_positions // (shards * width)) * width
    leading = _spans(0, fresh_from, side)
    fresh = _spans(fresh_from, n_positions, side)
    own: list[tuple[int, ...]] = [(*span, *span) for span in fresh]
    later: list[tuple[int, ...]] = [(*rows, *cols) for y, cols in enumerate(fresh) for rows in (*leading, *fresh[:y])]
    return [own, later]


def _spans(start: int, stop: int, side: int) -> Sequence[tuple[int, int]]:
    return [(at, min(at + side, stop)) for at in range(start, stop, side)]
