"""Every figure in one table: `python -m benchmarks [--only NAME ...]`; a JSON copy lies in `benchmarks/results/`.

About an hour on two cores with nothing else busy. One part alone: `python -m benchmarks.NAME --help`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import ROOT, Row, machine, write

PARTS = (
    "engine",
    "extraction",
    "projection",
    "resume",
    "cluster",
    "accuracy",
    "hosted",
    "finding",
    "screens",
    "screens_map",
    "screens_tune",
)
RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to measure")
    parser.add_argument("--table", action="store_true", help="measure nothing: the saved results as a Markdown table")
    args = parser.parse_args()
    if args.table:
        print("\n".join(table()))
        return
    print(machine(), flush=True)
    for part in args.only:
        start = time.monotonic()
        print(f"\n== {part}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "rows.json"
            subprocess.run([sys.executable, "-m", f"benchmarks.{part}", "--json", str(target)], check=True, cwd=ROOT)
            found = json.loads(target.read_text("utf-8"))
        write(RESULTS / f"{part}.json", [Row(**row) for row in (found["rows"] if isinstance(found, dict) else found)])
        print(f"   {time.monotonic() - start:.0f} s", flush=True)


def table() -> Iterator[str]:
    """The saved results, a line for each row."""
    yield "| what | figure | peer in the same run | ratio | goal | |"
    yield "|---|---|---|---|---|---|"
    for part in PARTS:
        path = RESULTS / f"{part}.json"
        for row in json.loads(path.read_text("utf-8"))["rows"] if path.exists() else ():
            peer = "" if row["peer_figure"] is None else f"{row['peer_figure']:,.4g} {row['peer']}"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
            met = {True: "met", False: "**not met**", None: ""}[row["met"]]
            figure = f"{row['figure']:,.4g} {row['unit']}".strip()
            yield f"| {row['row'].strip()} | {figure} | {peer} | {ratio} | {row['goal'] or ''} | {met} |"


if __name__ == "__main__":
    main()
