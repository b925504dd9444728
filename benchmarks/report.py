"""What the benchmarks share: a row of the table, a side in a process of its own, the machine and its versions."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    "numpy",
    "numba",
    "scipy",
    "faiss-cpu",
    "hdbscan",
    "fast_hdbscan",
    "scikit-learn",
    "umap-learn",
    "infomap",
    "distributed",
    "pinecone",
    "supabase",
)


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, beside what, and whether the goal is met (None: no goal)."""

    row: str
    figure: float
    unit: str
    peer: str = ""
    peer_figure: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


def against(row: str, figure: float, unit: str, peer: str, peer_figure: float, most: float | None = None) -> Row:
    """A row whose goal is a ratio to the peer of at most `most`."""
    ratio = figure / peer_figure
    goal = "" if most is None else f"at most {most:g} times"
    return Row(row, figure, unit, peer, peer_figure, ratio, goal, None if most is None else ratio <= most)


def show(rows: Iterable[Row]) -> list[Row]:
    """Prints the rows as they come."""
    kept = []
    for row in rows:
        kept.append(row)
        peer = "" if row.peer_figure is None else f"{row.peer_figure:10.4g} {row.peer}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f} times"
        met = {True: "met", False: "NOT MET", None: ""}[row.met]
        line = f"{row.row:58} {row.figure:10.4g} {row.unit:5} {peer:36} {ratio:13} {row.goal:20} {met}"
        print(line.rstrip(), flush=True)
    return kept


def write(path: Path, rows: Iterable[Row]) -> None:
    """The rows as JSON, with the machine and the versions they were measured with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n", "utf-8")


def in_own_process(module: str, side: str, *arguments: object, environment: Mapping[str, str] | None = None) -> dict:
    """What `python -m benchmarks.MODULE --side SIDE ARGUMENTS` prints as JSON on its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", "--side", side, *map(str, arguments)]
    plain = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**plain, **(environment or {})}
    )
    return json.loads(done.stdout.splitlines()[-1])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_bytes() -> int:
    """Most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine() -> str:
    """Processor, cores, Python and the versions of what is compared."""
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return f"{_processor()}, {cores()} cores, Python {platform.python_version()}, {', '.join(versions)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def measure(about: str | None, rows: Callable[[int], Iterable[Row]]) -> None:
    """The command line of a benchmark at some number of faces: print its rows, and write them where that is asked."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write the rows there")
    args = parser.parse_args()
    found = show(rows(args.faces))
    if args.json is not None:
        write(args.json, found)
