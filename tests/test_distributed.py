"""The same hierarchy, bit for bit, from workers of a Dask cluster: however many, on whatever kernels, even killed."""

from __future__ import annotations

import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from threadpoolctl import threadpool_limits

distributed = pytest.importorskip("distributed")

import facecluster.clustering.neighbours as neighbours_module  # noqa: E402
from facecluster.cli import cli  # noqa: E402
from facecluster.clustering import ExtractionParams, ThreadRunner, build_hierarchy, extract, find_neighbours  # noqa: E402
from facecluster.clustering.tiles import Elsewhere, Work  # noqa: E402
from facecluster.demo import synthetic_faces  # noqa: E402
from facecluster.distributed import DaskRunner  # noqa: E402
from facecluster.errors import CancelledError, ConfigError, WorkersError  # noqa: E402

N_FACES = 3_000
HAS_AVX512 = "avx512f" in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "")


@pytest.fixture(autouse=True)
def narrow_tiles(monkeypatch):
    monkeypatch.setattr(neighbours_module, "TILE_WIDTH", 32)


@pytest.fixture(scope="module")
def vectors():
    faces = synthetic_faces(N_FACES, seed=1, style="crowd").vectors
    return np.concatenate([faces, faces[:20]])  # and some twins


@contextmanager
def local_cluster(n_workers):
    """A scheduler in this process, and processes that work for it and come back when they are killed."""
    options = {"nthreads": 1, "memory_limit": 0}
    workers = {x: {"cls": distributed.Nanny, "options": options} for x in range(n_workers)}
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": ":0", "host": "127.0.0.1"}}
    # Fifteen seconds after it lost a worker, a SpecCluster closes what would start it again, should no worker be there
    # at that moment: on a busy machine it falls into the next death of a worker that is killed over and over.
    patient = {"distributed.deploy.lost-worker-timeout": "1h"}
    with (
        dask.config.set(patient),
        distributed.SpecCluster(workers, scheduler, silence_logs=50) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def workers_of(client, *kernels):
    """Workers as `dask worker` starts them, each with BLAS kernels of its own; they do not come back."""
    command = [sys.executable, "-m", "dask", "worker", client.scheduler.address, "--no-nanny", "--nthreads=1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parent.parent}
    workers = [
        subprocess.Popen([*command, "--no-dashboard"], env={**os.environ, "OPENBLAS_CORETYPE": kernel}, **quiet)
        for kernel in kernels
    ]
    try:
        client.wait_for_workers(len(kernels), timeout=120)
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


@pytest.fixture(scope="module")
def one_worker():
    with local_cluster(1) as client:
        yield client


@pytest.fixture(scope="module")
def three_workers():
    with local_cluster(3) as client:
        yield client


def built(vectors, runner, progress=None):
    def part(low, high):
        return None if progress is None else lambda share, message: progress(low + (high - low) * share, message)

    neighbours = find_neighbours(vectors, 16, runner, part(0.0, 0.9))
    return build_hierarchy(vectors, 3, neighbours, runner, part(0.9, 1.0))


@pytest.fixture(scope="module")
def expected(vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours_module, "TILE_WIDTH", 32)
        return built(vectors, ThreadRunner(2))


def assert_same(found, expected):
    ours, theirs = found.to_arrays(), expected.to_arrays()
    for name in theirs:
        if name != "pairs_examined":
            assert ours[name].dtype == theirs[name].dtype, name
            assert np.array_equal(ours[name], theirs[name]), name
    for params in (ExtractionParams(3, 0.35, "eom"), ExtractionParams(2, 0.9, "leaf")):
        a, b = extract(found, params), extract(expected, params)
        assert np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.strength, b.strength)


@pytest.mark.parametrize(("shards", "blas_threads"), [(1, 1), (4, 2), (8, 1)])
def test_one_worker_finds_the_same_whatever_the_shards(one_worker, vectors, expected, tmp_path, shards, blas_threads):
    found = built(vectors, DaskRunner(one_worker, tmp_path, shards, blas_threads=blas_threads))
    assert_same(found, expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shards", "blas_threads"), [(1, 2), (4, 1), (8, 2), (None, 1)])
def test_three_workers_find_the_same(three_workers, vectors, expected, tmp_path, shards, blas_threads):
    assert_same(built(vectors, DaskRunner(three_workers, tmp_path, shards, blas_threads=blas_threads)), expected)


@pytest.mark.parametrize("kernels", [("Haswell", "Haswell"), ("SKYLAKEX",), ("Haswell", "SKYLAKEX")])
def test_workers_with_any_kernels_of_blas_find_the_same(vectors, expected, tmp_path, kernels):
    if "SKYLAKEX" in kernels and not HAS_AVX512:
        pytest.skip("this processor has no AVX-512, which SKYLAKEX kernels need")

    def kernel_and_products(rows):
        from threadpoolctl import threadpool_info

        products = rows[:500] @ rows[500:].T
        return {pool["architecture"] for pool in threadpool_info() if pool["user_api"] == "blas"}, hash(
            products.tobytes()
        )

    with local_cluster(0) as client, workers_of(client, *kernels):
        seen = client.run(kernel_and_products, vectors[:1000]).values()
        assert {name.upper() for names, _ in seen for name in names} == {kernel.upper() for kernel in kernels}
        assert len({products for _, products in seen}) == len(set(kernels))  # they do differ in their last bits
        for shards in (4, 8):
            assert_same(built(vectors, DaskRunner(client, tmp_path, shards)), expected)


@pytest.mark.parametrize("stage", ["Comparing faces", "Proving the tree"])
def test_a_worker_killed_in_a_pass_changes_nothing(three_workers, vectors, expected, tmp_path, stage):
    victim, pid = next(iter(three_workers.run(os.getpid).items()))
    steps = []

    def kill(share, message):
        """Stops the victim when the pass is seen to run, and kills it when it has parts, to be done or just done."""
        if message != stage or len(steps) == 2:
            return
        assigned = three_workers.processing()
        if not steps and any(assigned.values()):
            os.kill(pid, signal.SIGSTOP)
            steps.append("stopped")
        elif steps and (assigned.get(victim) or three_workers.has_what().get(victim)):
            os.kill(pid, signal.SIGKILL)
            steps.append("killed")

    found = built(vectors, DaskRunner(three_workers, tmp_path, 8), kill)
    assert steps == ["stopped", "killed"]
    assert_same(found, expected)
    three_workers.wait_for_workers(3, timeout=120)


@pytest.mark.parametrize("blas_threads", [2, 1])
def test_products_of_a_task_have_the_threads_they_are_given(one_worker, tmp_path, blas_threads):
    def threads_of_blas(inputs, item, product):
        import numpy as np
        from threadpoolctl import threadpool_info

        return (np.array([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]),)

    pieces = DaskRunner(one_worker, tmp_path, 1, blas_threads=blas_threads).carry_out(work_of(threads_of_blas, 3))
    for _, found in pieces:
        assert set(found[1].tolist()) == {blas_threads}


def test_tasks_carry_ranges_and_never_arrays(one_worker, vectors, tmp_path, monkeypatch):
    sizes = []
    submit = one_worker.submit

    def measured(function, *args, **options):
        sizes.append(len(pickle.dumps((function, args, options))))
        return submit(function, *args, **options)

    monkeypatch.setattr(one_worker, "submit", measured)
    built(vectors, DaskRunner(one_worker, tmp_path, 4))
    assert len(sizes) > 10
    assert max(sizes) < 2_000


def test_an_object_store_serves_as_the_shared_folder(vectors, expected):
    # Workers are threads here: fsspec's store in memory belongs to one process.
    with (
        threadpool_limits(2),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        assert_same(built(vectors, DaskRunner(client, "memory://faces", 4)), expected)
    assert fsspec.filesystem("memory").ls("/faces") == []


# --- what goes wrong -------------------------------------------------------------------------------------------------


def work_of(part, n_items):
    items = [(x, x + 1) for x in range(n_items)]
    there = Elsewhere(part, dict, dict, n_items, lambda _: [items], lambda item, found: (np.array(item), *found))
    return Work("try", lambda item: (), [items], there)


def test_cancelling_drops_the_parts_that_have_not_begun(one_worker, tmp_path):
    def slow(inputs, item, product):
        import time

        time.sleep(0.1)
        return ()

    pieces = DaskRunner(one_worker, tmp_path, 1).carry_out(work_of(slow, 100))
    assert next(pieces)[0] == 0.01
    start = time.monotonic()
    pieces.close()
    assert time.monotonic() - start < 6
    assert list(tmp_path.iterdir()) == []
    while any(one_worker.processing().values()):
        assert time.monotonic() - start < 10
        time.sleep(0.05)


def test_a_search_can_be_cancelled_while_parts_take_long(one_worker, tmp_path):
    def slow(inputs, item, product):
        import time

        time.sleep(2)
        return ()

    signs = DaskRunner(one_worker, tmp_path, 1).carry_out(work_of(slow, 3))
    start = time.monotonic()
    assert next(signs) == (0.0, ())
    assert time.monotonic() - start < 1.5
    signs.close()


def test_a_cancelled_build_leaves_no_file(one_worker, vectors, tmp_path):
    def cancel(share, message):
        if message == "Comparing faces" and share > 0.2:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError, match="stopped"):
        built(vectors, DaskRunner(one_worker, tmp_path, 4), cancel)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_part_comes_out_unchanged(one_worker, tmp_path):
    def wrong(inputs, item, product):
        raise ZeroDivisionError("part of the work")

    with pytest.raises(ZeroDivisionError, match="part of the work"):
        list(DaskRunner(one_worker, tmp_path, 1).carry_out(work_of(wrong, 3)))


def test_a_part_that_kills_every_worker_is_given_up(one_worker, tmp_path):
    def deadly(inputs, item, product):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkersError, match=r"died again and again.*nothing was changed"):
        list(DaskRunner(one_worker, tmp_path, 1).carry_out(work_of(deadly, 1)))
    assert list(tmp_path.iterdir()) == []
    one_worker.wait_for_workers(1, timeout=120)


# A client that never found its scheduler complains once more when it is collected.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Client:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "nonsense://host:1"])
def test_a_scheduler_that_does_not_answer_is_named(vectors, tmp_path, address, monkeypatch):
    monkeypatch.setattr("facecluster.distributed._ANSWER_S", 0.5)
    with pytest.raises(ConfigError, match=rf"No Dask scheduler answers at '{address}'.*Nothing was computed"):
        find_neighbours(vectors[:100], 4, DaskRunner(address, tmp_path))
    gc.collect()


def test_a_scheduler_without_a_shared_folder_is_refused(vectors):
    with pytest.raises(ConfigError, match="Set FACECLUSTER_SHARED_FOLDER"):
        find_neighbours(vectors[:100], 4, DaskRunner("tcp://127.0.0.1:9", ""))


def test_without_the_package_the_settings_say_what_to_install(vectors, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"distributed is not installed.*requirements-cluster\.txt"):
        find_neighbours(vectors[:100], 4, DaskRunner("tcp://127.0.0.1:9", tmp_path))


def test_a_folder_that_workers_do_not_see_is_named(one_worker, vectors):
    # Each process has a store in memory of its own.
    with pytest.raises(ConfigError, match=r"does not see the folder memory://here.*FACECLUSTER_SHARED_FOLDER"):
        find_neighbours(vectors[:100], 4, DaskRunner(one_worker, "memory://here"))


def test_a_folder_that_cannot_be_written_is_named(one_worker, vectors, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkersError, match="could not be written or read"):
        find_neighbours(vectors[:100], 4, DaskRunner(one_worker, tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be used as a shared folder"):
        find_neighbours(vectors[:100], 4, DaskRunner(one_worker, "nonsense://bucket"))


def test_a_worker_of_another_version_is_named(one_worker, vectors, tmp_path, monkeypatch):
    monkeypatch.setattr("facecluster.distributed.__version__", "0.0.0")
    with pytest.raises(ConfigError, match=r"has facecluster .*, not 0\.0\.0"):
        find_neighbours(vectors[:100], 4, DaskRunner(one_worker, tmp_path))


def test_a_scheduler_without_workers_is_named(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr("facecluster.distributed._ANSWER_S", 0.5)
    with local_cluster(0) as client, pytest.raises(WorkersError, match=r"has no worker.*dask worker"):
        find_neighbours(vectors[:100], 4, DaskRunner(client, tmp_path))


def test_a_cluster_that_lost_all_its_workers_is_given_up(tmp_path, monkeypatch):
    def slow(inputs, item, product):
        import time

        time.sleep(30)

    monkeypatch.setattr("facecluster.distributed._PATIENCE_S", 0.7)
    with local_cluster(0) as client, workers_of(client, "Haswell") as workers:
        pieces = DaskRunner(client, tmp_path, 1).carry_out(work_of(slow, 3))
        next(pieces)
        workers[0].kill()
        with pytest.raises(WorkersError, match="has had no worker for"):
            list(pieces)


def test_a_scheduler_that_goes_away_is_named(tmp_path):
    def slow(inputs, item, product):
        import time

        time.sleep(3)

    quickly = {"distributed.comm.timeouts.connect": "1s"}  # that is how long a client tries to find it again
    with dask.config.set(quickly), local_cluster(0) as client, workers_of(client, "Haswell"):
        pieces = DaskRunner(client, tmp_path, 1).carry_out(work_of(slow, 3))
        next(pieces)
        client.cluster.sync(client.cluster.scheduler.close)
        with pytest.raises(WorkersError, match="was lost"):
            list(pieces)


# --- the command line ------------------------------------------------------------------------------------------------


def test_recluster_computes_on_a_scheduler(one_worker, tmp_path, monkeypatch):
    faces = synthetic_faces(300, seed=2, style="crowd").vectors
    np.savez(tmp_path / "faces.npz", ids=[f"f{x:03}" for x in range(len(faces))], vectors=faces)
    address = one_worker.scheduler.address
    plans = []
    for name, flags in (("here", ()), ("there", ("--scheduler", address, "--shared-folder", str(tmp_path / "shared")))):
        command = ["--library", str(tmp_path / name)]
        assert CliRunner().invoke(cli, [*command, "import", str(tmp_path / "faces.npz")]).exit_code == 0
        result = CliRunner().invoke(cli, [*command, "recluster", "--json", *flags], catch_exceptions=False)
        plans.append(re.sub(r'"cluster_id": "[^"]+"', "", result.stdout))
    assert plans[0] == plans[1]
    assert (tmp_path / "shared").is_dir()


def test_both_lists_of_requirements_name_the_same_version():
    root = Path(__file__).resolve().parent.parent
    named = [
        re.findall(r"^distributed==.*", (root / name).read_text("utf-8"), re.MULTILINE)
        for name in ("requirements-dev.txt", "requirements-cluster.txt")
    ]
    assert named[0] == named[1] == [f"distributed=={distributed.__version__}"]
