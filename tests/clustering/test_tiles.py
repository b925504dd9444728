"""The seam that runs tiles."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_info

from facecluster.clustering import ThreadRunner
from facecluster.clustering.tiles import circle_rounds


@pytest.mark.parametrize("n_blocks", range(9))
def test_every_pair_of_blocks_meets_once_and_no_block_twice_in_a_round(n_blocks):
    rounds = list(circle_rounds(n_blocks))
    for pairs in rounds[1:]:
        blocks = [block for pair in pairs for block in pair]
        assert len(blocks) == len(set(blocks))
    met = sorted(pair for pairs in rounds for pair in pairs)
    assert met == [(i, j) for i in range(n_blocks) for j in range(i, n_blocks)]


def test_a_round_starts_when_the_one_before_is_done():
    running, seen = set(), []
    lock = threading.Lock()

    def task(item):
        with lock:
            running.add(item)
            seen.append({other[0] for other in running})
        threading.Event().wait(0.002)
        with lock:
            running.discard(item)
        return item[1]

    rounds = [[(r, x) for x in range(5)] for r in range(4)]
    results = list(ThreadRunner(3).run(task, rounds))
    assert results == [((r, x), x) for r in range(4) for x in range(5)]
    assert all(len(rounds_at_once) == 1 for rounds_at_once in seen)


def test_products_have_one_thread_in_each_worker():
    def blas_threads(_):
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    for _, threads in ThreadRunner(2).run(blas_threads, [[1, 2]]):
        assert set(threads) == {1}


def test_an_error_in_a_task_comes_out_unchanged():
    def task(item):
        if item == 3:
            raise RuntimeError("tile 3")
        return item

    with pytest.raises(RuntimeError, match="tile 3"):
        list(ThreadRunner(2).run(task, [range(100)]))
