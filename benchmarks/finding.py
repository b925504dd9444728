"""Searches at 5,000 people and 100,000 faces, and who looks blended: `python -m benchmarks.finding [--faces N]`.

The peer of a search is what nobody can do without, in the same process: one product with every vector, and numpy's
`argpartition` for the nearest 50. Ours measures them again by difference, and adds all faces of their people. Medians
of some, on the library of `benchmarks.screens`.

Who looks blended is counted on made-up crowds of 4,000 faces, published with mistakes as in the tests: true is who has
enough faces of a second human to matter (a tenth, and three).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.report import ROOT, Row, against, measure
from benchmarks.screens import make
from facecluster.answers import Asked, answer, answer_table
from facecluster.blended import Blends, blend_of
from facecluster.config import load_settings
from facecluster.doubts import matters
from facecluster.view import View
from facecluster.wiring import open_service

sys.path.insert(0, str(ROOT / "tests"))

TIMES = 7
SEEDS = range(5)


def seconds(do: Callable[[], object], times: int = TIMES) -> float:
    """The median of some."""
    found = []
    for _ in range(times):
        start = perf_counter()
        do()
        found.append(perf_counter() - start)
    return statistics.median(found)


def nearest(view: View, row: int) -> np.ndarray:
    """What the peer does."""
    score = view.faces.vectors @ view.faces.vectors[row]
    return np.argpartition(score, -50)[-50:]


def searches(view: View) -> Iterator[Row]:
    row = int(np.flatnonzero(view.state.owner >= 0)[view.state.owner.size // 4])
    one, other = (card.id for card in view.cards[:2])
    face = Asked(face=view.faces.ids[row])
    product = seconds(lambda: nearest(view, row))
    yield against("by a face, s", seconds(lambda: answer(view, face)), "s", "product, argpartition", product)
    yield Row("by a person, s", seconds(lambda: answer(view, Asked(person=one))), "s")
    photos = Asked(all_of=(one,), without=(other,), most=200)
    yield Row("photos with one and without another, s", seconds(lambda: answer(view, photos)), "s")
    many = answer(view, Asked(person=one, most=5000)).faces
    yield Row("faces of the 5,000 nearest and all of their people", len(many), "")
    yield Row("  the same as a table, s", seconds(lambda: answer_table(view, many), 3), "s")


def blends(folder: Path, view: View) -> Iterator[Row]:
    from planted_library import planted

    kept = Blends()
    yield Row("who looks blended, everybody for the first time, s", seconds(lambda: kept.look(view), 1), "s")
    yield Row("  again, s", seconds(lambda: kept.look(view)), "s")
    n_true = n_found = n_right = 0
    for seed in SEEDS:
        library = planted(folder / str(seed), 4000, seed)
        for person in library.view.state.people:
            rows = library.view.rows(person)
            counts = np.sort(np.bincount(library.truth[rows])) if len(rows) else np.zeros(1)
            is_true = len(counts) > 1 and counts[-2] >= matters(len(rows))
            is_found = blend_of(library.view, person) is not None
            n_true, n_found, n_right = n_true + int(is_true), n_found + is_found, n_right + int(is_true and is_found)
    yield Row("  share of the blended that are found", n_right / n_true, "")
    yield Row("  share of those found that are blended", n_right / n_found, "")
    yield Row("  blended people in five crowds", n_true, "")


def rows(n: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "library", n)
        view = open_service(load_settings(library=folder / "library")).view()
        yield from searches(view)
        yield from blends(folder, view)


if __name__ == "__main__":
    measure(__doc__, rows)
