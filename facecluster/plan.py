"""What publishing would write, and what it would mean for each person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import CHANGES, NOISE, Refinement, gauges
from facecluster.model import BLURRED, ChangeSet, FaceSet, PeopleSnapshot, PersonId, Question, Run
from facecluster.row_state import RowState
from facecluster.tally import stable_order

# A part of a person smaller than this share goes where its cluster goes, without asking.
CRUMB = 0.1

LineKind = Literal["kept", "grown", "split", "merged", "new", "vanishing"]
# In the order in which they are listed.
_KINDS: tuple[LineKind, ...] = ("split", "merged", "vanishing", "new", "grown", "kept")
_SPLIT, _MERGED, _VANISHING, _NEW, _GROWN, _KEPT = range(len(_KINDS))


class PlanLine(NamedTuple):
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


@dataclass(frozen=True, eq=False)
class RowGroups:
    """Face rows by person number: a slice of them for whoever is asked for."""

    rows: NDArray[np.int32]
    ends: list[int]

    def of(self, person: int) -> NDArray[np.int32]:
        """Rows of one person, in the order in which they were given."""
        return self.rows[self.ends[person] : self.ends[person + 1]]

    def of_each(self, people: Sequence[int]) -> list[NDArray[np.int32]]:
        """Rows of each of some people."""
        return [self.rows[self.ends[p] : self.ends[p + 1]] for p in people]


def rows_by_person(person: NDArray[np.int32], rows: NDArray[np.int32], n: int) -> RowGroups:
    """Rows of each of `n` people; `person` says whose each row is, -1 for nobody's."""
    ends = np.cumsum(np.bincount(person + 1, minlength=n + 1))
    return RowGroups(rows[stable_order(person)], ends.tolist())


@dataclass(frozen=True, eq=False)
class Flows:
    """With whom each person exchanges how many faces."""

    pairs: list[tuple[int, int]]  # other, faces
    ends: list[int]

    def of(self, person: int) -> list[tuple[int, int]]:
        """Others and faces of a person (-1: nobody), most first; of equals the one with the smaller number."""
        return self.pairs[self.ends[person + 1] : self.ends[person + 2]]


def _flows(person: NDArray[np.int64], other: NDArray[np.int64], n: NDArray[np.int64], n_people: int) -> Flows:
    order = np.lexsort((other, -n, person))
    ends = np.append(0, np.cumsum(np.bincount(person + 1, minlength=n_people + 1)))
    return Flows(list(zip(other[order].tolist(), n[order].tolist(), strict=True)), ends.tolist())


