"""How long the exact hierarchy takes, beside exact neighbours alone by faiss, and beside hdbscan and fast_hdbscan.

`python -m benchmarks.engine [--quick] [--large N] [--json FILE]`

Each side runs in a process of its own, the sides in turn, and the best of its repetitions counts: others on the machine
can only make a run slower. Vectors are a synthetic crowd; making and reading them, importing, and what is compiled once
for an installation are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.report import Row, against, cores, in_own_process, peak_bytes, show, write

K = 16
MIN_SAMPLES = 3
TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 faces beside faiss, and nothing else")
    parser.add_argument("--large", type=int, metavar="N", help="instead, one build of N faces with time, memory, proof")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as well")
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("vectors", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(_SIDES[args.side](*args.vectors)))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = show(large(args.large, Path(folder)) if args.large else measured(Path(folder), args.quick))
    if args.json:
        write(args.json, rows)


def measured(folder: Path, quick: bool = False) -> Iterator[Row]:
    """Every row of the engine."""
    yield from beside_faiss(20_000, folder, 0.75, 0.5)
    if quick:
        return
    yield from beside_faiss(50_000, folder, 0.65, 0.4)
    yield from beside_hdbscan(10_000, folder)
    yield from beside_sgemm(100_000, folder)
    yield from again(50_000, folder)
    yield from on_threads(20_000, folder)


def beside_faiss(n: int, folder: Path, most: float, most_as_installed: float) -> Iterator[Row]:
    """The whole hierarchy, and exact neighbours alone by faiss, with the same kernels and as each installs."""
    path = faces(n, folder)
    ours, same, plain = [], [], []
    for _ in range(TURNS):
        ours.append(in_own_process("engine", "build", path, environment=kernels())["seconds"])
        same.append(in_own_process("engine", "faiss", path, environment=kernels())["seconds"])
    plain.append(in_own_process("engine", "faiss", path)["seconds"])
    name = f"hierarchy of {n:,} faces"
    yield against(f"{name}, the same BLAS kernels", min(ours), "s", "s faiss.knn, k 16", min(same), most)
    yield against(f"{name}, each as installed", min(ours), "s", "s faiss.knn, k 16", min(plain), most_as_installed)


def beside_hdbscan(n: int, folder: Path) -> Iterator[Row]:
    """The whole of hdbscan, whose tree is the same, and of fast_hdbscan, whose tree is approximate at 512 dimensions.

    A process that clusters once pays for what its first call compiles or loads: that is the row with a goal for
    fast_hdbscan, which compiles 20 s in every process. The row below it is a call when all of that is done.
    """
    path = faces(n, folder)
    ours = in_own_process("engine", "build", path, environment=kernels())
    theirs = in_own_process("engine", "hdbscan", path)
    yield against(f"hierarchy of {n:,} faces", ours["seconds"], "s", "s hdbscan", theirs["seconds"], 1 / 150)
    apart = float(np.abs(np.array(ours["weights"]) - np.array(theirs["weights"])).max())
    yield Row("  largest difference of sorted tree weights", apart, "", goal="at most 1e-9", met=apart <= 1e-9)
    first = in_own_process("engine", "first", path, environment=kernels())
    theirs = in_own_process("engine", "fast_hdbscan", path)
    name = f"hierarchy of {n:,} faces"
    yield against(f"{name}, first call of a process", first["seconds"], "s", "s fast_hdbscan", theirs["first"], 1 / 20)
    yield against(f"{name}, later calls", ours["seconds"], "s", "s fast_hdbscan (approximate)", theirs["later"])


def beside_sgemm(n: int, folder: Path) -> Iterator[Row]:
    """The build beside half of all products at the best rate of products there is, and its memory."""
    path = faces(n, folder)
    found = [in_own_process("engine", "build", path, environment=kernels()) for _ in range(2)]
    seconds = min(one["seconds"] for one in found)
    floor = n * n * 512 / max(one["flop_per_second"] for one in found)
    yield against(f"hierarchy of {n:,} faces", seconds, "s", "s n² d FLOP at the sgemm rate", floor, 1.3)
    yield Row("  share of that rate that the whole build reaches", 100 * floor / seconds, "%")
    beyond = max(one["bytes_beyond"] for one in found) / 1e9
    yield Row(f"memory beyond the vectors, {n:,} faces", beyond, "GB", goal="under 1 GB", met=beyond < 1.0)


def again(n: int, folder: Path) -> Iterator[Row]:
    """What is known makes another min_samples, and more faces, cheap."""
    found = in_own_process("engine", "again", faces(n, folder), environment=kernels())
    full = found["full"]
    yield against(f"another min_samples, {n:,} faces", found["other"], "s", "s full build", full, 0.1)
    yield against(f"1 % of {n:,} faces added, the same tree", found["added"], "s", "s full build", full, 0.1)
    yield Row("  arrays of the two hierarchies that differ", found["differ"], "", goal="0", met=found["differ"] == 0)
    yield against(f"1 % of {n:,} faces removed, the same tree", found["removed"], "s", "s full build", full)


def on_threads(n: int, folder: Path) -> Iterator[Row]:
    """One and two threads."""
    path = faces(n, folder)
    one, two = (
        min(in_own_process("engine", "build", path, workers, environment=kernels())["seconds"] for _ in range(2))
        for workers in (1, 2)
    )
    yield against(f"hierarchy of {n:,} faces on 2 threads", two, "s", "s on 1 thread", one)


def large(n: int, folder: Path) -> Iterator[Row]:
    """One build that goes on where it was if it is killed, as a user's worker runs it."""
    found = in_own_process("engine", "large", faces(n, folder), environment=kernels())
    yield Row(f"hierarchy of {n:,} faces", found["seconds"], "s")
    yield Row("  memory held at most beyond the vectors, mapped files included", found["bytes_beyond"] / 1e9, "GB")
    yield Row(
        "  of it bounds", found["bytes_of_bounds"] / 1e9, "GB", goal="under 2 GB", met=found["bytes_of_bounds"] < 2e9
    )
    for name, number in found["certificate"].items():
        yield Row(f"  certificate: {name.replace('_', ' ')}", number, "")


