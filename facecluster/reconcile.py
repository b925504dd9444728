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
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering import NOISE
from facecluster.decisions import Draft, person_id
from facecluster.model import BLURRED, ChangeSet, FaceSet, PeopleSnapshot, PersonId, Question, Run
from facecluster.plan import CRUMB, Lines, Plan, names_of
from facecluster.row_state import RowState
from facecluster.tally import Pairs, Tally, count, distinct, pairs_of


@dataclass
class _Match:
    """The work in progress: person numbers >= n_people are groups that become new people."""

    state: RowState
    label: NDArray[np.int32]
    tally: Tally
    total: NDArray[np.int64]  # faces of each person that are here: neither blurred nor fallen out of the clusters
    size: NDArray[np.int64]  # faces of each cluster
    owned: NDArray[np.int64]  # those of them that somebody owns
    keeps: NDArray[np.int32]  # rows that fell out of the clusters, and stay with their owners until asked
    after: NDArray[np.int32]
    n_people: int
    residents: Pairs
    heirs: NDArray[np.int64]  # of each cluster, -1 for none
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
    outcome = count(label, match.after, match.n_people)
    pairs, at_risk = _open_questions(match, outcome)
    return _plan(faces, strength, snapshot, match, pairs, at_risk, params, author)


def _settle(state: RowState, label: NDArray[np.int32]) -> _Match:
    """Give every face to somebody."""
    n_people, n_clusters = len(state.people), int(label.max(initial=-1)) + 1
    tally = count(label, state.owner, n_people)
    is_here = (state.owner >= 0) & ((label >= 0) | ((label == NOISE) & (state.pin >= 0)))
    keeps = _fallen(state, label)
    pins = np.flatnonzero((state.pin >= 0) & (label >= 0))
    at_home = np.flatnonzero(state.is_protected & (tally.home[:-1] >= 0))
    lives = np.concatenate([label[pins], tally.home[at_home]]), np.concatenate([state.pin[pins], at_home])
    match = _Match(
        state=state,
        label=label,
        tally=tally,
        total=np.bincount(np.append(state.owner[is_here], state.owner[keeps]), minlength=n_people),
        size=np.bincount(label[label >= 0], minlength=n_clusters),
        owned=np.bincount(label[(label >= 0) & (state.owner >= 0)], minlength=n_clusters),
        keeps=keeps,
        after=np.where(state.is_masked, -1, state.pin).astype(np.int32),
        n_people=n_people,
        residents=pairs_of(*lives, n_people),
        heirs=np.full(n_clusters, -1),
        parts=[],
    )
    match.after[keeps] = state.owner[keeps]
    _choose_heirs(match, pairs_of(label[pins], state.pin[pins], n_people).lone(n_clusters))
    _keep_residents(match)
    _settle_parts(match)
    _settle_rest(match)
    _enforce_facts(match)
    return match


