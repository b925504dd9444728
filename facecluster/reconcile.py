"""Live people x new clusters x facts -> Plan: who keeps which faces, and what only a curator can say.

The laws (each is a property test): a name stays with its faces or is listed; a pinned face never moves; a not-person is
never violated; the same input gives the same plan; right after publishing, the plan is empty.

How a cluster finds its person. *Protected* people are those with a name, a fact or an open question; everybody else
follows the clusters. A protected person lives in the cluster that holds most of their faces (their home), and in every
cluster that holds a face pinned to them; these are the cluster's *residents*, and residents keep their own faces.
The cluster's other faces go to its *heir*: its only pinned resident (unless the person would then have more here than
at home: that is asked); else who is surely matched (more than half of the person's faces are here, and they are more
than half of the cluster's owned faces); else the only resident, if most owned faces are theirs; else the best matching
unprotected person, or a new one.

Questions and names at risk are read off the outcome, not off the way there, so that a plan made from what was published
comes to the same ones.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering import NOISE
from facecluster.decisions import Draft, person_id
from facecluster.model import BLURRED, ChangeSet, FaceSet, PeopleSnapshot, Person, PersonId, Question, Run
from facecluster.plan import CRUMB, Plan, lines_of, rows_by_person
from facecluster.row_state import RowState


@dataclass(frozen=True)
class _Tally:
    """How many faces each person has in each cluster, and the first row of them."""

    n: dict[tuple[int, int], int]  # (cluster, person)
    first: dict[tuple[int, int], int]
    clusters: dict[int, list[int]]  # of each person

    def home(self, person: int) -> int:
        """The cluster with most faces of a person, ties to the smaller number; -1 for none."""
        return min(self.clusters.get(person, []), key=lambda c: (-self.n[c, person], c), default=-1)


@dataclass
class _Match:
    """The work in progress: person numbers >= n_people are groups that become new people."""

    state: RowState
    label: NDArray[np.int32]
    tally: _Tally
    total: NDArray[np.int64]  # faces of each person that are here: neither blurred nor fallen out of the clusters
    size: NDArray[np.int64]  # faces of each cluster
    owned: NDArray[np.int64]  # those of them that somebody owns
    keeps: dict[int, NDArray[np.int32]]  # person: rows that fell out of the clusters, and stay until asked
    after: NDArray[np.int32]
    n_people: int
    residents: dict[int, list[int]]
    heirs: dict[int, int | None]
    parts: list[tuple[int, int, int]]  # person, cluster, group: is this group, or the heir (-1), the person?


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
    match = _settle(state, label)
    outcome = _count(label, match.after)
    pairs, at_risk = _open_questions(match, outcome)
    return _plan(faces, strength, snapshot, match, pairs, at_risk, params, author)


def _count(label: NDArray[np.int32], owner: NDArray[np.int32]) -> _Tally:
    rows = np.flatnonzero((label >= 0) & (owner >= 0))
    width = int(owner.max(initial=0)) + 1
    keys, first, counts = np.unique(
        label[rows].astype(np.int64) * width + owner[rows], return_index=True, return_counts=True
    )
    pairs = [divmod(key, width) for key in keys.tolist()]
    clusters: dict[int, list[int]] = defaultdict(list)
    for c, p in pairs:
        clusters[p].append(c)
    return _Tally(
        dict(zip(pairs, counts.tolist(), strict=True)), dict(zip(pairs, rows[first].tolist(), strict=True)), clusters
    )


def _settle(state: RowState, label: NDArray[np.int32]) -> _Match:
    """Give every face to somebody."""
    tally = _count(label, state.owner)
    is_here = (state.owner >= 0) & ((label >= 0) | ((label == NOISE) & (state.pin >= 0)))
    match = _Match(
        state=state,
        label=label,
        tally=tally,
        total=np.bincount(state.owner[is_here], minlength=len(state.people)),
        size=np.bincount(label[label >= 0], minlength=int(label.max(initial=-1)) + 1),
        owned=np.bincount(label[(label >= 0) & (state.owner >= 0)], minlength=int(label.max(initial=-1)) + 1),
        keeps=_fallen(state, label),
        after=np.where(state.is_masked, -1, state.pin).astype(np.int32),
        n_people=len(state.people),
        residents={},
        heirs={},
        parts=[],
    )
    for p, rows in match.keeps.items():
        match.after[rows] = p
        match.total[p] += len(rows)
    pinned_in = _pinned_people(state, label)
    match.residents = {c: sorted(people) for c, people in pinned_in.items()}
    for p in np.flatnonzero(state.is_protected).tolist():
        if (c := tally.home(p)) >= 0 and p not in match.residents.setdefault(c, []):
            match.residents[c] = sorted([*match.residents[c], p])
    sure = _sure(match)
    match.heirs = {c: _heir(match, c, pinned_in.get(c, set()), sure.get(c)) for c in range(len(match.owned))}
    _keep_residents(match)
    _settle_parts(match)
    _settle_rest(match)
    _enforce_facts(match)
    return match


def _fallen(state: RowState, label: NDArray[np.int32]) -> dict[int, NDArray[np.int32]]:
    """Rows that no cluster holds, of protected people who would lose more than half by it or were asked about it."""
    n = len(state.people)
    number = {person: p for p, person in enumerate(state.people)}
    is_asked = np.zeros(n, np.bool_)
    is_asked[[number[q.person] for q in state.keeps]] = True
    unpinned = (state.owner >= 0) & (state.pin < 0)
    here = np.bincount(state.owner[(state.owner >= 0) & (label != BLURRED)], minlength=n)
    fallen = np.bincount(state.owner[unpinned & (label == NOISE)], minlength=n)
    stays = state.is_protected & (is_asked | (2 * fallen > here))
    # Blurred faces stay only where there is nothing else of the person.
    stays_blurred = state.is_protected & (here == 0)
    rows = np.flatnonzero(unpinned & (label < 0)).astype(np.int32)
    people = state.owner[rows]
    rows = rows[np.where(label[rows] == BLURRED, stays_blurred[people], stays[people])]
    return {p: some for p, some in enumerate(rows_by_person(state.owner[rows], rows, n)) if len(some)}


def _sure(match: _Match) -> dict[int, int]:
    """Cluster -> person where both halves agree; both are strict majorities, so no person stands twice."""
    return {c: p for (c, p), n in match.tally.n.items() if 2 * n > int(match.total[p]) and 2 * n > int(match.owned[c])}


def _pinned_people(state: RowState, label: NDArray[np.int32]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    rows = np.flatnonzero((state.pin >= 0) & (label >= 0))
    for c, p in zip(label[rows].tolist(), state.pin[rows].tolist(), strict=True):
        found[c].add(p)
    return found


def _heir(match: _Match, cluster: int, pinned: set[int], sure: int | None) -> int | None:
    """Who takes the faces of a cluster that no resident owns; None where a new or unprotected person does."""
    owned, n = int(match.owned[cluster]), match.tally.n
    if len(pinned) == 1:
        (p,) = pinned
        if sure is None or sure == p or 2 * n.get((cluster, p), 0) >= owned:
            if _stays_home(match, cluster, p):
                return p
            match.parts.append((p, cluster, -1))
    if sure is not None:
        return sure
    only = match.residents[cluster][0] if len(match.residents.get(cluster, [])) == 1 else None
    if only is not None and 2 * n.get((cluster, only), 0) > owned and _stays_home(match, cluster, only):
        return only
    return None


def _stays_home(match: _Match, cluster: int, person: int) -> bool:
    """Whether a person has most faces at home also as heir of this cluster.

    Else the next plan would see them at home here, and take away the faces that bear the name today.
    """
    home = match.tally.home(person)
    others = sum(match.tally.n.get((cluster, p), 0) for p in match.residents[cluster] if p != person)
    return home == cluster or int(match.size[cluster]) - others < match.tally.n.get((home, person), 0)


def _keep_residents(match: _Match) -> None:
    """Residents and heirs keep the faces they have in a cluster."""
    stays = {(c, p) for c, people in match.residents.items() for p in people}
    stays |= {(c, p) for c, p in match.heirs.items() if p is not None}
    _give(match, {pair: pair[1] for pair in stays if pair in match.tally.n})


def _settle_parts(match: _Match) -> None:
    """Parts of at least a tenth that leave: to a new person where somebody else lives, else with the cluster."""
    groups: dict[tuple[int, int], int] = {}
    for (c, p), n in sorted(match.tally.n.items()):
        is_guest = match.state.is_protected[p] and p not in match.residents.get(c, []) and match.heirs[c] != p
        if not is_guest or n < CRUMB * int(match.total[p]):
            continue
        if match.residents.get(c):
            groups[c, p] = match.n_people + len(groups)
        match.parts.append((p, c, groups.get((c, p), -1)))
    _give(match, groups)
    match.n_people += len(groups)


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


def _settle_rest(match: _Match) -> None:
    """Everything else in a cluster goes to its heir, the best matching unprotected person, or a new one."""
    rows = np.flatnonzero(_open_rows(match))
    waiting = [c for c in np.unique(match.label[rows]).tolist() if match.heirs[c] is None]
    taken = {p for p in match.heirs.values() if p is not None}
    matched = _best_matches(match, waiting, taken)
    for c in waiting:
        if c in matched:
            match.heirs[c] = matched[c]
        else:
            match.heirs[c] = match.n_people
            match.n_people += 1
    lookup = np.array([-1 if (h := match.heirs[c]) is None else h for c in range(len(match.heirs))], np.int32)
    if len(rows):
        heir = lookup[match.label[rows]]
        heir[_is_turned_away(match, rows) & (match.state.owner[rows] != heir)] = -1
        match.after[rows] = heir


def _is_turned_away(match: _Match, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Faces that are not a resident who is not the heir: their cluster lies about them, so about the heir too."""
    width = max(len(match.state.people), 1)
    at, person = match.state.not_person.T.astype(np.int64)
    others = [(c, p) for c, people in match.residents.items() for p in people if p != match.heirs[c]]
    live_in = np.array([c * width + p for c, p in others], np.int64)
    refused = np.zeros(len(match.label), np.bool_)
    refused[at[np.isin(match.label[at] * width + person, live_in) & (match.label[at] >= 0)]] = True
    return refused[rows]


