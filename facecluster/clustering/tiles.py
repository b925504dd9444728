"""The seam that runs tiles of the matrix of all pairs: threads by default."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

# What a piece of work found, as plain arrays; none where all of it was written in place.
Found = tuple[NDArray[Any], ...]

# Writes a @ b.T to the third argument, by IEEE float32 products and sums and nothing coarser.
Product = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], None]

# Told how far the work is, as a share in [0, 1] and a word on what is being done. It is called from the
# caller's own thread and may raise to cancel: the exception comes out unchanged.
Progress = Callable[[float, str], None]


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Side of a square block of products: 1 MB of products stays in a core's own cache. Measured on two cores, 512 ran at
# 239 GFLOP/s each and 1,024 at 177.
_BLOCK_ROWS = 768


@dataclass(frozen=True)
class Elsewhere:
    """How work is done where the caller's memory cannot be reached.

    Attributes
    ----------
    part : callable
        Called there as part(inputs, item, product); returns what it found as plain arrays. A function of a module, or
        a `functools.partial` of one with numbers. Of the inputs it takes slices along the first axis.
    inputs : callable
        Gives, by name, what every part reads. It travels as files, never with the parts.
    current : callable
        Gives, by name, what becomes sharper with every merge. A part may read any version of it.
    n_positions : int
        Rows (and columns) of the matrix of pairs.
    rounds : callable
        Called with a number of shards; gives the items, ranges of positions. The parts of a round may run at the same
        time, and the next round starts when all are merged.
    merge : callable
        Called here as merge(item, found), once or more; returns what `Work.do` would have.
    """

    part: Callable[[Mapping[str, Any], tuple[int, ...], Product], Found]
    inputs: Callable[[], Mapping[str, NDArray[np.generic]]]
    current: Callable[[], Mapping[str, NDArray[np.generic]]]
    n_positions: int
    rounds: Callable[[int], Sequence[Sequence[tuple[int, ...]]]]
    merge: Callable[[tuple[int, ...], Found], Found]


@dataclass(frozen=True)
class Work:
    """One stage of a long computation, in pieces that can be done again without harm.

    Attributes
    ----------
    name : str
        Of the stage, one word.
    do : callable
        Does one piece, in place, and returns what it found as arrays (none where all of it is in place).
    rounds : sequence of sequences of tuples of int
        The pieces. Those of one round write to different rows and may run at the same time, each with one BLAS
        thread; a round starts when the one before it is done.
    elsewhere : Elsewhere or None
        The same on other machines, where that is possible.
    """

    name: str
    do: Callable[[tuple[int, ...]], Found]
    rounds: Sequence[Sequence[tuple[int, ...]]]
    elsewhere: Elsewhere | None = None

    @property
    def n_items(self) -> int:
        """Number of pieces."""
        return sum(map(len, self.rounds))


class TileRunner(Protocol):
    """Runs the work of the engine. Results never depend on the runner, only the time does."""

    @property
    def block_rows(self) -> int:
        """Rows of a block of products that suit this runner."""
        ...

    @property
    def workers(self) -> int:
        """Pieces that run at the same time."""
        ...

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike, fill: float) -> NDArray[Any]:
        """An array filled with `fill`, or, where the runner remembers it from before a crash, with what it held.

        Parameters
        ----------
        name : str
            What the array holds, one word; unique within a computation.
        shape, dtype, fill
            As in `np.full`.
        """
        ...

    def product(self, a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """See `Product`."""
        ...

    def carry_out(self, work: Work) -> Generator[tuple[float, Found]]:
        """Does the work; yields the share that is done, in [0, 1], and what each piece found.

        In the caller's thread, and now and then with nothing found while pieces take long, so that the caller can
        stop. If the caller closes the generator, pieces that have not begun are dropped, and the running ones write
        to none of the caller's arrays any more.
        """
        ...


def blas_product(a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Writes a @ b.T to `out` by numpy's BLAS."""
    np.dot(a, b.T, out=out)


@dataclass(frozen=True)
class ThreadRunner:
    """Runs tiles on threads of this process; the kernels and the products release the interpreter lock.

    Attributes
    ----------
    workers : int
        Threads; one for each core this process may use where left out.
    block_rows : int
        Rows of a block of products.
    """

    workers: int = field(default_factory=usable_cores)
    block_rows: int = _BLOCK_ROWS

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike, fill: float) -> NDArray[Any]:  # noqa: ARG002
        """An array in memory; see `TileRunner.array`."""
        return np.full(shape, fill, dtype) if fill else np.zeros(shape, dtype)

    def product(self, a: NDArray[np.float32], b: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """One product by numpy's BLAS."""
        blas_product(a, b, out)

    def carry_out(self, work: Work) -> Generator[tuple[float, Found]]:
        """Does the work on threads; see `TileRunner.carry_out`."""
        total = work.n_items
        for done, (_, found) in enumerate(self.run(work.do, work.rounds), start=1):
            yield done / total, found

    def run(self, task: Callable[[Item], Result], rounds: Iterable[Sequence[Item]]) -> Generator[tuple[Item, Result]]:
        """Runs `task` on every item, one round after the other; yields item and result, in the order of the items."""
        # One BLAS thread for each worker: two pools spinning against each other were 2 to 3 times slower.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self.workers, "tiles") as pool:
            for items in rounds:
                yield from _run_round(pool, task, items)


def _run_round(
    pool: ThreadPoolExecutor, task: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[tuple[Item, Result]]:
    waiting: deque[Future[Result]] = deque(pool.submit(task, item) for item in items)
    try:
        for item in items:
            yield item, waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


THREADS = ThreadRunner()


def circle_rounds(n_blocks: int) -> Iterator[list[tuple[int, int]]]:
    """Every pair of blocks once, in rounds in which no block occurs twice (the circle method).

    Parameters
    ----------
    n_blocks : int
        Number of blocks.

    Yields
    ------
    list of (int, int)
        Pairs (i, j) with i < j, and in the first round (i, i): each block with itself, which fills the lists
        with near faces, so that little of the rest gets in.
    """
    yield [(block, block) for block in range(n_blocks)]
    seats = n_blocks + n_blocks % 2
    ring = list(range(seats))
    for _ in range(seats - 1):
        pairs = [sorted((ring[x], ring[seats - 1 - x])) for x in range(seats // 2)]
        yield [(low, high) for low, high in pairs if high < n_blocks]
        ring = [ring[0], ring[-1], *ring[1:-1]]
