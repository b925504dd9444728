"""A build that is killed goes on where it was, and comes to the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from facecluster.checkpoints import RememberingRunner, remembering
from facecluster.clustering import ThreadRunner, build_hierarchy, find_neighbours
from facecluster.clustering.tiles import Work
from facecluster.demo import synthetic_faces

THREADS = ThreadRunner(2, 256)
N_FACES = 6_000


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "vectors.npy"
    np.save(path, synthetic_faces(N_FACES, seed=1, style="crowd").vectors)
    return path


def whole(hierarchy):
    """All of a hierarchy but the number that says how much work it was."""
    return {name: array for name, array in hierarchy.to_arrays().items() if name != "pairs_examined"}


def assert_same(a, b):
    for name, array in whole(a).items():
        assert np.array_equal(array, whole(b)[name]), name


BUILD = """
    import sys
    import numpy as np
    from pathlib import Path
    from facecluster.checkpoints import remembering
    from facecluster.clustering import ThreadRunner, build_hierarchy, find_neighbours

    vectors, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    print("ready", flush=True)
    with remembering(folder / "neighbours", ThreadRunner(2, 256)) as runner:
        neighbours = find_neighbours(vectors, 16, runner)
        with remembering(folder / "tree", ThreadRunner(2, 256)) as second:
            h = build_hierarchy(vectors, 3, neighbours, second)
            np.savez(folder / "result.tmp.npz", **h.to_arrays())
            (folder / "result.tmp.npz").replace(folder / "result.npz")
"""


def build(vectors, folder, seconds=None):
    """Runs the build in a process of its own; kills it after some seconds. Returns how long it ran."""
    command = [sys.executable, "-c", textwrap.dedent(BUILD), str(vectors), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    start = time.monotonic()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()
    return time.monotonic() - start


def test_a_build_killed_again_and_again_comes_to_the_same_result(vectors, tmp_path):
    rng = np.random.default_rng(7)
    kills = 0
    while not (tmp_path / "result.npz").exists():
        build(vectors, tmp_path, rng.uniform(0.02, 0.25) if kills < 12 else None)
        kills += 1
    assert kills > 2
    with np.load(tmp_path / "result.npz") as file:
        found = dict(file)
    expected = build_hierarchy(np.load(vectors), 3, find_neighbours(np.load(vectors), 16)).to_arrays()
    for name in expected:
        if name != "pairs_examined":
            assert np.array_equal(found[name], expected[name]), name


class StopError(Exception):
    pass


@pytest.mark.parametrize("at", [0.05, 0.3, 0.6, 0.9, 0.955, 0.975])
def test_a_cancelled_search_does_not_compare_again_what_was_compared(vectors, tmp_path, at, monkeypatch):
    rows = np.load(vectors)
    pairs = []
    product = ThreadRunner.product

    def counted(self, a, b, out):
        pairs.append(len(a) * len(b))
        product(self, a, b, out)

    def stop(share, _):
        if share >= at:
            raise StopError

    monkeypatch.setattr(ThreadRunner, "product", counted)
    with pytest.raises(StopError), remembering(tmp_path / "work", THREADS) as runner:
        find_neighbours(rows, 16, runner, stop)
    with remembering(tmp_path / "work", THREADS) as runner:
        found = find_neighbours(rows, 16, runner)
    again = sum(pairs)
    pairs.clear()
    anew = find_neighbours(rows, 16, THREADS)
    assert np.array_equal(found.knn.indices, anew.knn.indices)
    assert np.array_equal(found.knn.distances, anew.knn.distances)
    # The pieces that were under way, on both threads, are all that is done twice.
    assert again <= sum(pairs) + 4 * (2 * 256 * 256) * 16


def test_doing_everything_again_changes_nothing(vectors, tmp_path):
    rows = np.load(vectors)[:3000]
    folder = tmp_path / "work"
    runner = RememberingRunner(folder, THREADS)
    find_neighbours(rows, 16, runner)
    for ticks in folder.glob("done-*.bin"):
        ticks.write_bytes(bytes(ticks.stat().st_size))
    again = find_neighbours(rows, 16, RememberingRunner(folder, THREADS))
    anew = find_neighbours(rows, 16, THREADS)
    assert np.array_equal(again.knn.indices, anew.knn.indices)
    assert np.array_equal(again.knn.distances, anew.knn.distances)
    assert_same(build_hierarchy(rows, 3, again), build_hierarchy(rows, 3, anew))


def found_by(runner, calls):
    def do(item):
        calls.append(item)
        return (np.array(item), np.array([0.5 * item[0]]))

    return list(runner.carry_out(Work("seek", do, [[(0,), (1,)], [(2,)]])))


def test_what_pieces_found_is_read_back_and_a_record_cut_off_is_found_again(tmp_path):
    calls = []
    first = found_by(RememberingRunner(tmp_path, THREADS), calls)
    assert sorted(calls) == [(0,), (1,), (2,)]
    assert [found[1][0] for _, found in first] == [0.0, 0.5, 1.0]
    log = tmp_path / "found-seek.log"
    log.write_bytes(log.read_bytes()[:-5])
    calls.clear()
    second = found_by(RememberingRunner(tmp_path, THREADS), calls)
    assert calls == [(2,)]
    assert [found[1][0] for _, found in second] == [0.0, 0.5, 1.0]
    assert second[-1][0] == 1.0
    calls.clear()
    assert len(found_by(RememberingRunner(tmp_path, THREADS), calls)) == 3
    assert calls == []


def test_another_number_of_threads_or_another_start_of_the_machine_starts_anew(tmp_path, monkeypatch):
    RememberingRunner(tmp_path, THREADS).array("some", (3,), np.int64, 7)[0] = 1
    assert RememberingRunner(tmp_path, THREADS).array("some", (3,), np.int64, 7).tolist() == [1, 7, 7]
    assert RememberingRunner(tmp_path, ThreadRunner(3, 256)).array("some", (3,), np.int64, 7).tolist() == [7, 7, 7]
    monkeypatch.setattr("facecluster.checkpoints._boot", lambda: "after a power cut")
    RememberingRunner(tmp_path, THREADS).array("some", (3,), np.int64, 8)
    assert RememberingRunner(tmp_path, THREADS).array("some", (3,), np.int64, 7).tolist() == [8, 8, 8]


def test_a_second_process_on_the_same_work_remembers_nothing_and_disturbs_nothing(tmp_path):
    with remembering(tmp_path / "work", THREADS) as mine:
        assert isinstance(mine, RememberingRunner)
        with remembering(tmp_path / "work", THREADS) as theirs:
            assert theirs is THREADS
        assert (tmp_path / "work").exists()
    assert not (tmp_path / "work").exists()
