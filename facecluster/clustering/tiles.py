"""The seam that runs tiles of the matrix of all pairs: threads by default."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

# Told how far the work is, as a share in [0, 1] and a word on what is being done. It is called from the
# caller's own thread and may raise to cancel: the exception comes out unchanged.
Progress = Callable[[float, str], None]

# Side of a square block of products: measured at 10,000 faces on two cores, 512 keeps two workers evenly busy.
_BLOCK_ROWS = 512


class TileRunner(Protocol):
    """Runs the tasks of the engine. Results never depend on the runner, only the time does."""

    @property
    def block_rows(self) -> int:
        """Rows of a block of products that suit this runner."""
        ...

    def run(self, task: Callable[[Item], Result], rounds: Iterable[Sequence[Item]]) -> Generator[tuple[Item, Result]]:
        """Runs `task` on every item, one round after the other.

        Parameters
        ----------
        task : callable
            Tasks of one round write to different rows and may run at the same time, each with one BLAS
            thread. A round starts when the one before it is done.
        rounds : iterable of sequences
            The items, round by round.

        Yields
        ------
        tuple
            Item and result, in the order of the items, in the caller's thread. If the caller closes the
            generator, tasks that have not begun are dropped and the running ones are waited for.
        """
        ...


@dataclass(frozen=True)
class ThreadRunner:
    """Runs tiles on threads of this process; the kernels and the products release the interpreter lock.

    Attributes
    ----------
    workers : int
        Threads; 0 means one for each core this process may use.
    block_rows : int
        Rows of a block of products.
    """

    workers: int = 0
    block_rows: int = _BLOCK_ROWS

    def run(self, task: Callable[[Item], Result], rounds: Iterable[Sequence[Item]]) -> Generator[tuple[Item, Result]]:
        """Runs `task` on every item, one round after the other; see `TileRunner.run`."""
        # One BLAS thread for each worker: two pools spinning against each other were 2 to 3 times slower.
        with (
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(self.workers or _usable_cores(), "tiles") as pool,
        ):
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


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
