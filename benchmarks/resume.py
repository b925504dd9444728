"""What a kill costs a long build: `python -m benchmarks.resume [--size N] [--kills N] [--json FILE]`.

A build runs in a process of its own, is killed with -9 at a random moment and started again, which goes on where it
was. Lost is the processor time of both together beyond that of a build that was left alone, importing and reading not
counted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.engine import MIN_SAMPLES, K, faces, kernels
from benchmarks.report import ROOT, Row, show, write

MOST_LOST = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="faces")
    parser.add_argument("--kills", type=int, default=20, help="builds that are killed, each once")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as well")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        _build(args.folder, args.size)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = show(measured(Path(folder), args.size, args.kills, args.seed))
    if args.json:
        write(args.json, rows)


def measured(folder: Path, n: int = 100_000, kills: int = 20, seed: int = 0) -> Iterator[Row]:
    """The loss of builds that were killed, and whether they came to the same result."""
    faces(n, folder)
    whole = [_run(folder, n) for _ in range(2)]
    seconds = min(one["seconds"] for one in whole)
    cpu = min(one["cpu"] for one in whole)
    rng = np.random.default_rng(seed)
    lost, same = [], 0
    for moment in rng.uniform(0.02, 0.98, kills):
        first = _run(folder, n, moment * seconds)
        second = _run(folder, n)
        lost.append((first["cpu"] + second["cpu"]) / cpu - 1)
        same += second["result"] == whole[0]["result"]
        print(f"  killed at {moment:.0%}: {lost[-1]:+.1%}", file=sys.stderr)
    yield Row(f"build of {n:,} faces left alone", seconds, "s")
    yield Row("killed with -9 at a random moment, the same result", same, f"of {kills}", goal="all", met=same == kills)
    yield Row(
        "  lost on average", 100 * float(np.mean(lost)), "%", goal="at most 2 %", met=bool(np.mean(lost) <= MOST_LOST)
    )
    yield Row("  lost at most", 100 * max(lost), "%")
    apart = abs(whole[1]["cpu"] / whole[0]["cpu"] - 1)
    yield Row("  two builds left alone differ by", 100 * apart, "%")


def _run(folder: Path, n: int, kill_after: float | None = None) -> dict:
    command = [sys.executable, "-m", "benchmarks.resume", "--side", "build", "--size", str(n), str(folder)]
    environment = {**os.environ, **kernels()}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stdout is not None  # noqa: S101
    before = json.loads(process.stdout.readline())
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    found = json.loads(rest) if rest.strip() else {}
    return {**found, "cpu": usage.ru_utime + usage.ru_stime - before["cpu"]}


def _build(folder: Path, n: int) -> None:
    from facecluster.checkpoints import remembering
    from facecluster.clustering import THREADS, build_hierarchy, find_neighbours

    vectors = np.load(folder / f"{n}.npy")
    build_hierarchy(vectors[:3_000], MIN_SAMPLES)
    print(json.dumps({"cpu": time.process_time()}), flush=True)
    start = time.perf_counter()
    # As when a library is clustered, but that the folders stay until both are done.
    with remembering(folder / "lists", THREADS) as runner, remembering(folder / "tree", THREADS) as second:
        neighbours = find_neighbours(vectors, K, runner)
        h = build_hierarchy(vectors, MIN_SAMPLES, neighbours, second)
        seconds = time.perf_counter() - start
    arrays = h.to_arrays()
    result = sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays) if name != "pairs_examined")).hexdigest()
    print(json.dumps({"seconds": seconds, "result": result}), flush=True)


if __name__ == "__main__":
    main()
