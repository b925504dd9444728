"""What is doubtful in a library, in numbers: people who are alike, faces unlike their own person, people of two halves.

Everything is a mean cosine over all pairs of faces of two groups, the measure by which `clustering.refine` joins them,
turned into a chance that the two groups are one person. What one answer changes is reckoned anew, and nothing else:
at 100,000 faces all of it takes seconds, and a curator answers every second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import impossible_pair_rows
from facecluster.model import BLURRED, PersonId
from facecluster.tally import stable_order
from facecluster.view import View

# Mean cosine at which two large groups are one person as often as not, how quickly that becomes sure, and how much more
# small groups need. On made-up albums and crowds, 3 of 100 pairs of groups at 0.20 were one person, 95 of 100 at 0.36.
MIDDLE = 0.28
_WIDTH = 0.025
SMALL = 0.16
# The same for the most alike pair of faces: a person at two ages is unlike on average, and alike in one pair.
_BEST_MIDDLE = 0.46
_BEST_WIDTH = 0.03
# Less alike than this is somebody else: neither a person nor a face is asked about.
_LEAST = 0.20
# A face more like its person than this is not looked at, nor is a person as much like themself torn into halves.
_AT_HOME = 0.45
_WHOLE = 0.50
# What is less likely to be so is not worth an answer.
LEAST_CHANCE = 0.10
# What is said of people without asking is so in most cases.
LIKELIER_THAN_NOT = 0.5
# Halves that matter have at least a tenth of a person's faces, and so many.
_TENTH = 0.1
_FEWEST = 3
_ROUNDS = 8
_BLOCK = 1024
# Where more people than this share are touched, beginning anew is quicker.
_ANEW = 0.25


def matters(n_faces: int) -> float:
    """How many of a person's faces are more than a few strays: a tenth, and at least three."""
    return max(_FEWEST, _TENTH * n_faces)