@dataclass(frozen=True, eq=False)
class Lines:
    """A line for everybody who has faces before or after: changes first, the most changed first.

    Kept as columns over person numbers, and made when looked at: a plan may be made for its numbers alone, and most of
    its thousands of people stay as they are.

    Attributes
    ----------
    people, names : Sequence[PersonId], Sequence[str]
        Of each person number; "" for no name.
    before, after : NDArray[np.int32]
        Shape (n_faces,): person number, -1 for none.
    """

    people: Sequence[PersonId]
    names: Sequence[str]
    before: NDArray[np.int32]
    after: NDArray[np.int32]

    def __len__(self) -> int:
        return int(np.count_nonzero(self._is_there))

    def __iter__(self) -> Iterator[PlanLine]:
        yield from self.changed
        yield from self._made(np.flatnonzero(self._is_there & (self._n_changed == 0)))

    @cached_property
    def changed(self) -> Sequence[PlanLine]:
        """The lines of those who gain or lose faces; all others come after them."""
        return self._made(np.flatnonzero(self._n_changed))

    @cached_property
    def n_before(self) -> NDArray[np.int64]:
        """Faces of each person number before."""
        return self._n_of(self.before)

    @cached_property
    def n_after(self) -> NDArray[np.int64]:
        """Faces of each person number after."""
        return self._n_of(self.after)

    @cached_property
    def goes(self) -> Flows:
        """Who takes faces of each person; -1 is nobody."""
        giver, taker, n = self._exchanged
        return _flows(giver, taker, n, len(self.people))

    @cached_property
    def comes(self) -> Flows:
        """From whom each person takes faces; -1 is nobody."""
        giver, taker, n = self._exchanged
        return _flows(taker, giver, n, len(self.people))

    def counts(self) -> dict[LineKind, int]:
        """Number of lines of each kind."""
        n = np.bincount(self._kind[self._is_there], minlength=len(_KINDS)).tolist()
        return {_KINDS[kind]: n[kind] for kind in (_KEPT, _GROWN, _SPLIT, _MERGED, _NEW, _VANISHING)}

    def _n_of(self, owner: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.bincount(owner + 1, minlength=len(self.people) + 1)[1:]

    @property
    def _is_there(self) -> NDArray[np.bool_]:
        return (self.n_before > 0) | (self.n_after > 0)

    @cached_property
    def _changed_rows(self) -> NDArray[np.int32]:
        return np.flatnonzero(self.before != self.after).astype(np.int32)

    @cached_property
    def _n_changed(self) -> NDArray[np.int64]:
        """Faces that each person gains or loses."""
        rows = self._changed_rows
        return self._n_of(self.before[rows]) + self._n_of(self.after[rows])

    @cached_property
    def _exchanged(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Giver, taker and faces for each two between whom faces change hands."""
        rows, width = self._changed_rows, len(self.people) + 1
        pairs, n = np.unique(
            (self.before[rows] + 1).astype(np.int64) * width + self.after[rows] + 1, return_counts=True
        )
        return pairs // width - 1, pairs % width - 1, n

    @cached_property
    def _kind(self) -> NDArray[np.int64]:
        had, has = self.n_before, self.n_after
        giver, taker, n = self._exchanged
        is_between_people = (giver >= 0) & (taker >= 0)
        largest = np.zeros(len(self.people), np.int64)
        np.maximum.at(largest, giver[is_between_people], n[is_between_people])
        return np.select(
            [
                had == 0,
                (has == 0) & (2 * largest > had),
                has == 0,
                (largest > 0) & (largest >= CRUMB * had),
                has > had,
            ],
            [_NEW, _MERGED, _VANISHING, _SPLIT, _GROWN],
            _KEPT,
        )

    def _made(self, some: NDArray[np.int64]) -> list[PlanLine]:
        """The lines of some people, in their order."""
        by_id = np.array(sorted(some.tolist(), key=self.people.__getitem__), np.int64)
        is_unnamed = np.array([not self.names[p] for p in by_id.tolist()], np.bool_)
        kind, n_before, n_after = (column[by_id] for column in (self._kind, self.n_before, self.n_after))
        order = np.lexsort((-n_after, -self._n_changed[by_id], kind, is_unnamed))
        people, *columns = (column[order].tolist() for column in (by_id, kind, n_before, n_after))
        rows, n = self._changed_rows, len(self.people)
        columns += [rows_by_person(owner[rows], rows, n).of_each(people) for owner in (self.after, self.before)]
        return [
            PlanLine(
                _KINDS[k],
                self.people[p],
                self.names[p],
                had,
                has,
                gained,
                lost,
                self._takers(p) if k in (_SPLIT, _MERGED) else (),
            )
            for p, k, had, has, gained, lost in zip(people, *columns, strict=True)
        ]

    def _takers(self, person: int) -> tuple[tuple[PersonId, int], ...]:
        """Who gets the faces of a person: most first, of equals by id."""
        takers = [(self.people[other], n) for other, n in self.goes.of(person) if other >= 0]
        return tuple(sorted(takers, key=lambda pair: (-pair[1], pair[0])))


@dataclass(frozen=True)
class Plan:
    """What publishing would write, and what it would mean.

    Attributes
    ----------
    draw_up : callable
        What makes `change` of this plan.
    snapshot : PeopleSnapshot
        The moment at which it is made.
    params, author : Mapping[str, object], str
        What the clusters were made with; who publishes.
    people : tuple[PersonId, ...]
        Old people and new ones; `before` and `after` point here.
    before, after : NDArray[np.int32]
        Shape (n_faces,): person number, -1 for none.
    label, strength : NDArray
        Shape (n_faces,): cluster, NOISE, or BLURRED; membership in [0, 1].
    lines : Lines
        Everybody who has faces before or after; changes first, the most changed first.
    questions : tuple[Question, ...]
        Open, were this published.
    names_at_risk : tuple[PersonId, ...]
        Named people who share a cluster with another, or whose faces no longer hold together.
    gauges : Mapping[str, float]
        See `measured`.
    """

    draw_up: Callable[[Plan], ChangeSet]
    snapshot: PeopleSnapshot
    params: Mapping[str, object]
    author: str
    people: tuple[PersonId, ...]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    label: NDArray[np.int32]
    strength: NDArray[np.float32]
    lines: Lines
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

    def counts(self) -> dict[LineKind, int]:
        """Number of lines of each kind."""
        return self.lines.counts()

    def named_as(self, snapshot: PeopleSnapshot) -> Plan:
        """The plan of a moment at which people are called otherwise, and nothing else is different."""
        if snapshot is self.snapshot:
            return self
        return replace(self, snapshot=snapshot, lines=replace(self.lines, names=names_of(self.people, snapshot)))


def names_of(people: Sequence[PersonId], snapshot: PeopleSnapshot) -> list[str]:
    """What each of some people is called, "" for no name and for who is not there yet."""
    known = snapshot.people
    return [known[person].name if person in known else "" for person in people]


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
        "people": int(np.count_nonzero(plan.lines.n_after)),
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
