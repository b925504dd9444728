"""How long the map takes beside umap-learn, how much memory, and how well it keeps who is near whom.

`python -m benchmarks.projection [--sizes N ...] [--click-sizes N ...] [--real FILE] [--same-lists] [--json FILE]`
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
K = 15  # neighbours, for the quality as for the map
SAMPLE = 3_000
# What maps of the same faces with other seeds differ by, about: a difference below says nothing.
NOISE = 0.01
MOST_RATIO, MOST_GB = 0.6, 3.0

# What is measured of a map, and whether it is a goal to be no worse than umap-learn in it.
QUALITY = {
    "trustworthiness": True,
    "nearest 15 kept": True,
    "nearest are the same person": True,
    f"trustworthiness within {SAMPLE:,} faces": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[6_182, 100_000], help="faces of a synthetic crowd")
    parser.add_argument("--click-sizes", type=int, nargs="*", default=[1_200, 6_182], help="faces of a whole job")
    parser.add_argument("--real", type=Path, help=".npz of real faces with vectors and labels, as a further size")
    parser.add_argument("--same-lists", action="store_true", help="umap-learn on our neighbours as well, printed only")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(_SIDES[args.side](args.folder)))
        return
    print(_machine())
    rows: list[dict] = []
    for given in (args.real, *args.sizes):
        if given is not None:
            rows += _compared(given, args.same_lists)
    for n in args.click_sizes:
        rows += _clicked(n)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def _compared(given: int | Path, same_lists: bool) -> list[dict]:
    """Both sides on the same faces, one after the other, each in its own process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n = _write_faces(given, folder)
        search = _in_own_process("neighbours", folder)
        ours = _in_own_process("facecluster", folder)
        theirs = _in_own_process("umap-learn", folder)
        third = _in_own_process("umap-learn on our lists", folder) if same_lists else None
        faces = f"{n:,} {'real' if isinstance(given, Path) else 'synthetic'} faces"
        ratio = ours["seconds"] / theirs["seconds"]
        with_search = ours["seconds"] + search["seconds"]
        speed, memory = f"<= {MOST_RATIO} x peer", f"< {MOST_GB} GB"
        seconds, peak = (ours["seconds"], "s", theirs["seconds"]), (ours["peak"], "GB", theirs["peak"])
        rows = [
            _row(f"map of {faces}, neighbours known", *seconds, speed, ratio <= MOST_RATIO),
            _row(f"map of {faces}, with the exact neighbour search", with_search, *seconds[1:], None, None),
            _row(f"map of {faces}, peak memory", *peak, memory, ours["peak"] < MOST_GB),
        ]
        for measure, is_goal in QUALITY.items():
            a, b = (side["quality"].get(measure) for side in (ours, theirs))
            if a is not None:
                goal = f">= peer - {NOISE}" if is_goal else None
                rows.append(
                    _row(f"map of {faces}, {measure}", a, "share", b, goal, a >= b - NOISE if is_goal else None)
                )
        print(f"\n{faces}, {ours['epochs']} epochs each")
        _print(rows)
        if third:
            found = ", ".join(f"{measure} {value:.3f}" for measure, value in third["quality"].items())
            print(f"  umap-learn on our neighbours: {third['seconds']:.1f} s, {found}")
    return rows