def faces(n: int, folder: Path) -> Path:
    """A crowd of n faces, in a file."""
    path = folder / f"{n}.npy"
    if not path.exists():
        from facecluster.demo import synthetic_faces

        np.save(path, synthetic_faces(n, seed=0, style="crowd").vectors)
    return path


def kernels() -> dict[str, str]:
    """The BLAS kernels that a worker chooses for this processor."""
    from facecluster.jobs import blas_environment

    os.environ.pop("OPENBLAS_CORETYPE", None)  # whoever set it here; a worker leaves such a choice alone
    return blas_environment()


def _build(path: str, workers: str = "") -> dict:
    from facecluster.clustering import ThreadRunner, build_hierarchy

    vectors = np.load(path)
    runner = ThreadRunner(int(workers) if workers else cores())
    build_hierarchy(vectors[:3_000], MIN_SAMPLES, runner=runner)
    before = _held_bytes()
    seconds = []
    for _ in range(1 if len(vectors) > 60_000 else 3):
        start = time.perf_counter()
        h = build_hierarchy(vectors, MIN_SAMPLES, runner=runner)
        seconds.append(time.perf_counter() - start)
    found = {"seconds": min(seconds), "bytes_beyond": peak_bytes() - before}
    if len(vectors) <= 10_000:
        found["weights"] = h.mst.weight.tolist()
    if len(vectors) > 60_000:
        found["flop_per_second"] = _sgemm_rate(vectors)
    return found


def _sgemm_rate(vectors: np.ndarray) -> float:
    """Best of three products of 4,096 x 512 x 4,096 on every core at once, each with one thread, summed."""
    from threadpoolctl import threadpool_limits

    a = np.ascontiguousarray(vectors[:4096])
    outs = [np.empty((4096, 4096), np.float32) for _ in range(cores())]

    def product(out: np.ndarray) -> float:
        start = time.perf_counter()
        np.dot(a, a.T.copy(), out=out)
        return 2 * 4096 * 4096 * a.shape[1] / (time.perf_counter() - start)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(outs)) as pool:
        return max(sum(pool.map(product, outs)) for _ in range(3))


def _faiss(path: str) -> dict:
    import faiss

    vectors = np.load(path)
    faiss.omp_set_num_threads(cores())
    faiss.knn(vectors[:3_000], vectors[:3_000], K, metric=faiss.METRIC_INNER_PRODUCT)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        faiss.knn(vectors, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds)}


