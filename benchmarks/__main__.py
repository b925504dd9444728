"""Every figure in one table: `python -m benchmarks [--without NAME ...]`; a JSON copy lies in `benchmarks/results/`.

About an hour on two cores with nothing else busy. One part alone: `python -m benchmarks.NAME --help`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import ROOT, Row, machine, write

# The options with which each part fills the table; accuracy and the map of real faces need FACECLUSTER_REAL_FACES.
PARTS: dict[str, list[str]] = {
    "engine": [],
    "extraction": [],
    "projection": [],
    "resume": [],
    "cluster": [],
    "accuracy": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="parts to measure")
    args = parser.parse_args()
    print(machine(), flush=True)
    for part in args.only:
        start = time.monotonic()
        print(f"\n== {part}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "rows.json"
            command = [sys.executable, "-m", f"benchmarks.{part}", *PARTS[part], "--json", str(target)]
            subprocess.run(command, check=True, cwd=ROOT)
            rows = [Row(**row) for row in _rows(target)]
        write(ROOT / "benchmarks" / "results" / f"{part}.json", rows)
        print(f"   {time.monotonic() - start:.0f} s", flush=True)


def _rows(path: Path) -> list[dict]:
    found = json.loads(path.read_text("utf-8"))
    return found["rows"] if isinstance(found, dict) else found


if __name__ == "__main__":
    main()