def _fallen(state: RowState, label: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rows that no cluster holds, of protected people who would lose more than half by it or were asked about it."""
    n = len(state.people)
    is_asked = np.zeros(n, np.bool_)
    is_asked[[_number(state, q.person) for q in state.keeps]] = True
    unpinned = (state.owner >= 0) & (state.pin < 0)
    here = np.bincount(state.owner[(state.owner >= 0) & (label != BLURRED)], minlength=n)
    fallen = np.bincount(state.owner[unpinned & (label == NOISE)], minlength=n)
    stays = state.is_protected & (is_asked | (2 * fallen > here))
    # Blurred faces stay only where there is nothing else of the person.
    stays_blurred = state.is_protected & (here == 0)
    rows = np.flatnonzero(unpinned & (label < 0)).astype(np.int32)
    people = state.owner[rows]
    return rows[np.where(label[rows] == BLURRED, stays_blurred[people], stays[people])]


def _number(state: RowState, person: PersonId) -> int:
    return bisect_left(state.people, person)


def _choose_heirs(match: _Match, pinned: NDArray[np.int64]) -> None:
    """Who takes the faces of a cluster that no resident owns; nobody yet where a new or unprotected person does.

    `pinned` is the only person with pinned faces in each cluster, -1 for several or none.
    """
    clusters, owned, tally = np.arange(len(match.owned)), match.owned, match.tally
    sure = _sure(match)
    claims = (pinned >= 0) & ((sure < 0) | (sure == pinned) | (2 * tally.n_of(clusters, pinned) >= owned))
    stays = _stays_home(match, pinned)
    match.heirs = np.where(claims & stays, pinned, sure)
    asks = claims & ~stays
    match.parts += [(p, c, -1) for p, c in zip(pinned[asks].tolist(), clusters[asks].tolist(), strict=True)]
    only = match.residents.lone(len(owned))
    has_most = (2 * tally.n_of(clusters, only) > owned) & _stays_home(match, only)
    match.heirs = np.where((match.heirs < 0) & has_most, only, match.heirs)


def _sure(match: _Match) -> NDArray[np.int64]:
    """For each cluster who agrees by both halves; both are strict majorities, so no person stands twice."""
    tally = match.tally
    agrees = (2 * tally.n > match.total[tally.person]) & (2 * tally.n > match.owned[tally.cluster])
    found = np.full(len(match.owned), -1)
    found[tally.cluster[agrees]] = tally.person[agrees]
    return found


def _stays_home(match: _Match, person: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each cluster whether a resident has most faces at home also as its heir.

    Else the next plan would see them at home here, and take away the faces that bear the name today.
    """
    tally, clusters = match.tally, np.arange(len(person))
    home = tally.home[person]
    living = match.residents.cluster, tally.n_of(match.residents.cluster, match.residents.person)
    others = np.bincount(*living, minlength=len(person)) - tally.n_of(clusters, person)
    stays: NDArray[np.bool_] = (home == clusters) | (match.size - others < tally.n_of(home, person))
    return stays


def _keep_residents(match: _Match) -> None:
    """Residents and heirs keep the faces they have in a cluster."""
    tally = match.tally
    stays = _lives_there(match) | (match.heirs[tally.cluster] == tally.person)
    _give(match, np.where(stays, tally.person, -1))


def _lives_there(match: _Match) -> NDArray[np.bool_]:
    return match.residents.where(match.tally.cluster, match.tally.person) >= 0


def _settle_parts(match: _Match) -> None:
    """Parts of at least a tenth that leave: to a new person where somebody else lives, else with the cluster."""
    tally = match.tally
    is_guest = match.state.is_protected[tally.person] & ~_lives_there(match)
    is_guest &= match.heirs[tally.cluster] != tally.person
    leaves = is_guest & (tally.n >= CRUMB * match.total[tally.person])
    is_lived_in = np.bincount(match.residents.cluster, minlength=len(match.owned)) > 0
    groups = np.flatnonzero(leaves & is_lived_in[tally.cluster])
    group = np.full(len(tally.n), -1)
    group[groups] = match.n_people + np.arange(len(groups))
    parts = (column[leaves].tolist() for column in (tally.person, tally.cluster, group))
    match.parts += zip(*parts, strict=True)
    _give(match, group)
    match.n_people += len(groups)


def _give(match: _Match, to: NDArray[np.int64]) -> None:
    """Hand the faces of each pair of the tally to somebody, -1 for nobody yet."""
    rows = np.flatnonzero(_open_rows(match) & (match.tally.of_row >= 0))
    match.after[rows] = to[match.tally.of_row[rows]]


def _open_rows(match: _Match) -> NDArray[np.bool_]:
    return (match.label >= 0) & (match.after < 0) & ~match.state.is_masked


def _settle_rest(match: _Match) -> None:
    """Everything else in a cluster goes to its heir, the best matching unprotected person, or a new one."""
    rows = np.flatnonzero(_open_rows(match))
    is_waiting = (np.bincount(match.label[rows], minlength=len(match.heirs)) > 0) & (match.heirs < 0)
    match.heirs = np.where(is_waiting, _best_matches(match, is_waiting), match.heirs)
    new = np.flatnonzero(is_waiting & (match.heirs < 0))
    match.heirs[new] = match.n_people + np.arange(len(new))
    match.n_people += len(new)
    heir = match.heirs[match.label[rows]]
    heir[_is_turned_away(match)[rows] & (match.state.owner[rows] != heir)] = -1
    match.after[rows] = heir


def _is_turned_away(match: _Match) -> NDArray[np.bool_]:
    """Faces that are not a resident who is not the heir: their cluster lies about them, so about the heir too."""
    rows, people = match.state.not_person.T
    residents = match.residents
    others = Pairs(residents.keys[match.heirs[residents.cluster] != residents.person], residents.width)
    refused = np.zeros(len(match.label), np.bool_)
    refused[rows[others.where(match.label[rows], people) >= 0]] = True
    return refused


def _best_matches(match: _Match, is_waiting: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Largest total overlap between clusters and unprotected people, one to one; -1 where nobody matches."""
    tally, n_clusters = match.tally, len(is_waiting)
    is_taken = np.append(match.state.is_protected, False)  # nobody's place (-1) last
    is_taken[match.heirs] = True
    edges = is_waiting[tally.cluster] & ~is_taken[tally.person]
    cluster, person, n = tally.cluster[edges], tally.person[edges], tally.n[edges]
    found = np.full(n_clusters, -1)
    if not len(n):
        return found
    size = n_clusters + tally.width
    graph = coo_array((np.ones(len(n)), (cluster, n_clusters + person)), (size, size))
    # Independent pieces are small; the assignment of the whole would be cubic in the number of people.
    n_pieces, piece = connected_components(graph, directed=False)
    piece = piece[cluster]
    is_single = np.bincount(piece, minlength=n_pieces)[piece] == 1
    found[cluster[is_single]] = person[is_single]
    order = np.flatnonzero(~is_single)
    order = order[np.argsort(piece[order], kind="stable")]
    for some in np.split(order, np.flatnonzero(np.diff(piece[order])) + 1):
        clusters, row = np.unique(cluster[some], return_inverse=True)
        people, column = np.unique(person[some], return_inverse=True)
        gain = np.zeros((len(clusters), len(people)), np.int64)
        gain[row, column] = n[some]
        row, column = linear_sum_assignment(gain, maximize=True)
        row, column = row[gain[row, column] > 0], column[gain[row, column] > 0]
        found[clusters[row]] = people[column]
    return found


def _open_questions(match: _Match, outcome: Tally) -> tuple[set[tuple[int, int]], set[int]]:
    """Pairs (ascending) to ask about, and whoever is at risk."""
    state = match.state
    is_present = np.bincount(match.after[match.after >= 0], minlength=match.n_people) > 0
    asked = {(_number(state, q.person), _number(state, q.other)) for q in state.questions if q.other is not None}
    for person, cluster, group in match.parts:
        asked.add((person, group if group >= 0 else int(match.heirs[cluster])))
    pairs = {
        (min(a, b), max(a, b)) for a, b in asked if a != b and min(a, b) >= 0 and is_present[a] and is_present[b]
    } - state.apart
    groups = {group for _, _, group in match.parts if group >= 0}
    met, at_risk = _meetings(match, outcome, groups.union(*pairs))
    return pairs | met, at_risk.union(state.owner[match.keeps].tolist())


def _meetings(match: _Match, outcome: Tally, asked: set[int]) -> tuple[set[tuple[int, int]], set[int]]:
    """People who live in one cluster: are they one? Each is asked about with the first not known to be another.

    The first are those with a name, then those with most faces: Anna and Bert, not each of them and a heap of others.
    """
    n_new = match.n_people - len(match.state.people)
    is_named, is_protected = (np.pad(one, (0, n_new)) for one in (match.state.is_named, match.state.is_protected))
    is_asked = is_protected.copy()
    is_asked[list(asked)] = True
    at_home = outcome.where(outcome.home[:-1], np.arange(match.n_people))
    at_home = at_home[is_asked & (at_home >= 0)]
    clusters = distinct(outcome.cluster[at_home])
    # New here, or nobody that the curator knows: unasked, the heir would be swallowed at the next plan.
    heirs = match.heirs[clusters]
    heirs = outcome.where(clusters, np.where(np.append(is_protected, True)[heirs], -1, heirs))
    by_size = np.lexsort((outcome.first, -outcome.n, outcome.cluster))
    largest = by_size[np.searchsorted(outcome.cluster, clusters)]
    met = distinct(np.concatenate([at_home, heirs[heirs >= 0], largest]))
    met = met[np.bincount(outcome.cluster[met])[outcome.cluster[met]] > 1]
    is_unnamed = ~is_named[outcome.person[met]]
    met = met[np.lexsort((outcome.first[met], -outcome.n[met], is_unnamed, outcome.cluster[met]))]
    pairs: set[tuple[int, int]] = set()
    at_risk: set[int] = set()
    in_turn = zip(outcome.cluster[met].tolist(), outcome.person[met].tolist(), strict=True)
    for _, some in groupby(in_turn, key=itemgetter(0)):
        people = [p for _, p in some]
        for i, p in enumerate(people):
            near = next((q for q in people[:i] if (min(p, q), max(p, q)) not in match.state.apart), None)
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
    people, number = _named_groups(faces, snapshot, match)
    after = number[match.after]
    names = names_of(people, snapshot)
    questions = _questions(match, number[np.array(list(pairs), np.int64).reshape(-1, 2)].tolist(), people, after)
    return Plan(
        draw_up=partial(_change, faces, state),
        snapshot=snapshot,
        params=params,
        author=author,
        people=people,
        before=state.owner,
        after=after,
        label=match.label,
        strength=strength,
        lines=Lines(people, names, state.owner, after),
        questions=questions,
        names_at_risk=tuple(people[p] for p in sorted(at_risk) if p < len(state.people) and names[p]),
        gauges={},
    )


def _change(faces: FaceSet, state: RowState, plan: Plan) -> ChangeSet:
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
    draft = Draft(plan.snapshot)
    has_faces = set(np.unique(plan.after[plan.after >= 0]).tolist())
    for i, person in enumerate(people):
        if i in has_faces:
            draft.set("person", person, "1")
        elif i < len(state.people) and not state.is_protected[i]:
            draft.set("person", person, None)  # nobody said anything about them, and nothing is left of them
    draft.set("live_run", "", run.id)
    return draft.change(
        plan.author, f"Published {len(has_faces):,} people, {int((plan.after >= 0).sum()):,} faces", run
    )


def _named_groups(
    faces: FaceSet, snapshot: PeopleSnapshot, match: _Match
) -> tuple[tuple[PersonId, ...], NDArray[np.int32]]:
    """Give ids to new groups, in the order of their first faces, and leave out those that came to nothing.

    Returns everybody, and the new number of each number of the match; that of nobody (-1) comes last.
    """
    n = len(match.state.people)
    rows = np.flatnonzero(match.after >= n)
    first = np.full(match.n_people - n, len(match.after))
    np.minimum.at(first, match.after[rows] - n, rows)
    groups = np.argsort(first)[: np.count_nonzero(first < len(match.after))]
    people = list(match.state.people)
    taken: set[str] = set(snapshot.people)
    for row in first[groups].tolist():
        person = person_id(faces.ids[row], taken)
        taken.add(person)
        people.append(person)
    number = np.append(np.arange(match.n_people), -1).astype(np.int32)
    number[n + groups] = n + np.arange(len(groups))
    return tuple(people), number


def _questions(
    match: _Match, pairs: Iterable[Sequence[int]], people: Sequence[PersonId], after: NDArray[np.int32]
) -> tuple[Question, ...]:
    size = np.bincount(after[after >= 0], minlength=len(people))
    kept, n_kept = np.unique(match.state.owner[match.keeps], return_counts=True)
    found = [Question("keep", people[p], None, n) for p, n in zip(kept.tolist(), n_kept.tolist(), strict=True)]
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