def _hdbscan(path: str) -> dict:
    import hdbscan

    vectors = np.load(path)
    start = time.perf_counter()
    found = hdbscan.HDBSCAN(min_cluster_size=3, min_samples=MIN_SAMPLES, cluster_selection_epsilon=0.35).fit(vectors)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "weights": found.single_linkage_tree_.to_numpy()[:, 2].tolist()}


def _fast_hdbscan(path: str) -> dict:
    import fast_hdbscan

    vectors = np.load(path)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        fast_hdbscan.HDBSCAN(min_cluster_size=3, min_samples=MIN_SAMPLES, cluster_selection_epsilon=0.35).fit(vectors)
        seconds.append(time.perf_counter() - start)
    return {"first": seconds[0], "later": min(seconds[1:])}


def _first(path: str) -> dict:
    from facecluster.clustering import build_hierarchy

    vectors = np.load(path)
    start = time.perf_counter()
    build_hierarchy(vectors, MIN_SAMPLES)
    return {"seconds": time.perf_counter() - start}


def _again(path: str) -> dict:
    vectors = np.load(path)
    n = len(vectors)
    new = np.sort(np.random.default_rng(0).choice(n, n // 100, replace=False))
    _again_once(vectors[:3_000], new[new < 3_000])  # compiles
    turns = [_again_once(vectors, new) for _ in range(TURNS)]
    return {name: (max if name == "differ" else min)(turn[name] for turn in turns) for name in turns[0]}


def _again_once(vectors: np.ndarray, new: np.ndarray) -> dict:
    from facecluster.clustering import build_hierarchy, find_neighbours

    n = len(vectors)
    rows = np.setdiff1d(np.arange(n), new)
    old = np.ascontiguousarray(vectors[rows])
    known = find_neighbours(old, K)
    tree = build_hierarchy(old, MIN_SAMPLES, known)
    found = {}
    start = time.perf_counter()
    lists = find_neighbours(vectors, K, known=known, known_rows=rows)
    added = build_hierarchy(vectors, MIN_SAMPLES, lists, known=tree, known_rows=rows)
    found["added"] = time.perf_counter() - start
    start = time.perf_counter()
    lists = find_neighbours(vectors, K)
    full = build_hierarchy(vectors, MIN_SAMPLES, lists)
    found["full"] = time.perf_counter() - start
    start = time.perf_counter()
    build_hierarchy(vectors, MIN_SAMPLES - 1, lists)
    found["other"] = time.perf_counter() - start
    where = np.full(n, -1)
    where[rows] = np.arange(len(rows))
    start = time.perf_counter()
    build_hierarchy(old, MIN_SAMPLES, find_neighbours(old, K, known=lists, known_rows=where))
    found["removed"] = time.perf_counter() - start
    a, b = added.to_arrays(), full.to_arrays()
    found["differ"] = sum(not np.array_equal(a[name], b[name]) for name in a if name != "pairs_examined")
    return found


def _large(path: str) -> dict:
    from dataclasses import asdict

    from facecluster.checkpoints import remembering
    from facecluster.clustering import THREADS, build_hierarchy, find_neighbours

    vectors = np.load(path, mmap_mode="r")
    build_hierarchy(np.asarray(vectors[:3_000]), MIN_SAMPLES)
    start = time.perf_counter()
    before = _held_bytes()
    work = Path(path).parent

    def tell(share: float, message: str) -> None:
        print(f"\r{share:6.1%} {time.perf_counter() - start:8.0f} s  {message:30}", end="", file=sys.stderr)

    with remembering(work / "lists", THREADS) as runner:
        neighbours = find_neighbours(vectors, K, runner, tell)
        with remembering(work / "tree", THREADS) as second:
            h = build_hierarchy(vectors, MIN_SAMPLES, neighbours, second, tell)
            seconds = time.perf_counter() - start
            # The vectors' own file counts as memory too, once it was read.
            beyond = peak_bytes() - before - vectors.nbytes
    return {
        "seconds": seconds,
        "bytes_beyond": beyond,
        "bytes_of_bounds": neighbours.bounds.nbytes,
        "certificate": asdict(h.certificate),
    }


def _held_bytes() -> int:
    """Memory that this process holds now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return peak_bytes()


_SIDES = {
    "build": _build,
    "first": _first,
    "faiss": _faiss,
    "hdbscan": _hdbscan,
    "fast_hdbscan": _fast_hdbscan,
    "again": _again,
    "large": _large,
}

if __name__ == "__main__":
    main()