def _best_matches(match: _Match, clusters: Sequence[int], taken: set[int]) -> dict[int, int]:
    """Largest total overlap between clusters and unprotected people, one to one."""
    wanted = set(clusters)
    edges = [
        (c, p, n)
        for (c, p), n in sorted(match.tally.n.items())
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


def _open_questions(match: _Match, outcome: _Tally) -> tuple[set[tuple[int, int]], set[int]]:
    """Pairs (ascending) to ask about, and whoever is at risk."""
    state = match.state
    present = set(np.unique(match.after[match.after >= 0]).tolist())
    number = {person: p for p, person in enumerate(state.people)}
    asked = {(number[q.person], number[q.other]) for q in state.questions if q.other is not None}
    for person, cluster, group in match.parts:
        other = group if group >= 0 else match.heirs[cluster]
        if other is not None:
            asked.add((person, other))
    pairs = {(min(a, b), max(a, b)) for a, b in asked if a != b and {a, b} <= present} - state.apart
    groups = {group for _, _, group in match.parts if group >= 0}
    met, at_risk = _meetings(match, outcome, groups.union(*pairs))
    return pairs | met, at_risk | match.keeps.keys()


def _meetings(match: _Match, outcome: _Tally, asked: set[int]) -> tuple[set[tuple[int, int]], set[int]]:
    """People who live in one cluster: are they one? Each is asked about with the first not known to be another.

    The first are those with a name, then those with most faces: Anna and Bert, not each of them and a heap of others.
    """
    n = len(match.state.people)
    named = set(np.flatnonzero(match.state.is_named).tolist())
    at_home: dict[int, set[int]] = defaultdict(set)
    for p in asked | set(np.flatnonzero(match.state.is_protected).tolist()):
        if (c := outcome.home(p)) >= 0:
            at_home[c].add(p)
    largest: dict[int, tuple[int, int, int]] = {}
    for (c, p), k in outcome.n.items():
        largest[c] = min(largest.get(c, (1, 0, 0)), (-k, outcome.first[c, p], p))
    pairs: set[tuple[int, int]] = set()
    at_risk: set[int] = set()
    for c, people in at_home.items():
        heir = match.heirs[c]
        if heir is not None and (heir >= n or not match.state.is_protected[heir]) and (c, heir) in outcome.n:
            # New here, or nobody that the curator knows: unasked, it would be swallowed at the next plan.
            people.add(heir)
        people.add(largest[c][2])
        order = sorted(people, key=lambda p: (p not in named, -outcome.n[c, p], outcome.first[c, p]))
        for i, p in enumerate(order):
            near = next((q for q in order[:i] if (min(p, q), max(p, q)) not in match.state.apart), None)
            if near is not None:
                pairs.add((min(p, near), max(p, near)))
                at_risk |= {p, near}
    return pairs, at_risk


def _enforce_facts(match: _Match) -> None:
    """Not-persons have the last word, as pins had the first: only faces without one are ever given away."""
    state = match.state
    rows, people = state.not_person[:, 0], state.not_person[:, 1]
    violated = (match.after[rows] == people) & (state.pin[rows] != people)
    match.after[rows[violated]] = -1


def _plan(
    faces: FaceSet,
    strength: NDArray[np.float32],
    snapshot: PeopleSnapshot,
    match: _Match,
    pairs: Iterable[tuple[int, int]],
    at_risk: set[int],
    params: Mapping[str, object],
    author: str,
) -> Plan:
    state = match.state
    people, after, number = _named_groups(faces, snapshot, match)
    names = [snapshot.people.get(p, Person(p)).name for p in people]
    lines = lines_of(people, names, state.owner, after)
    questions = _questions(match, [(number[a], number[b]) for a, b in pairs], people, after)
    return Plan(
        draw_up=partial(_change, faces, snapshot, state),
        params=params,
        author=author,
        people=people,
        before=state.owner,
        after=after,
        label=match.label,
        strength=strength,
        lines=lines,
        questions=questions,
        names_at_risk=tuple(people[p] for p in sorted(number[p] for p in at_risk) if names[p]),
        gauges={},
    )


def _change(faces: FaceSet, snapshot: PeopleSnapshot, state: RowState, plan: Plan) -> ChangeSet:
    people = plan.people
    owner: list[PersonId | None] = [people[p] if p >= 0 else None for p in plan.after.tolist()]
    run = Run(
        id=_run_id(faces, plan.params, owner, plan.label, plan.questions),
        params=dict(plan.params),
        fingerprint=faces.fingerprint,
        faces=faces.ids,
        owner=tuple(owner),
        label=plan.label,
        strength=plan.strength,
        questions=plan.questions,
    )
    draft = Draft(snapshot)
    has_faces = set(np.unique(plan.after[plan.after >= 0]).tolist())
    for i, person in enumerate(people):
        if i in has_faces:
            draft.set("person", person, "1")
        elif i < len(state.people) and not state.is_protected[i]:
            draft.set("person", person, None)  # nobody said anything about them, and nothing is left of them
    draft.set("live_run", "", run.id)
    found = sum(line.after > 0 for line in plan.lines)
    return draft.change(plan.author, f"Published {found:,} people, {int((plan.after >= 0).sum()):,} faces", run)


def _named_groups(
    faces: FaceSet, snapshot: PeopleSnapshot, match: _Match
) -> tuple[tuple[PersonId, ...], NDArray[np.int32], dict[int, int]]:
    """Give ids to new groups, in the order of their first faces, and leave out those that came to nothing."""
    n = len(match.state.people)
    people = list(match.state.people)
    taken: set[str] = set(snapshot.people)
    after = match.after.copy()
    groups, first = np.unique(match.after[match.after >= n], return_index=True)
    rows = np.flatnonzero(match.after >= n)[first]
    number = {p: p for p in range(n)}
    for group, row in sorted(zip(groups.tolist(), rows.tolist(), strict=True), key=lambda pair: pair[1]):
        person = person_id(faces.ids[row], taken)
        taken.add(person)
        number[group] = len(people)
        people.append(person)
    lookup = np.arange(max(match.n_people, n) + 1, dtype=np.int32)
    for group, new in number.items():
        lookup[group] = new
    after = np.where(after >= 0, lookup[after], -1).astype(np.int32)
    return tuple(people), after, number


def _questions(
    match: _Match, pairs: Iterable[tuple[int, int]], people: Sequence[PersonId], after: NDArray[np.int32]
) -> tuple[Question, ...]:
    size = np.bincount(after[after >= 0], minlength=len(people))
    found = [Question("keep", people[p], None, len(rows)) for p, rows in match.keeps.items()]
    for pair in pairs:
        larger, smaller = sorted(pair, key=lambda p: (-size[p], people[p]))
        found.append(Question("same", people[larger], people[smaller], int(size[smaller])))
    return tuple(sorted(found, key=lambda q: (-q.n_faces, q.id)))


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
