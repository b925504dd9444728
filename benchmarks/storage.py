"""Import and load of 100,000 faces in the embedded library: `python -m benchmarks.storage [FACES]`.

The peer is numpy itself in the same run: what `np.save` and `np.load` need for the same vectors, the least that
writing and reading them can cost. Each side runs in its own process; the file system's cache is warm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIDES = ("numpy save", "import", "numpy load", "load")


def make(folder: Path, n: int) -> None:
    """The faces, as a user would bring them."""
    import numpy as np

    from facecluster.demo import synthetic_faces

    faces = synthetic_faces(n, seed=0)
    ids = np.array([f"face-{i:07}" for i in range(n)])
    np.savez(folder / "faces.npz", ids=ids, vectors=faces.vectors, photo=faces.photo)


def side(name: str, folder: Path) -> dict[str, float]:
    """Seconds of one side, in this process."""
    import numpy as np

    from facecluster.config import load_settings
    from facecluster.wiring import open_service

    if name == "numpy save":
        vectors = np.load(folder / "faces.npz")["vectors"]
        start = perf_counter()
        np.save(folder / "plain.npy", vectors)
        with (folder / "plain.npy").open("rb") as file:
            os.fsync(file.fileno())
    elif name == "numpy load":
        start = perf_counter()
        np.load(folder / "plain.npy").sum()
    else:
        service = open_service(load_settings(library=folder / "library"))
        start = perf_counter()
        if name == "import":
            service.import_files([folder / "faces.npz"])
        else:
            service.view().faces.vectors.sum()
    return {"seconds": perf_counter() - start}


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, n)
        print(f"{n:,} faces x 512, {os.cpu_count()} cores, numpy {__import__('numpy').__version__}")
        found = {}
        for what in SIDES:
            command = [sys.executable, __file__, "--side", what, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[what] = json.loads(done.stdout)["seconds"]
            print(f"{what:12} {found[what]:7.2f} s")
        print(f"import is {found['import'] / found['numpy save']:.1f} times np.save of the vectors alone")
        print(f"load is {found['load'] / found['numpy load']:.1f} times np.load of the vectors alone")


if __name__ == "__main__":
    if "--side" in sys.argv:
        print(json.dumps(side(sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