def logistic(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """From 0 to 1, one half at 0."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0))), np.float64)


def chances_of_one(likeness: NDArray[np.float32], n_faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """How likely two groups of faces are one person, by their mean cosine and how many faces they have together."""
    return logistic((likeness - MIDDLE - SMALL / np.maximum(n_faces, 1)) / _WIDTH)


def chance_of_one(likeness: float, n_faces: int) -> float:
    """`chances_of_one` for one pair of groups: an array of one number takes ten times as long, thousands of times."""
    return 1.0 / (1.0 + math.exp(min((MIDDLE + SMALL / max(n_faces, 1) - likeness) / _WIDTH, 30.0)))


def chance_by_best(likeness: float) -> float:
    """How likely two people are one, by the cosine of their most alike faces."""
    return 1.0 / (1.0 + math.exp(min((_BEST_MIDDLE - likeness) / _BEST_WIDTH, 30.0)))


@dataclass(frozen=True)
class Pair:
    """Two people who are alike: mean cosine, cosine of their most alike faces, photos that both are in."""

    likeness: float
    best: float
    together: int

    def chance(self, n_faces: int) -> float:
        """How likely they are one person."""
        return max(chance_of_one(self.likeness, n_faces), chance_by_best(self.best))


@dataclass(frozen=True, eq=False)
class Halves:
    """A person who falls into two: rows that would keep the name, rows that would leave, and their mean cosine.

    Those most like their own half come first.
    """

    stays: NDArray[np.int64]
    leaves: NDArray[np.int64]
    likeness: float

    @property
    def chance(self) -> float:
        """How likely they are two people."""
        return 1.0 - chance_of_one(self.likeness, len(self.stays) + len(self.leaves))


@dataclass(frozen=True, eq=False)
class Doubts:
    """The doubts of one moment.

    Attributes
    ----------
    view : View
        The moment.
    centre : NDArray[np.float32]
        Shape (n_people, dimension): mean of a person's faces; zero where there are none.
    own : NDArray[np.float32]
        Shape (n_faces,): mean cosine of a face with the others of its person; 1 where there are no others.
    rival : NDArray[np.int32]
        Shape (n_faces,): of faces that are nobody's, or unlike their person, the person (else) they are most like; -1
        for none. Nobody of whom the curator said that they are not it, nor who is in the photo already.
    likeness : NDArray[np.float32]
        Shape (n_faces,): mean cosine with the rival, 0 for none.
    clashes : NDArray[np.bool_]
        Shape (n_faces,): unconfirmed, and another face of the same photo, more like the person, is theirs too.
    pairs : Mapping[tuple[PersonId, PersonId], Pair]
        People who may be one, ids ascending.
    halves : Mapping[PersonId, Halves]
        People who fall into two.
    """

    view: View
    centre: NDArray[np.float32]
    own: NDArray[np.float32]
    rival: NDArray[np.int32]
    likeness: NDArray[np.float32]
    clashes: NDArray[np.bool_]
    pairs: Mapping[tuple[PersonId, PersonId], Pair]
    halves: Mapping[PersonId, Halves]


def loose(view: View) -> NDArray[np.bool_]:
    """Shape (n_faces,): faces that are nobody's, and sharp enough to be somebody's."""
    return np.asarray((view.state.owner < 0) & ~view.state.is_masked & (view.label != BLURRED))


def doubts_of(view: View) -> Doubts:
    """Everything that is doubtful, reckoned from the beginning."""
    n, n_people = len(view.faces), len(view.state.people)
    nothing = Doubts(
        view,
        np.zeros((n_people, view.faces.vectors.shape[1]), np.float32),
        np.ones(n, np.float32),
        np.full(n, -1, np.int32),
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
        {},
        {},
    )
    return _renewed(view, nothing, np.arange(n_people), np.ones(n, np.bool_))


def doubts_after(old: Doubts, view: View) -> Doubts:
    """The same for a later moment, from what was known: only whoever something changed about is looked at."""
    if view.faces is not old.view.faces:
        return doubts_of(view)
    number = view.state.numbers_since(old.view.state)
    changed = _changed_rows(old.view, view, number)
    if view.state.people == old.view.state.people and not changed.any():
        return replace(old, view=view)
    touched = view.state.touched(old.view.state, changed)
    if len(touched) > _ANEW * len(view.state.people):
        return doubts_of(view)
    centre = np.zeros((len(view.state.people), old.centre.shape[1]), np.float32)
    there = number[:-1] >= 0
    centre[number[:-1][there]] = old.centre[there]
    rival = number[old.rival]
    changed |= (old.rival >= 0) & (rival < 0)  # whom they were most like is gone
    changed_people = {view.state.people[p] for p in touched}
    known = view.number.keys() - changed_people
    kept = Doubts(
        view,
        centre,
        old.own.copy(),
        rival,
        old.likeness.copy(),
        old.clashes.copy(),
        {pair: found for pair, found in old.pairs.items() if known.issuperset(pair)},
        {person: found for person, found in old.halves.items() if person in known},
    )
    return _renewed(view, kept, touched, changed)


def _changed_rows(before: View, now: View, number: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Faces of which something is said, or not said, that was not, or was; people counted as they are now."""
    a, b = before.state, now.state
    changed = (number[a.owner] != b.owner) | (number[a.pin] != b.pin) | (loose(before) != loose(now))
    width = len(b.people) + 1
    said_a = a.not_person[:, 0].astype(np.int64) * width + number[a.not_person[:, 1]]
    said_b = b.not_person[:, 0].astype(np.int64) * width + b.not_person[:, 1]
    changed[np.setxor1d(said_a, said_b) // width] = True
    return np.asarray(changed)


def _renewed(view: View, kept: Doubts, touched: NDArray[np.int64], changed: NDArray[np.bool_]) -> Doubts:
    """Fill in what concerns the `touched` people (numbers) and the `changed` faces; `kept` is written into."""
    kept.own[view.state.owner < 0] = 1.0
    for p in touched.tolist():
        _look_at_person(view, kept, p)
    _mark_clashes(view, kept, touched)
    watched = loose(view) | ((view.state.owner >= 0) & (view.state.pin < 0) & (kept.own < _AT_HOME))
    _find_rivals(view, kept, touched, changed, watched)
    halves = dict(kept.halves)
    for p in touched.tolist():
        rows = _rows(view, p)
        found = _halves(view, rows, kept.centre[p], kept.own[rows])
        if found is not None:
            halves[view.state.people[p]] = found
    pairs = {**kept.pairs, **_pairs(view, kept.centre, touched)}
    return Doubts(view, kept.centre, kept.own, kept.rival, kept.likeness, kept.clashes, pairs, halves)


def _vectors(view: View) -> NDArray[np.float32]:
    # Of a memory map every slice is a memory map again, which costs more than the few rows in it.
    return view.faces.vectors.view(np.ndarray)


def _rows(view: View, number: int) -> NDArray[np.int64]:
    return view.rows(view.state.people[number])


def _look_at_person(view: View, kept: Doubts, p: int) -> None:
    rows = _rows(view, p)
    if not len(rows):
        kept.centre[p] = 0.0
        return
    own = _vectors(view)[rows]
    kept.centre[p] = own.mean(axis=0)
    kept.own[rows] = _likeness(own, kept.centre[p])


def _likeness(own: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean cosine of each of a person's faces with the others; 1 where there are no others."""
    n = len(own)
    return np.asarray((n * (own @ centre) - 1.0) / (n - 1) if n > 1 else np.ones(n), np.float32)


def _mark_clashes(view: View, kept: Doubts, touched: NDArray[np.int64]) -> None:
    """Of two faces of one photo in one person, the one that is less like the rest, unless it is confirmed."""
    owner, pin = view.state.owner, view.state.pin
    is_theirs = np.isin(owner, touched)
    kept.clashes[is_theirs | (owner < 0)] = False
    pairs = impossible_pair_rows(np.where(is_theirs, owner, -1).astype(np.int32), view.faces.photo_number)
    for a, b in pairs.tolist():
        doubtful = max((pin[a] < 0, -float(kept.own[a]), a), (pin[b] < 0, -float(kept.own[b]), b))[2]
        kept.clashes[doubtful] = pin[doubtful] < 0


def _find_rivals(
    view: View,
    kept: Doubts,
    touched: NDArray[np.int64],
    changed: NDArray[np.bool_],
    watched: NDArray[np.bool_],
) -> None:
    """Whom each watched face is most like, looked for again where that may be somebody else by now."""
    vectors = _vectors(view)
    again = changed | np.isin(kept.rival, touched) | (np.isin(view.state.owner, touched))
    if len(touched) < len(view.state.people):
        nearer = (vectors @ kept.centre[touched].T).max(axis=1, initial=0.0)
        again |= nearer >= np.maximum(kept.likeness, _LEAST)
    kept.rival[~watched] = -1
    kept.likeness[~watched] = 0.0
    rows = np.flatnonzero(watched & again) if len(kept.centre) else np.empty(0, np.int64)
    face, person = _barred(view, rows)
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        score = vectors[some] @ kept.centre.T
        here = slice(*np.searchsorted(face, [start, start + len(some)]))
        score[face[here] - start, person[here]] = -1.0
        best = score.argmax(axis=1)
        likeness = score[np.arange(len(some)), best]
        kept.rival[some] = np.where(likeness >= _LEAST, best, -1)
        kept.likeness[some] = np.where(likeness >= _LEAST, likeness, 0.0)


def _barred(view: View, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places in `rows` and the people those faces cannot be: their own, those ruled out, whoever is in their photo."""
    state, photo = view.state, view.faces.photo_number
    place = np.full(len(photo), -1, np.int64)
    place[rows] = np.arange(len(rows))
    owned = np.flatnonzero(state.owner[rows] >= 0)
    ruled_out = state.not_person[place[state.not_person[:, 0]] >= 0]
    in_photos = np.flatnonzero((state.owner >= 0) & (photo >= 0))
    in_photos = in_photos[stable_order(photo[in_photos])]
    start, stop = (np.searchsorted(photo[in_photos], photo[rows], side) for side in ("left", "right"))
    count = np.where(photo[rows] >= 0, stop - start, 0)
    offset = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    mates = in_photos[np.repeat(start, count) + offset]
    face = np.concatenate([owned, place[ruled_out[:, 0]], np.repeat(np.arange(len(rows)), count)])
    person = np.concatenate([state.owner[rows[owned]], ruled_out[:, 1], state.owner[mates]]).astype(np.int64)
    order = stable_order(face)
    return face[order], person[order]


def halves_of(view: View, person: PersonId) -> Halves | None:
    """How one person falls into two, as in `Doubts.halves`, without looking at anybody else."""
    rows = view.rows(person)
    if len(rows) < 2 * _FEWEST:
        return None
    own = _vectors(view)[rows]
    centre = own.mean(axis=0)
    return _halves(view, rows, centre, _likeness(own, centre))


def _halves(
    view: View, rows: NDArray[np.int64], centre: NDArray[np.float32], likeness: NDArray[np.float32]
) -> Halves | None:
    """How a person falls into two, by two centres; None where they do not, or where both halves are confirmed."""
    if len(rows) < 2 * _FEWEST or float(likeness.mean()) >= _WHOLE:
        return None
    own = _vectors(view)[rows]
    first = int((own @ centre).argmin())
    seeds = own[[first, int((own @ own[first]).argmin())]]
    is_second = own @ seeds[1] > own @ seeds[0]
    for _ in range(_ROUNDS):
        if not 0 < is_second.sum() < len(rows):
            return None
        middles = np.stack([own[~is_second].mean(axis=0), own[is_second].mean(axis=0)])
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        nearer = own @ middles[1] > own @ middles[0]
        if np.array_equal(nearer, is_second):
            break
        is_second = nearer
    pinned = view.state.pin[rows] >= 0
    n_second = int(is_second.sum())
    if min(n_second, len(rows) - n_second) < matters(len(rows)):
        return None
    if pinned[is_second].any() and pinned[~is_second].any():
        return None  # confirmed together: the curator has said that they are one
    if (pinned[is_second].any(), n_second) > (pinned[~is_second].any(), len(rows) - n_second):
        is_second = ~is_second
    stays, leaves = own[~is_second].mean(axis=0), own[is_second].mean(axis=0)
    return Halves(
        rows[~is_second][np.argsort(-(own[~is_second] @ stays), kind="stable")],
        rows[is_second][np.argsort(-(own[is_second] @ leaves), kind="stable")],
        float(stays @ leaves),
    )


def _pairs(
    view: View, centre: NDArray[np.float32], touched: NDArray[np.int64]
) -> dict[tuple[PersonId, PersonId], Pair]:
    """The people who may be one, of whom at least one is touched."""
    found: dict[tuple[PersonId, PersonId], Pair] = {}
    everyone, vectors = view.state.people, _vectors(view)
    for start in range(0, len(touched), _BLOCK):
        some = touched[start : start + _BLOCK]
        score = centre[some] @ centre.T
        for i, q in np.argwhere(score >= _LEAST).tolist():
            p = int(some[i])
            a, b = (p, q) if everyone[p] < everyone[q] else (q, p)
            if p != q and (everyone[a], everyone[b]) not in found:
                of_a, of_b = _rows(view, a), _rows(view, b)
                best = float((vectors[of_a] @ vectors[of_b].T).max())
                alike = Pair(float(score[i, q]), best, n_together(view, of_a, of_b))
                if alike.chance(len(of_a) + len(of_b)) >= LEAST_CHANCE:
                    found[everyone[a], everyone[b]] = alike
    return found


def n_together(view: View, some: Iterable[int], others: Iterable[int]) -> int:
    """Photos that hold a face of both groups of rows; unknown photos are none."""
    photo = view.faces.photo_number
    both = np.intersect1d(photo[np.asarray(some)], photo[np.asarray(others)])
    return int((both >= 0).sum())
