"""Live people x new clusters x facts -> Plan: who keeps which faces, and what only a curator can say.

The laws (each is a property test): a name stays with its faces or is listed; a pinned face never moves; a not-person is
never violated; the same input gives the same plan; right after publishing, the plan is empty.

How a cluster finds its person. *Protected* people are those with a name, a fact or an open question; everybody else
follows the clusters. A protected person lives in the cluster that holds most of their faces (their home), and in every
cluster that holds a face pinned to them; these are the cluster's *residents*, and residents keep their own faces.
The cluster's other faces go to its *heir*: its only pinned resident; else who is surely matched (more than half of the
person's faces are here, and they are more than half of the cluster's owned faces); else the only resident, if most
owned faces are theirs; else the best matching unprotected person, or a new one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering import NOISE
from facecluster.decisions import Draft, RowState, person_id
from facecluster.model import BLURRED, ChangeSet, FaceSet, PeopleSnapshot, Person, PersonId, Question, Run

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
    change : ChangeSet
        Exactly what is written.
    people : tuple[PersonId, ...]
        Old people and new ones; `before` and `after` point here.
    before, after : NDArray[np.int32]
        Shape (n_faces,): person number, -1 for none.
    label : NDArray[np.int32]
        Shape (n_faces,): cluster, NOISE, or BLURRED.
    lines : tuple[PlanLine, ...]
        Everybody who has faces before or after; changes first, the most changed first.
    questions : tuple[Question, ...]
        Open, were this published.
    names_at_risk : tuple[PersonId, ...]
        Named people who share a cluster with another, or whose faces no longer hold together.
    gauges : Mapping[str, float]
        Counted by Service.
    """

    change: ChangeSet
    people: tuple[PersonId, ...]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    label: NDArray[np.int32]
    lines: tuple[PlanLine, ...]
    questions: tuple[Question, ...]
    names_at_risk: tuple[PersonId, ...]
    gauges: Mapping[str, float]

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
        found: dict[LineKind, int] = dict.fromkeys(("kept", "grown", "split", "merged", "new", "vanishing"), 0)
        for line in self.lines:
            found[line.kind] += 1
        return found


@dataclass
class _Match:
    """The work in progress: person numbers >= n_people are groups that become new people."""

    state: RowState
    label: NDArray[np.int32]
    counts: dict[tuple[int, int], int]  # (cluster, person): faces
    of_person: dict[int, list[int]]  # person: clusters with faces of it
    total: NDArray[np.int64]  # faces of each person that are present, blurred and masked ones left out
    owned: NDArray[np.int64]  # owned faces of each cluster
    after: NDArray[np.int32]
    n_people: int
    questions: list[tuple[int, int, int]]  # person, other, faces
    keeps: list[tuple[int, int]]  # person, faces
    at_risk: set[int]


def reconcile(
    faces: FaceSet,
    label: NDArray[np.int32],
    strength: NDArray[np.float32],
    snapshot: PeopleSnapshot,
    state: RowState,
    params: Mapping[str, object],
    author: str = "",
) -> Plan:
    """Match new clusters to living people.

    Parameters
    ----------
    faces : FaceSet
        All faces.
    label, strength : NDArray
        Shape (n_faces,): cluster number from 0, NOISE, or BLURRED for faces left out; membership in [0, 1].
    snapshot, state : PeopleSnapshot, RowState
        What the curator said, as ids and as row numbers of `faces`.
    params : Mapping[str, object]
        What the clusters were made with; kept in the run.

    Returns
    -------
    Plan
        A function of the arguments alone.
    """
    match = _tally(state, label)
    n_clusters = int(label.max(initial=-1)) + 1
    sure = _sure(match)
    home = {p: _home(match, p) for p in range(len(state.people)) if state.is_protected[p]}
    pinned_in = _pinned_people(state, label)
    residents: dict[int, list[int]] = {c: sorted(people) for c, people in pinned_in.items()}
    for p, c in home.items():
        if c >= 0 and p not in residents.setdefault(c, []):
            residents[c] = sorted([*residents[c], p])
    heirs = {c: _heir(match, c, residents.get(c, []), pinned_in.get(c, set()), sure.get(c)) for c in range(n_clusters)}
    _keep_residents(match, residents, heirs)
    parts = _settle_parts(match, residents, heirs)
    _settle_rest(match, heirs)
    _ask_about_parts(match, parts, heirs)
    _ask_about_meetings(match, home, heirs)
    _keep_loose(match)
    _enforce_facts(match)
    return _plan(faces, strength, snapshot, match, params, author)