def _clicked(n: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        found = _in_own_process("job", Path(name), str(n))
    rows = [_row(f"map of {n:,} synthetic faces, from click to saved", found["seconds"], "s", None, None, None)]
    print(f"\n{n:,} faces, the whole job: a worker starts, draws and saves; neighbours known")
    _print(rows)
    return rows


def _row(row: str, figure: float, unit: str, peer: float | None, goal: str | None, met: bool | None) -> dict:
    return {
        "row": row,
        "figure": round(figure, 4),
        "unit": unit,
        "peer": "umap-learn" if peer is not None else None,
        "peer_figure": round(peer, 4) if peer is not None else None,
        "ratio": round(figure / peer, 4) if peer else None,
        "goal": goal,
        "met": met,
    }


def _print(rows: list[dict]) -> None:
    for row in rows:
        peer = "" if row["peer"] is None else f"   umap-learn {row['peer_figure']:8.3f}   ratio {row['ratio']:.2f}"
        met = "" if row["met"] is None else f"   {row['goal']}: {'met' if row['met'] else 'NOT MET'}"
        print(f"  {row['row']:72} {row['figure']:8.3f} {row['unit']:5}{peer}{met}", flush=True)


def _write_faces(given: int | Path, folder: Path) -> int:
    if isinstance(given, Path):
        with np.load(given, allow_pickle=False) as file:
            vectors, person = file["vectors"], file["labels"]
    else:
        from facecluster.demo import synthetic_faces

        faces = synthetic_faces(given, seed=0, style="crowd")
        vectors, person = faces.vectors, faces.person
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "person.npy", person)
    return len(vectors)


