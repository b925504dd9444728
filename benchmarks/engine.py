"""How long the exact hierarchy takes, beside hdbscan; how long extraction takes at 50,000 faces."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
EXTRACTIONS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 10_000], help="faces to build from")
    parser.add_argument("--extract-size", type=int, default=50_000, help="faces to extract from")
    parser.add_argument("--side", choices=["facecluster", "hdbscan", "extract"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(_SIDES[args.side](args.sizes[0])))
        return
    print(_machine())
    print(f"\n{'faces':>8} {'facecluster':>12} {'hdbscan':>9} {'ratio':>6}   sorted tree weights differ by")
    for n in args.sizes:
        ours, theirs = _in_own_process("facecluster", n), _in_own_process("hdbscan", n)
        apart = np.abs(np.array(ours["weights"]) - np.array(theirs["weights"])).max()
        ratio = theirs["seconds"] / ours["seconds"]
        print(f"{n:>8,} {ours['seconds']:>10.2f} s {theirs['seconds']:>7.1f} s {ratio:>6.1f}   {apart:.1e}")
    found = _in_own_process("extract", args.extract_size)
    print(f"\nextract at {args.extract_size:,} faces (build: {found['build']:.1f} s), {EXTRACTIONS} values of epsilon")
    for method, (p50, p95, changes) in found["milliseconds"].items():
        print(f"  {method:>5}: p50 {p50:5.1f} ms   p95 {p95:5.1f} ms   epsilon_changes {changes:5.1f} ms")


def _in_own_process(side: str, n: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.engine", "--side", side, "--sizes", str(n)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout)


def _vectors(n: int) -> np.ndarray:
    from facecluster.demo import synthetic_faces

    return synthetic_faces(n, seed=0, style="crowd").vectors


def _facecluster(n: int) -> dict:
    from facecluster.clustering import build_hierarchy

    build_hierarchy(_vectors(3_000), min_samples=3)  # compiled once per installation, read from its cache later
    vectors = _vectors(n)
    start = time.perf_counter()
    h = build_hierarchy(vectors, min_samples=3)
    return {"seconds": time.perf_counter() - start, "weights": h.mst.weight.tolist()}


def _hdbscan(n: int) -> dict:
    import hdbscan

    vectors = _vectors(n)
    start = time.perf_counter()
    found = hdbscan.HDBSCAN(min_cluster_size=3, min_samples=3, cluster_selection_epsilon=0.35).fit(vectors)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "weights": found.single_linkage_tree_.to_numpy()[:, 2].tolist()}


def _extract(n: int) -> dict:
    from facecluster.clustering import ExtractionParams, build_hierarchy, epsilon_changes, extract

    start = time.perf_counter()
    h = build_hierarchy(_vectors(n), min_samples=3)
    build = time.perf_counter() - start
    found = {}
    for method in ("eom", "leaf", "cut"):
        extract(h, ExtractionParams(3, 0.35, method))
        times = [
            _milliseconds(extract, h, ExtractionParams(3, float(epsilon), method))
            for epsilon in np.linspace(0, 1.3, EXTRACTIONS)
        ]
        params = ExtractionParams(3, 0.35, method)
        epsilon_changes(h, params)
        found[method] = (*np.percentile(times, [50, 95]), _milliseconds(epsilon_changes, h, params))
    return {"build": build, "milliseconds": found}


def _milliseconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return 1_000 * (time.perf_counter() - start)


def _machine() -> str:
    packages = ("numpy", "numba", "hdbscan", "scikit-learn")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {versions}"


_SIDES = {"facecluster": _facecluster, "hdbscan": _hdbscan, "extract": _extract}

if __name__ == "__main__":
    main()
