"""What the way over a Dask cluster costs: local clusters of one and two workers, beside as many threads.

`python -m benchmarks.cluster [--faces N ...] [--json FILE]`

Needs `distributed` (requirements-cluster.txt). Workers are processes of this machine and the shared folder is a local
one, so this measures files, tasks and merging, not a network. The best of three builds counts, made in turn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.engine import MIN_SAMPLES, K, faces, kernels
from benchmarks.report import Row, against, in_own_process, show, write
from facecluster.clustering import ThreadRunner, build_hierarchy, find_neighbours
from facecluster.clustering.tiles import Found, Work
from facecluster.distributed import DaskRunner

TURNS = 3
_LARGE = 50_000


class Weighed(DaskRunner):
    """Counts what comes back, and the seconds of merging it."""

    bytes_back = 0
    merging = 0.0

    def carry_out(self, work: Work) -> Generator[tuple[float, Found]]:
        """As the runner does, with every merge weighed."""
        if work.elsewhere is None:
            return super().carry_out(work)
        there = work.elsewhere

        def merge(item: tuple[int, ...], found: Found) -> Found:
            self.bytes_back += sum(array.nbytes for array in found)
            start = time.perf_counter()
            merged = there.merge(item, found)
            self.merging += time.perf_counter() - start
            return merged

        return super().carry_out(replace(work, elsewhere=replace(there, merge=merge)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=[20_000, 50_000], help="faces to build from")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as well")
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(_SIDES[args.side](*args.arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = show(row for n in args.faces for row in measured(n, Path(folder)))
    if args.json:
        write(args.json, rows)


def measured(n: int, folder: Path) -> Iterator[Row]:
    """Every row of one number of faces."""
    path = faces(n, folder)
    for workers in (1, 2):
        found = in_own_process("cluster", "build", path, workers, environment=kernels())
        name = f"hierarchy of {n:,} faces, {workers} Dask worker{'s' if workers > 1 else ''}"
        peer = f"s on {workers} thread{'s' if workers > 1 else ''}"
        # A second of work is not worth sending out: no goal there.
        yield against(name, found["seconds"], "s", peer, found["on_threads"], 1.25 if n >= _LARGE else None)
        yield Row("  arrays that differ", found["differ"], "", goal="0", met=found["differ"] == 0)
        yield Row("  pairs compared by a worker", found["pairs_per_second"] / workers / 1e6, "M/s")
        yield Row("  sent back by all tasks", found["bytes_back"] / 1e6, "MB")
        yield Row("  of the time in which results are merged", found["merging"], "s")


def _build(path: str, n_workers: str) -> dict:
    import distributed

    vectors = np.load(path)
    workers = int(n_workers)
    n = len(vectors)
    with (
        distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        seconds: dict[str, list[float]] = {"there": [], "here": [], "lists": []}
        for turn in range(TURNS + 1):
            runner = Weighed(client, folder)
            some = vectors if turn else vectors[:3_000]  # the first compiles, and wakes the workers
            start = time.perf_counter()
            lists = find_neighbours(some, K, runner)
            seconds["lists"].append(time.perf_counter() - start)
            there = build_hierarchy(some, MIN_SAMPLES, lists, runner)
            seconds["there"].append(time.perf_counter() - start)
            start = time.perf_counter()
            here = build_hierarchy(some, MIN_SAMPLES, runner=ThreadRunner(workers))
            seconds["here"].append(time.perf_counter() - start)
    a, b = there.to_arrays(), here.to_arrays()
    best = {name: min(times[1:]) for name, times in seconds.items()}
    return {
        "seconds": best["there"],
        "on_threads": best["here"],
        "pairs_per_second": n * (n - 1) / 2 / best["lists"],
        "differ": sum(not np.array_equal(a[name], b[name]) for name in a if name != "pairs_examined"),
        "bytes_back": runner.bytes_back,
        "merging": runner.merging,
    }


_SIDES = {"build": _build}

if __name__ == "__main__":
    main()