def _in_own_process(side: str, folder: Path, argument: str = "") -> dict:
    if argument:
        (folder / "argument").write_text(argument, "utf-8")
    command = [sys.executable, "-m", "benchmarks.projection", "--side", side, "--folder", str(folder)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout)
    if (folder / "places.npy").exists():
        # Judged in a process of its own, so that it counts for nobody's memory.
        judge = [*command[:4], "judge", *command[5:]]
        found["quality"] = json.loads(
            subprocess.run(judge, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
        )
        (folder / "places.npy").unlink()
    return found


def _neighbours(folder: Path) -> dict:
    from facecluster.clustering import find_neighbours

    find_neighbours(_few(), k=16)  # compiled once per installation, read from its cache later
    vectors = np.load(folder / "vectors.npy")
    start = time.perf_counter()
    knn = find_neighbours(vectors, k=16).knn
    seconds = time.perf_counter() - start
    np.savez(folder / "lists.npz", indices=knn.indices, distances=knn.distances)
    return {"seconds": seconds}


def _facecluster(folder: Path) -> dict:
    from facecluster.projection import epochs, project

    few = _few()
    project(few, *_ring(len(few)))  # compiled once per installation, as above
    vectors = np.load(folder / "vectors.npy")
    with np.load(folder / "lists.npz") as lists:
        indices, distances = lists["indices"], lists["distances"]
    start = time.perf_counter()
    places = project(vectors, indices, distances)
    seconds = time.perf_counter() - start
    np.save(folder / "places.npy", places)
    return {"seconds": seconds, "peak": _peak(), "epochs": epochs(len(vectors))}


def _umap_learn(folder: Path, **how: object) -> dict:
    warnings.simplefilter("ignore")
    import umap

    from facecluster.projection import MIN_DIST, epochs

    # What it compiles is part of its time: it compiles in every process.
    vectors = np.load(folder / "vectors.npy")
    start = time.perf_counter()
    places = umap.UMAP(
        n_neighbors=K, min_dist=MIN_DIST, random_state=0, n_epochs=epochs(len(vectors)), **how
    ).fit_transform(vectors)
    seconds = time.perf_counter() - start
    np.save(folder / "places.npy", places)
    return {"seconds": seconds, "peak": _peak()}


def _umap_on_our_lists(folder: Path) -> dict:
    with np.load(folder / "lists.npz") as lists:
        indices, distances = lists["indices"][:, : K - 1], lists["distances"][:, : K - 1]
    own = np.arange(len(indices), dtype=np.int32)[:, None]
    near = np.hstack([own, indices]).astype(np.int32)
    far = np.hstack([np.zeros((len(own), 1)), distances]).astype(np.float32)
    return _umap_learn(folder, precomputed_knn=(near, far, None), force_approximation_algorithm=True)


def _job(folder: Path) -> dict:
    """What a curator waits for at the first look at the map, but for the browser."""
    from facecluster.config import load_settings
    from facecluster.demo import synthetic_faces
    from facecluster.wiring import open_jobs, open_service

    n = int((folder / "argument").read_text("utf-8"))
    faces = synthetic_faces(n, seed=0, style="crowd")
    ids = np.array([f"face-{i:07}" for i in range(n)])
    np.savez(folder / "faces.npz", ids=ids, vectors=faces.vectors, photo=faces.photo)
    settings = load_settings(library=folder / "library")
    service = open_service(settings)
    service.import_files([folder / "faces.npz"])
    service.publish(service.plan(service.defaults))
    jobs = open_jobs(settings)
    start = time.perf_counter()
    job = jobs.start("map")
    while jobs.state(job).status == "running":
        time.sleep(0.01)
    if jobs.state(job).status != "done":
        raise RuntimeError(jobs.state(job).message)
    return {"seconds": time.perf_counter() - start}


def _judge(folder: Path) -> dict:
    """How well a map keeps who is near whom; each in [0, 1], more is better."""
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    vectors, person = np.load(folder / "vectors.npy"), np.load(folder / "person.npy")
    places = np.load(folder / "places.npy")
    with np.load(folder / "lists.npz") as lists:
        near = lists["indices"][:, :K]
    n = len(vectors)
    some = np.random.default_rng(0).choice(n, min(SAMPLE, n), replace=False)
    found = NearestNeighbors(n_neighbors=K + 1).fit(places).kneighbors(places[some], return_distance=False)
    on_map = np.array([near_it[near_it != row][:K] for row, near_it in zip(some, found, strict=True)])
    photos = np.bincount(person)[person[some]]
    known = photos > K  # otherwise others must be among the nearest
    return {
        "trustworthiness": _trustworthiness(vectors, some, on_map),
        "nearest 15 kept": float(
            np.mean([np.isin(near[row], by).mean() for row, by in zip(some, on_map, strict=True)])
        ),
        **(
            {"nearest are the same person": float((person[on_map[known]] == person[some[known], None]).mean())}
            if known.any()
            else {}
        ),
        f"trustworthiness within {SAMPLE:,} faces": float(trustworthiness(vectors[some], places[some], n_neighbors=K)),
    }


def _trustworthiness(vectors: np.ndarray, some: np.ndarray, on_map: np.ndarray) -> float:
    """As in scikit-learn, for some faces, each ranked among all.

    scikit-learn needs all pairs, so at 100,000 faces it can only be given a sample. There a face's neighbours are
    missing, and what is measured is how strangers lie to each other: the figure that is printed last.
    """
    n, beyond = len(vectors), 0
    for start in range(0, len(some), 256):
        rows = some[start : start + 256]
        products = vectors[rows] @ vectors.T
        products[np.arange(len(rows)), rows] = -np.inf
        for product, by in zip(products, on_map[start : start + 256], strict=True):
            ranks = len(product) - np.searchsorted(np.sort(product), product[by], side="right") + 1
            beyond += int(np.maximum(ranks - K, 0).sum())
    return 1.0 - beyond * 2.0 / (len(some) * K * (2.0 * n - 3.0 * K - 1.0))


def _few() -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _ring(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbour lists that only serve to compile."""
    return ((np.arange(n)[:, None] + np.arange(1, K + 1)) % n).astype(np.int32), np.ones((n, K))


def _peak() -> float:
    """Most resident memory of this process so far, GB (Linux counts KiB, macOS bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def _machine() -> str:
    packages = ("numpy", "numba", "umap-learn", "pynndescent", "scikit-learn")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {versions}"


_SIDES = {
    "neighbours": _neighbours,
    "facecluster": _facecluster,
    "umap-learn": _umap_learn,
    "umap-learn on our lists": _umap_on_our_lists,
    "judge": _judge,
    "job": _job,
}

if __name__ == "__main__":
    main()
