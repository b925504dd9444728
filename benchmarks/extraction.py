"""What a move of a slider costs, and the whole map of settings: `python -m benchmarks.extraction [--json FILE]`.

The peer is hdbscan's own extraction (`condense_tree`, `compute_stability`, `get_clusters`; `labelling_at_cut` for the
plain cut) from the same single linkage tree, in the same run and process. Moves change epsilon and minimum size both.

Vectors are made by `synthetic_faces`, up to 100,000 of them. At a million faces no vectors are made: the spanning tree
itself is drawn, with people of a heavy-tailed size, rows in random order, weights within people around 0.85 and between
them around 1.17, as measured on real faces. Extraction sees nothing but such a tree.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facecluster.clustering import (  # noqa: E402
    Certificate,
    ExtractionParams,
    Hierarchy,
    KnnGraph,
    SpanningTree,
    build_hierarchy,
    extract,
    find_neighbours,
)
from facecluster.demo import synthetic_faces  # noqa: E402
from facecluster.service import LIVE_MIN_SAMPLES  # noqa: E402
from facecluster.suggest import Setting, stability_map, suggest  # noqa: E402

METHODS = ("eom", "leaf", "cut")
MOVES = 60
GOALS_MS = {100_000: 15.0, 1_000_000: 200.0}  # 95th percentile of a move
MAP_FACES, MAP_CUTS, MAP_GOAL_S = 50_000, 400, 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(GOALS_MS), help="faces to extract from")
    parser.add_argument("--map-faces", type=int, default=MAP_FACES, help="faces of the map of settings, 0 for none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as well")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for n in args.sizes:
        rows += shown(extraction(n))
    if args.map_faces:
        rows += shown(settings_map(args.map_faces))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def shown(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for row in rows:
        goal = "" if row["goal"] is None else f"   goal {row['goal']:g} {'met' if row['met'] else 'MISSED'}"
        peer = "" if row["peer"] is None else f"   {row['peer']} {row['peer_figure']:,.1f} ({row['ratio']:,.0f} x)"
        print(f"{row['row']}: {row['figure']:,.2f} {row['unit']}{peer}{goal}", flush=True)
        yield row


def extraction(n: int) -> Iterable[dict[str, Any]]:
    h = built(n) if n <= 100_000 else drawn(n)
    of = "built from vectors" if n <= 100_000 else "a drawn spanning tree"
    linkage = h.single_linkage.as_linkage_matrix()
    # Up and down both sliders, at epsilons where the people change and where they do not.
    rng = np.random.default_rng(0)
    moves = [(int(rng.integers(2, 21)), float(rng.choice([0.35, rng.uniform(0.9, 1.25)]))) for _ in range(MOVES)]
    for method in METHODS:
        ours = times(lambda size, epsilon, m=method: extract(h, ExtractionParams(size, epsilon, m)), moves)
        theirs = times(peer_of(linkage, method), moves[: 4 if n > 200_000 else 12])
        name = f"{n:,} faces ({of}), {method}"
        for q, goal in ((95, GOALS_MS.get(n)), (50, None)):
            figure, peer = float(np.percentile(ours, q)), float(np.percentile(theirs, q))
            yield row(f"{name}: a move, p{q}", figure, "ms", "hdbscan's own extraction", peer, goal)


def settings_map(n: int) -> Iterable[dict[str, Any]]:
    faces = synthetic_faces(n, seed=0, style="crowd")
    neighbours = find_neighbours(faces.vectors)
    default = Setting(3, 3, 0.35)
    hierarchies = {k: build_hierarchy(faces.vectors, k, neighbours) for k in LIVE_MIN_SAMPLES}
    small = {1: drawn(1_000)}
    for method in METHODS:
        stability_map(small, method, np.full(1_000, -1, np.int32), default)  # compiled once per installation
        start = perf_counter()
        found = stability_map(hierarchies, method, faces.photo, default)
        suggest(found, default)
        seconds = perf_counter() - start
        goal = MAP_GOAL_S if n == MAP_FACES and found.moved.size >= MAP_CUTS else None
        yield row(f"{n:,} faces, {method}: map of {found.moved.size} settings", seconds, "s", None, None, goal)


def row(
    name: str, figure: float, unit: str, peer: str | None, peer_figure: float | None, goal: float | None
) -> dict[str, Any]:
    return {
        "row": name,
        "figure": round(figure, 3),
        "unit": unit,
        "peer": peer,
        "peer_figure": None if peer_figure is None else round(peer_figure, 3),
        "ratio": None if peer_figure is None else round(peer_figure / figure, 1),
        "goal": goal,
        "met": None if goal is None else figure <= goal,
    }


def times(move: Callable[[int, float], object], moves: Iterable[tuple[int, float]]) -> list[float]:
    """Milliseconds of each move; the first call compiles and is not counted."""
    move(3, 0.35)
    found = []
    for size, epsilon in moves:
        start = perf_counter()
        move(size, epsilon)
        found.append(1_000 * (perf_counter() - start))
    return found


def peer_of(linkage: np.ndarray, method: str) -> Callable[[int, float], object]:
    from hdbscan._hdbscan_tree import compute_stability, condense_tree, get_clusters, labelling_at_cut

    if method == "cut":
        return lambda size, epsilon: labelling_at_cut(linkage, epsilon, size)

    def move(size: int, epsilon: float) -> object:
        tree = condense_tree(linkage, size)
        return get_clusters(tree, compute_stability(tree), method, False, False, epsilon)

    return move


def built(n: int) -> Hierarchy:
    return build_hierarchy(synthetic_faces(n, seed=0, style="crowd").vectors, min_samples=3)


def drawn(n: int) -> Hierarchy:
    """A hierarchy without vectors: each face hangs on an earlier one of its person, each person on an earlier face."""
    rng = np.random.default_rng(0)
    sizes = np.maximum(1, np.round(3 * rng.pareto(1.3, n) + rng.random(n))).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    first = first[first < n]
    row_of = np.arange(n)
    person = np.searchsorted(first, row_of, side="right") - 1
    before = row_of - first[person]
    other = first[person] + (rng.random(n) * np.maximum(before, 1)).astype(np.int64)
    weight = np.clip(rng.normal(0.85, 0.13, n), 0.05, 1.3)
    starts = first[1:]
    other[starts] = (rng.random(len(starts)) * starts).astype(np.int64)
    weight[starts] = np.clip(rng.normal(1.17, 0.03, len(starts)), 0.6, 1.35)
    order = np.argsort(weight[1:], kind="stable") + 1
    name = rng.permutation(n).astype(np.int32)
    tree = SpanningTree(name[other[order]], name[order], weight[order], weight[order])
    nobody = KnnGraph(np.empty((n, 0), np.int32), np.empty((n, 0)))
    return Hierarchy(tree, nobody, np.zeros(n), 3, Certificate(n - 1, 0, 0, 0, 0))


if __name__ == "__main__":
    main()