def _tally(state: RowState, label: NDArray[np.int32]) -> _Match:
    n_people = len(state.people)
    present = (label != BLURRED) & ~state.is_masked
    in_cluster_rows = (label >= 0) & (state.owner >= 0) & ~state.is_masked
    keys = label[in_cluster_rows].astype(np.int64) * max(n_people, 1) + state.owner[in_cluster_rows]
    values, counts = np.unique(keys, return_counts=True)
    table = {
        (int(v) // max(n_people, 1), int(v) % max(n_people, 1)): int(k) for v, k in zip(values, counts, strict=True)
    }
    of_person: dict[int, list[int]] = defaultdict(list)
    for c, p in table:
        of_person[p].append(c)
    return _Match(
        state=state,
        label=label,
        counts=table,
        of_person=of_person,
        total=np.bincount(state.owner[present & (state.owner >= 0)], minlength=n_people),
        owned=np.bincount(label[in_cluster_rows], minlength=int(label.max(initial=-1)) + 1),
        after=np.where(state.is_masked, -1, state.pin).astype(np.int32),
        n_people=n_people,
        questions=[],
        keeps=[],
        at_risk=set(),
    )


def _sure(match: _Match) -> dict[int, int]:
    """Cluster -> person where both halves agree; both are strict majorities, so no person stands twice."""
    return {c: p for (c, p), n in match.counts.items() if 2 * n > int(match.total[p]) and 2 * n > int(match.owned[c])}


def _home(match: _Match, person: int) -> int:
    """The cluster with most faces of a person, ties to the smaller number; -1 for none."""
    clusters = match.of_person.get(person, [])
    return min(clusters, key=lambda c: (-match.counts[c, person], c), default=-1)


def _pinned_people(state: RowState, label: NDArray[np.int32]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    rows = np.flatnonzero((state.pin >= 0) & (label >= 0))
    for c, p in zip(label[rows].tolist(), state.pin[rows].tolist(), strict=True):
        found[c].add(p)
    return found


def _heir(match: _Match, cluster: int, residents: Sequence[int], pinned: set[int], sure: int | None) -> int | None:
    """Who takes the faces of a cluster that no resident owns; None where a new or unprotected person does."""
    if len(pinned) == 1:
        (p,) = pinned
        if sure is None or sure == p or 2 * match.counts.get((cluster, p), 0) >= int(match.owned[cluster]):
            return p
    if sure is not None:
        return sure
    if len(residents) == 1 and 2 * match.counts.get((cluster, residents[0]), 0) > int(match.owned[cluster]):
        return residents[0]
    return None


def _keep_residents(match: _Match, residents: Mapping[int, Sequence[int]], heirs: Mapping[int, int | None]) -> None:
    """Residents and heirs keep the faces they have in a cluster."""
    stays = {(c, p) for c, people in residents.items() for p in people}
    stays |= {(c, p) for c, p in heirs.items() if p is not None}
    _give(match, {pair: pair[1] for pair in stays if pair in match.counts})


def _settle_parts(
    match: _Match, residents: Mapping[int, Sequence[int]], heirs: dict[int, int | None]
) -> list[tuple[int, int, int]]:
    """Parts of split people of at least a tenth: their own new person where somebody else lives, else with the cluster.

    Returns (person, cluster, group) with group -1 where the part goes with the cluster.
    """
    parts: list[tuple[int, int, int]] = []
    groups: dict[tuple[int, int], int] = {}
    for (c, p), n in sorted(match.counts.items()):
        is_guest = match.state.is_protected[p] and p not in residents.get(c, []) and heirs[c] != p
        if not is_guest or n < CRUMB * int(match.total[p]):
            continue
        if residents.get(c):
            groups[c, p] = match.n_people + len(groups)
            parts.append((p, c, groups[c, p]))
        else:
            parts.append((p, c, -1))
    _give(match, groups)
    match.n_people += len(groups)
    return parts


def _give(match: _Match, to: Mapping[tuple[int, int], int]) -> None:
    """Hand the faces that a person has in a cluster to somebody, in one pass over the rows."""
    if not to:
        return
    width = max(len(match.state.people), 1)
    keys = np.array([c * width + p for c, p in to], np.int64)
    order = np.argsort(keys)
    targets = np.array(list(to.values()), np.int32)[order]
    rows = np.flatnonzero(_open_rows(match) & (match.state.owner >= 0))
    row_keys = match.label[rows].astype(np.int64) * width + match.state.owner[rows]
    at = np.searchsorted(keys[order], row_keys)
    at[at == len(keys)] = 0
    hit = keys[order][at] == row_keys
    match.after[rows[hit]] = targets[at[hit]]


def _open_rows(match: _Match) -> NDArray[np.bool_]:
    return (match.label >= 0) & (match.after < 0) & ~match.state.is_masked


def _settle_rest(match: _Match, heirs: dict[int, int | None]) -> None:
    """Everything else in a cluster goes to its heir, the best matching unprotected person, or a new one."""
    rows = np.flatnonzero(_open_rows(match))
    waiting = [int(c) for c in np.unique(match.label[rows]) if heirs[int(c)] is None]
    taken = {p for p in heirs.values() if p is not None}
    matched = _best_matches(match, waiting, taken)
    for c in waiting:
        if c in matched:
            heirs[c] = matched[c]
        else:
            heirs[c] = match.n_people
            match.n_people += 1
    lookup = np.array([-1 if (h := heirs[c]) is None else h for c in range(len(heirs))], np.int32)
    if len(rows):
        match.after[rows] = lookup[match.label[rows]]


def _best_matches(match: _Match, clusters: Sequence[int], taken: set[int]) -> dict[int, int]:
    """Largest total overlap between clusters and unprotected people, one to one."""
    wanted = set(clusters)
    edges = [
        (c, p, n)
        for (c, p), n in sorted(match.counts.items())
        if c in wanted and p not in taken and not match.state.is_protected[p]
    ]
    if not edges:
        return {}
    cluster_no = {c: i for i, c in enumerate(sorted({c for c, _, _ in edges}))}
    person_no = {p: len(cluster_no) + i for i, p in enumerate(sorted({p for _, p, _ in edges}))}
    size = len(cluster_no) + len(person_no)
    graph = coo_array(
        (np.ones(len(edges)), ([cluster_no[c] for c, _, _ in edges], [person_no[p] for _, p, _ in edges])), (size, size)
    )
    # Independent pieces are small; the assignment of the whole would be cubic in the number of people.
    _, piece = connected_components(graph, directed=False)
    by_piece: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for edge in edges:
        by_piece[int(piece[cluster_no[edge[0]]])].append(edge)
    found: dict[int, int] = {}
    for some in by_piece.values():
        if len(some) == 1:
            found[some[0][0]] = some[0][1]
            continue
        cs, ps = sorted({c for c, _, _ in some}), sorted({p for _, p, _ in some})
        gain = np.zeros((len(cs), len(ps)), np.int64)
        for c, p, n in some:
            gain[cs.index(c), ps.index(p)] = n
        for i, j in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[i, j]:
                found[cs[i]] = ps[j]
    return found


def _ask(match: _Match, person: int, other: int, n: int) -> None:
    first, second = min(person, other), max(person, other)
    if first != second and (first, second) not in match.state.apart:
        match.questions.append((person, other, n))


def _ask_about_parts(match: _Match, parts: Sequence[tuple[int, int, int]], heirs: Mapping[int, int | None]) -> None:
    for person, cluster, group in parts:
        heir = heirs[cluster]
        other = group if group >= 0 else heir
        if other is None:
            continue
        n = match.counts[cluster, person]
        _ask(match, person, other, n)
        if group >= 0 and heir is not None and heir != other:
            _ask(match, heir, other, n)


def _ask_about_meetings(match: _Match, home: Mapping[int, int], heirs: Mapping[int, int | None]) -> None:
    """Protected people at home in one cluster: are they one? Those at home where another is heir: likewise."""
    at_home: dict[int, list[int]] = defaultdict(list)
    for p, c in home.items():
        if c >= 0:
            at_home[c].append(p)
    for c, people in at_home.items():
        heir = heirs[c]
        first = heir if heir is not None else min(people, key=lambda p: (-match.counts[c, p], p))
        for p in sorted(people):
            if p == first:
                continue
            before = len(match.questions)
            _ask(match, first, p, match.counts[c, p])
            if len(match.questions) > before:
                match.at_risk |= {first, p}


def _keep_loose(match: _Match) -> None:
    """Where more than half of a protected person's faces would fall out of every cluster, they stay until asked."""
    state = match.state
    unpinned = (state.owner >= 0) & (state.pin < 0) & ~state.is_masked
    n = len(state.people)
    loose = np.bincount(state.owner[unpinned & (match.label == NOISE)], minlength=n)
    blurred = np.bincount(state.owner[unpinned & (match.label == BLURRED)], minlength=n)
    for p in np.flatnonzero(state.is_protected).tolist():
        outside = NOISE if 2 * loose[p] > match.total[p] else BLURRED if match.total[p] == 0 and blurred[p] else None
        if outside is None:
            continue
        rows = np.flatnonzero(unpinned & (state.owner == p) & (match.label == outside))
        match.after[rows] = p
        match.keeps.append((p, len(rows)))
        match.at_risk.add(p)


def _enforce_facts(match: _Match) -> None:
    """Pins and not-persons have the last word."""
    state = match.state
    rows, people = state.not_person[:, 0], state.not_person[:, 1]
    violated = (match.after[rows] == people) & (state.pin[rows] != people)
    match.after[rows[violated]] = -1
    pinned = (state.pin >= 0) & ~state.is_masked
    match.after[pinned] = state.pin[pinned]


def _plan(
    faces: FaceSet,
    strength: NDArray[np.float32],
    snapshot: PeopleSnapshot,
    match: _Match,
    params: Mapping[str, object],
    author: str,
) -> Plan:
    state = match.state
    people, after = _named_groups(faces, snapshot, match)
    names = [snapshot.people.get(p, Person(p)).name for p in people]
    lines = _lines(people, names, state.owner, after)
    questions = _questions(match, people, after)
    owner: list[PersonId | None] = [people[p] if p >= 0 else None for p in after.tolist()]
    run = Run(
        id=_run_id(faces, params, owner, match.label, questions),
        params=dict(params),
        fingerprint=faces.fingerprint,
        faces=faces.ids,
        owner=tuple(owner),
        label=match.label,
        strength=strength,
        questions=questions,
    )
    draft = Draft(snapshot)
    has_faces = set(np.unique(after[after >= 0]).tolist())
    for i, person in enumerate(people):
        if i in has_faces:
            draft.set("person", person, "1")
        elif i < len(state.people) and not state.is_protected[i]:
            draft.set("person", person, None)  # nobody said anything about them, and nothing is left of them
    draft.set("live_run", "", run.id)
    found = sum(line.after > 0 for line in lines)
    title = f"Published {found:,} people, {int((after >= 0).sum()):,} faces"
    return Plan(
        change=draft.change(author, title, run),
        people=people,
        before=state.owner,
        after=after,
        label=match.label,
        lines=lines,
        questions=questions,
        names_at_risk=tuple(people[p] for p in sorted(match.at_risk) if p < len(names) and names[p]),
        gauges={},
    )


def _named_groups(
    faces: FaceSet, snapshot: PeopleSnapshot, match: _Match
) -> tuple[tuple[PersonId, ...], NDArray[np.int32]]:
    """Give ids to new groups, in the order of their first faces, and leave out those that came to nothing."""
    n = len(match.state.people)
    people = list(match.state.people)
    taken: set[str] = set(snapshot.people)
    after = match.after.copy()
    groups, first = np.unique(match.after[match.after >= n], return_index=True)
    rows = np.flatnonzero(match.after >= n)[first]
    number: dict[int, int] = {}
    for group, row in sorted(zip(groups.tolist(), rows.tolist(), strict=True), key=lambda pair: pair[1]):
        person = person_id(faces.ids[row], taken)
        taken.add(person)
        number[group] = len(people)
        people.append(person)
    lookup = np.arange(max(match.n_people, n) + 1, dtype=np.int32)
    for group, new in number.items():
        lookup[group] = new
    after = np.where(after >= 0, lookup[after], -1).astype(np.int32)
    match.questions = [
        (number.get(p, p if p < n else -1), number.get(o, o if o < n else -1), k) for p, o, k in match.questions
    ]
    return tuple(people), after


def _questions(match: _Match, people: Sequence[PersonId], after: NDArray[np.int32]) -> tuple[Question, ...]:
    present = set(np.unique(after[after >= 0]).tolist())
    found: dict[str, Question] = {}
    number = {person: i for i, person in enumerate(people)}
    for p, o, n in match.questions:
        if p in present and o in present:
            question = Question("same", people[p], people[o], n)
            found.setdefault(question.id, question)
    for question in match.state.questions:
        if question.other is not None and number[question.person] in present and number[question.other] in present:
            found.setdefault(question.id, question)
    for p, n in match.keeps:
        question = Question("keep", people[p], None, n)
        found.setdefault(question.id, question)
    return tuple(sorted(found.values(), key=lambda q: (-q.n_faces, q.id)))


def _run_id(
    faces: FaceSet,
    params: Mapping[str, object],
    owner: Sequence[PersonId | None],
    label: NDArray[np.int32],
    questions: Sequence[Question],
) -> str:
    digest = sha256()
    head = [faces.fingerprint, dict(params), [o or "" for o in owner], [[q.id, q.n_faces] for q in questions]]
    digest.update(json.dumps(head, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(label, "<i4").data)
    return f"run-{digest.hexdigest()[:16]}"


def _lines(
    people: Sequence[PersonId], names: Sequence[str], before: NDArray[np.int32], after: NDArray[np.int32]
) -> tuple[PlanLine, ...]:
    n = len(people)
    had = np.bincount(before[before >= 0], minlength=n)
    has = np.bincount(after[after >= 0], minlength=n)
    changed = np.flatnonzero(before != after).astype(np.int32)
    gained = _rows_by_person(after[changed], changed, n)
    lost = _rows_by_person(before[changed], changed, n)
    lines: list[PlanLine] = []
    for p in np.flatnonzero((had > 0) | (has > 0)).tolist():
        to = after[lost[p]]
        others = [(people[q], int(k)) for q, k in zip(*np.unique(to[to >= 0], return_counts=True), strict=True)]
        others.sort(key=lambda pair: (-pair[1], pair[0]))
        kind = _line_kind(int(had[p]), int(has[p]), others)
        shown = others if kind in ("split", "merged") else []
        lines.append(PlanLine(kind, people[p], names[p], int(had[p]), int(has[p]), gained[p], lost[p], tuple(shown)))
    order: dict[LineKind, int] = {"split": 0, "merged": 1, "vanishing": 2, "new": 3, "grown": 4, "kept": 5}

    def weight(line: PlanLine) -> tuple[bool, bool, int, int, int, str]:
        size = len(line.gained) + len(line.lost)
        return size == 0, not line.name, order[line.kind], -size, -line.after, line.person

    return tuple(sorted(lines, key=weight))


def _rows_by_person(person: NDArray[np.int32], rows: NDArray[np.int32], n: int) -> list[NDArray[np.int32]]:
    order = np.argsort(person, kind="stable")
    ends = np.searchsorted(person[order], np.arange(n + 1))
    return [rows[order[ends[p] : ends[p + 1]]] for p in range(n)]


def _line_kind(had: int, has: int, others: Sequence[tuple[PersonId, int]]) -> LineKind:
    if had == 0:
        return "new"
    if has == 0:
        return "merged" if others and 2 * others[0][1] > had else "vanishing"
    if others and others[0][1] >= CRUMB * had:
        return "split"
    return "grown" if has > had else "kept"
