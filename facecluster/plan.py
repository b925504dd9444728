"""What publishing would write, and what it would mean for each person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import CHANGES, NOISE, Refinement, gauges
from facecluster.model import BLURRED, ChangeSet, FaceSet, PersonId, Question, Run
from facecluster.row_state import RowState

# A part of a person smaller than this share goes where its cluster goes, without asking.
CRUMB = 0.1

LineKind = Literal["kept", "grown", "split", "merged", "new", "vanishing"]


@dataclass(frozen=True)
class PlanLine:
    """What would happen to one person.

    Attributes
    ----------
    kind : LineKind
        kept: nothing gained (faces may be lost to "not sure"); grown: faces gained; split: a tenth or more goes to
        others; merged: all goes to `others[0]`; new; vanishing: no faces are left.
    before, after : int
        Faces.
    gained, lost : NDArray[np.int32]
        Face rows.
    others : tuple[tuple[PersonId, int], ...]
        Who gets faces of this person (split, merged), and how many.
    """

    kind: LineKind
    person: PersonId
    name: str
    before: int
    after: int
    gained: NDArray[np.int32]
    lost: NDArray[np.int32]
    others: tuple[tuple[PersonId, int], ...] = ()


@dataclass(frozen=True)
class Plan:
    """What publishing would write, and what it would mean.

    Attributes
    ----------
    draw_up : callable
        What makes `change` of this plan.
    params, author : Mapping[str, object], str
        What the clusters were made with; who publishes.
    people : tuple[PersonId, ...]
        Old people and new ones; `before` and `after` point here.
    before, after : NDArray[np.int32]
        Shape (n_faces,): person number, -1 for none.
    label, strength : NDArray
        Shape (n_faces,): cluster, NOISE, or BLURRED; membership in [0, 1].
    lines : tuple[PlanLine, ...]
        Everybody who has faces before or after; changes first, the most changed first.
    questions : tuple[Question, ...]
        Open, were this published.
    names_at_risk : tuple[PersonId, ...]
        Named people who share a cluster with another, or whose faces no longer hold together.
    gauges : Mapping[str, float]
        See `measured`.
    """

    draw_up: Callable[[Plan], ChangeSet]
    params: Mapping[str, object]
    author: str
    people: tuple[PersonId, ...]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    label: NDArray[np.int32]
    strength: NDArray[np.float32]
    lines: tuple[PlanLine, ...]
    questions: tuple[Question, ...]
    names_at_risk: tuple[PersonId, ...]
    gauges: Mapping[str, float]

    @cached_property
    def change(self) -> ChangeSet:
        """Exactly what is written. Drawn up when it is asked for: most plans are looked at and never published."""
        return self.draw_up(self)

    @property
    def run(self) -> Run:
        """The run that would be published."""
        assert self.change.run is not None  # noqa: S101  (reconcile always stages one)
        return self.change.run

    @property
    def is_empty(self) -> bool:
        """No face would change hands."""
        return bool(np.array_equal(self.before, self.after))

    @cached_property
    def goes(self) -> Mapping[int, Sequence[tuple[int, int]]]:
        """For each person number (-1: nobody's) who takes how many of its faces, most first; -1 is nobody again."""
        return _by_first(flows(self.before, self.after))

    @cached_property
    def comes(self) -> Mapping[int, Sequence[tuple[int, int]]]:
        """For each person number (-1: nobody's) from whom how many faces come, most first."""
        return _by_first(flows(self.after, self.before))

    def counts(self) -> dict[LineKind, int]:
        """Number of lines of each kind."""
        found: dict[LineKind, int] = dict.fromkeys(("kept", "grown", "split", "merged", "new", "vanishing"), 0)
        for line in self.lines:
            found[line.kind] += 1
        return found


def lines_of(
    people: Sequence[PersonId], names: Sequence[str], before: NDArray[np.int32], after: NDArray[np.int32]
) -> tuple[PlanLine, ...]:
    """What would happen to everybody who has faces before or after; the most changed first."""
    n = len(people)
    had = np.bincount(before[before >= 0], minlength=n)
    has = np.bincount(after[after >= 0], minlength=n)
    changed = np.flatnonzero(before != after).astype(np.int32)
    gained = rows_by_person(after[changed], changed, n)
    lost = rows_by_person(before[changed], changed, n)
    takers = _by_first(flows(before, after))
    lines: list[PlanLine] = []
    for p, (n_had, n_has) in enumerate(zip(had.tolist(), has.tolist(), strict=True)):
        if not n_had and not n_has:
            continue
        others = [(people[q], k) for q, k in takers[p] if q >= 0] if p in takers else []
        if len(others) > 1:
            others.sort(key=lambda pair: (-pair[1], pair[0]))
        kind = _line_kind(n_had, n_has, others)
        shown = others if kind in ("split", "merged") else []
        lines.append(PlanLine(kind, people[p], names[p], n_had, n_has, gained[p], lost[p], tuple(shown)))
    order: dict[LineKind, int] = {"split": 0, "merged": 1, "vanishing": 2, "new": 3, "grown": 4, "kept": 5}

    def weight(line: PlanLine) -> tuple[bool, bool, int, int, int, str]:
        size = len(line.gained) + len(line.lost)
        return size == 0, not line.name, order[line.kind], -size, -line.after, line.person

    return tuple(sorted(lines, key=weight))


def flows(before: NDArray[np.int32], after: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """(from, to, faces) for each two between whom faces change hands; -1 is nobody. In the order of from and to."""
    changed = before != after
    width = int(after.max(initial=-1)) + 2
    # One pass over the rows: asked person by person, 5,000 people took half a second.
    pairs, n = np.unique((before[changed] + 1).astype(np.int64) * width + after[changed] + 1, return_counts=True)
    return list(zip((pairs // width - 1).tolist(), (pairs % width - 1).tolist(), n.tolist(), strict=True))


def _by_first(some: Sequence[tuple[int, int, int]]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one, other, n in some:
        found[one].append((other, n))
    for others in found.values():
        if len(others) > 1:
            others.sort(key=lambda pair: -pair[1])
    return found


def rows_by_person(person: NDArray[np.int32], rows: NDArray[np.int32], n: int) -> list[NDArray[np.int32]]:
    """Rows of each of `n` people, in the order given; `person` says whose each row is."""
    order = np.argsort(person, kind="stable")
    ends = np.searchsorted(person[order], np.arange(n + 1)).tolist()
    in_turn = rows[order]
    return [in_turn[start:end] for start, end in pairwise(ends)]


def _line_kind(had: int, has: int, others: Sequence[tuple[PersonId, int]]) -> LineKind:
    if had == 0:
        return "new"
    if has == 0:
        return "merged" if others and 2 * others[0][1] > had else "vanishing"
    if others and others[0][1] >= CRUMB * had:
        return "split"
    return "grown" if has > had else "kept"


def measured(
    plan: Plan,
    faces: FaceSet,
    state: RowState,
    rows: NDArray[np.int64],
    labels: NDArray[np.int32],
    refined: Refinement | None = None,
) -> Plan:
    """The plan with what the sliders are watched by, and with why the second layer moved faces.

    Parameters
    ----------
    rows, labels : NDArray
        Shape (n_clustered,): the clustered rows and their clusters as HDBSCAN alone has them; facts are counted
        against these.
    refined : Refinement or None
        What the second layer made of these clusters.
    """
    numbers = _gauges(plan, faces, state, rows, labels)
    counts = refined.counts if refined is not None else dict.fromkeys(CHANGES, 0)
    numbers |= {change.replace(" ", "_"): n for change, n in counts.items()}
    numbers["kept_together"] = refined.kept_together if refined is not None else 1.0

    def draw_up(whole: Plan) -> ChangeSet:
        change = plan.draw_up(whole)
        if refined is None or change.run is None:
            return change
        ids = [faces.ids[row] for row in rows[refined.changed].tolist()]
        return replace(change, run=replace(change.run, reason=dict(zip(ids, refined.reasons, strict=True))))

    return replace(plan, draw_up=draw_up, gauges=numbers)


def refine_words(numbers: Mapping[str, float]) -> str:
    """What the second layer did, from a plan's gauges: "37 attached, 5 taken out"; "" where it did nothing."""
    counts = {change: int(numbers.get(change.replace(" ", "_"), 0)) for change in CHANGES}
    return ", ".join(f"{n:,} {change}" for change, n in counts.items() if n)


def _gauges(
    plan: Plan, faces: FaceSet, state: RowState, rows: NDArray[np.int64], labels: NDArray[np.int32]
) -> dict[str, float]:
    facts = state.row_facts(faces.photo_number, rows)
    n_noise = int(((plan.after < 0) & (plan.label == NOISE) & ~state.is_masked).sum())
    return {
        "people": len(np.unique(plan.after[plan.after >= 0])),
        "faces": len(faces),
        "noise": n_noise,
        "noise_share": n_noise / max(len(rows), 1),
        "blurred": int((plan.label == BLURRED).sum()),
        "impossible_pairs": gauges.impossible_pairs(plan.after, faces.photo_number),
        "contradicted_pins": len(gauges.contradicted_pins(labels, facts.pins)),
        "contradicted_not_persons": len(gauges.contradicted_not_persons(labels, facts)),
        "names_at_risk": len(plan.names_at_risk),
        "churn": int((plan.before != plan.after).sum()) / max(len(faces), 1),
    }
