"""The faces that are nobody's as a curator works through them: by nearest person, and by likeness among themselves.

| section | its faces |
|---|---|
| person | nearest to that person, and likely theirs, or at least near enough to be looked at |
| alike | nobody's likely, and alike among themselves |
| nobody | near nobody, and unlike each other |
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering.alike import SAME_PERSON
from facecluster.clustering.alike import SMALL as SMALL_GROUP
from facecluster.clustering.leftover import Group, Law, alike_groups, alike_pairs, listed_pairs
from facecluster.doubts import MIDDLE, SMALL
from facecluster.loose import LooseFaces
from facecluster.model import FaceId, PersonId
from facecluster.tally import stable_order
from facecluster.view import View

# Two groups become one where they are one person as often as not, by what Review asks by: 0.02 below where the second
# layer makes people. Of 40,000 faces that it left of a made-up crowd, 6,600 pairs are one person in 995 of 1,000 cases,
# and 43 groups of three in 24; at 0.26 it is one of three.
LAW = Law(MIDDLE, SMALL)
# Nearer than this to a face of somebody, a face may be theirs. Of the same faces, the nearest person was the right one
# for 3 of 1,000 below, and for 70 of 1,000 from here to 0.40.
NEAR = 0.35
# A score up to this many times the threshold is nearly blurred.
NEARLY = 1.5
# Where more faces than this share are new, beginning anew is quicker.
_ANEW = 0.25

_Key = tuple[bytes, bytes]


@dataclass(frozen=True, eq=False)
class Section:
    """Faces that can be answered together.

    Attributes
    ----------
    id : str
        The same while it is about the same: the person, or the group's first face.
    faces : LooseFaces
        The most alike first.
    likeness : NDArray[np.float64]
        Cosine of each face with the nearest face of the person; mean cosine with the others where they are "alike".
    cut : float | None
        Likeness from which on a face is likely to be where the section would put it; None where nowhere.
    """

    id: str
    kind: Literal["person", "alike", "nobody"]
    person: PersonId | None
    faces: LooseFaces
    likeness: NDArray[np.float64]
    cut: float | None

    @property
    def ids(self) -> list[FaceId]:
        """Ids of its faces."""
        return self.faces.ids

    @property
    def likely(self) -> list[FaceId]:
        """The faces that are likely that person's."""
        cut = self.cut if self.kind == "person" and self.cut is not None else np.inf
        return self.faces.take(self.likeness >= cut).ids

    def first(self, n_faces: int) -> Section:
        """The same about no more than so many faces."""
        return replace(self, faces=self.faces[:n_faces], likeness=self.likeness[:n_faces])


@dataclass(frozen=True, eq=False)
class Sections(Sequence[Section]):
    """Sections in the order in which they are drawn, as columns; one is made when it is looked at.

    Attributes
    ----------
    faces : LooseFaces
        Of all sections, one after the other.
    likeness : NDArray[np.float64]
        Shape (n_faces,).
    ends : NDArray[np.int64]
        Shape (n_sections + 1,): where each begins and the last one ends.
    cut : NDArray[np.float64]
        Shape (n_sections,): as of a `Section`; NaN for none.
    is_alike : NDArray[np.bool_]
        Shape (n_sections,): whether it is a group, and not about a person or nobody.
    """

    faces: LooseFaces
    likeness: NDArray[np.float64]
    ends: NDArray[np.int64]
    cut: NDArray[np.float64]
    is_alike: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.cut)

    @overload
    def __getitem__(self, at: int) -> Section: ...
    @overload
    def __getitem__(self, at: slice) -> list[Section]: ...
    def __getitem__(self, at: int | slice) -> Section | list[Section]:
        if isinstance(at, slice):
            return [self[i] for i in range(len(self))[at]]
        i = range(len(self))[at]
        some = slice(int(self.ends[i]), int(self.ends[i + 1]))
        faces, likeness = self.faces[some], self.likeness[some]
        cut = None if np.isnan(self.cut[i]) else float(self.cut[i])
        if self.is_alike[i]:
            return Section(f"alike-{faces.all_ids[faces.rows.min()]}", "alike", None, faces, likeness, cut)
        if cut is None:
            return Section("nobody", "nobody", None, faces, likeness, None)
        person = faces.people[faces.person[0]]
        return Section(person, "person", person, faces, likeness, cut)

    @property
    def n_likely(self) -> NDArray[np.int64]:
        """Shape (n_sections,): faces that are likely that person's."""
        cut = np.where(self.is_alike | np.isnan(self.cut), np.inf, self.cut)
        is_likely = self.likeness >= np.repeat(cut, np.diff(self.ends))
        return np.asarray(np.add.reduceat(is_likely.astype(np.int64), self.ends[:-1]))

    def take(self, order: NDArray[np.int64]) -> Sections:
        """Some sections, in another order."""
        size = np.diff(self.ends)[order]
        ends = np.concatenate([[0], np.cumsum(size)])
        at = np.arange(ends[-1]) + np.repeat(self.ends[:-1][order] - ends[:-1], size)
        return Sections(self.faces.take(at), self.likeness[at], ends, self.cut[order], self.is_alike[order])


class Leftovers:
    """Which loose faces of a library are alike among themselves, kept from one act to the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view: View | None = None
        self._rows = np.empty(0, np.int64)
        self._pairs = np.empty((0, 2), np.int32)
        self._known: dict[_Key, tuple[Group, ...]] = {}
        self._groups: tuple[Group, ...] = ()

    def is_ready(self, view: View) -> bool:
        """Whether `groups` answers at once, or nearly so."""
        return self._view is not None and self._view.faces is view.faces

    def groups(self, view: View) -> tuple[Group, ...]:
        """Groups of the faces that are nobody's likely, the largest first."""
        with self._lock:
            if self._view is None or self._view.version_but_names != view.version_but_names:
                self._keep_pairs(view)
                self._keep_groups(view)
                self._view = view
            return self._groups

    def _keep_pairs(self, view: View) -> None:
        """Pairs of loose faces that are alike at all: only faces that are loose since are compared."""
        vectors, rows = view.faces.vectors.view(np.ndarray), view.noise_rows
        new = np.setdiff1d(rows, self._rows, assume_unique=True) if self.is_ready(view) else rows
        if len(new) > _ANEW * len(rows) or not self.is_ready(view):
            self._known = {}
            known = view.lists
            self._pairs = (
                alike_pairs(vectors, LAW.least, rows)
                if known is None
                else listed_pairs(vectors, LAW.least, rows, known.rows, known.rows[known.indices], known.distances)
            )
        else:
            still = np.zeros(len(view.faces), np.bool_)
            still[rows] = True
            still[new] = False
            old = self._pairs[still[self._pairs].all(axis=1)]
            among = alike_pairs(vectors, LAW.least, new)
            self._pairs = np.concatenate([old, among, alike_pairs(vectors, LAW.least, new, np.flatnonzero(still))])
        self._rows = rows

    def _keep_groups(self, view: View) -> None:
        """Groups of each part of the graph of pairs; most parts are as they were."""
        near, n = view.near_noise, len(view.faces)
        takes_part = np.zeros(n, np.bool_)
        takes_part[near.rows[near.cosine < view.usual_cosine]] = True
        pairs = self._pairs[takes_part[self._pairs].all(axis=1)]
        apart = view.state.different[takes_part[view.state.different].all(axis=1)]
        _, part = connected_components(coo_array((np.ones(len(pairs), np.bool_), tuple(pairs.T)), (n, n)), False)
        is_paired = np.zeros(n, np.bool_)
        is_paired[pairs] = True
        keys = _keys(np.flatnonzero(is_paired), apart, part)
        new = np.isin(part, [at for at, key in keys.items() if key not in self._known])
        made: dict[int, list[Group]] = {}
        for group in alike_groups(
            view.faces.vectors.view(np.ndarray), pairs[new[pairs[:, 0]]], view.faces.photo_number, apart, LAW
        ):
            made.setdefault(int(part[group.rows[0]]), []).append(group)
        self._known = {key: self._known.get(key, tuple(made.get(at, ()))) for at, key in keys.items()}
        groups = (group for some in self._known.values() for group in some)
        self._groups = tuple(sorted(groups, key=attrgetter("turn")))


def _keys(rows: NDArray[np.int64], apart: NDArray[np.int32], part: NDArray[np.int32]) -> dict[int, _Key]:
    """For each part of the graph of pairs what its groups depend on: its rows, and which of them are two people."""
    apart_in = {at: apart[part[apart[:, 0]] == at].tobytes() for at in np.unique(part[apart[:, 0]]).tolist()}
    rows = rows[stable_order(part[rows])]
    starts = np.flatnonzero(np.diff(part[rows], prepend=-1))
    return {
        at: (rows[low:high].tobytes(), apart_in.get(at, b""))
        for at, (low, high) in zip(part[rows[starts]].tolist(), pairwise([*starts.tolist(), len(rows)]), strict=True)
    }


def sections(view: View, groups: Sequence[Group], is_shown: NDArray[np.bool_] | None = None) -> Sections:
    """All loose faces, each in one section: those of which one answer settles most, other people, pairs, the rest.

    Parameters
    ----------
    is_shown : NDArray[np.bool_] | None
        Shape (n_faces,): faces that are to be there; None for all of them.
    """
    alike = alike_sections(view, groups, is_shown)
    is_grouped = np.zeros(len(view.faces), np.bool_)
    is_grouped[alike.faces.rows] = True
    rest = shown(view.noise, is_shown)
    rest = rest.take(~is_grouped[rest.rows])
    is_near = (rest.person >= 0) & (rest.cosine >= NEAR)
    near, lonely = person_sections(rest.take(is_near), view.usual_cosine), rest.take(~is_near)
    found = _joined(alike, near)
    return _joined(found.take(_order(found)), _one_section(lonely))


def _order(found: Sections) -> NDArray[np.int64]:
    """People and groups of which one answer settles most, people of whom it settles none, pairs."""
    size, n_likely = np.diff(found.ends), found.n_likely
    settled = np.where(found.is_alike, size, n_likely)
    turn = np.where(found.is_alike & (size == 2), 2, np.where(settled > 0, 0, 1))
    starts = found.ends[:-1]
    number = np.where(found.is_alike, np.minimum.reduceat(found.faces.rows, starts), found.faces.person[starts])
    return np.lexsort((number, ~found.is_alike, -found.likeness[starts], -settled, turn))


def _joined(one: Sections, other: Sections) -> Sections:
    columns = ("rows", "person", "near", "away", "cosine")
    both = [np.concatenate([getattr(one.faces, name), getattr(other.faces, name)]) for name in columns]
    return Sections(
        LooseFaces(one.faces.all_ids, one.faces.people, *both),
        np.concatenate([one.likeness, other.likeness]),
        np.concatenate([one.ends, one.ends[-1] + other.ends[1:]]),
        np.concatenate([one.cut, other.cut]),
        np.concatenate([one.is_alike, other.is_alike]),
    )


def _one_section(faces: LooseFaces) -> Sections:
    """All faces in one section, which is about nobody; none where there are no faces."""
    n = min(len(faces), 1)
    ends = np.array([0, len(faces)], np.int64)[: n + 1]
    return Sections(faces, faces.cosine, ends, np.full(n, np.nan), np.zeros(n, np.bool_))


def shown(faces: LooseFaces, is_shown: NDArray[np.bool_] | None) -> LooseFaces:
    """Those of some faces that are to be there, in the same order."""
    return faces if is_shown is None else faces.take(is_shown[faces.rows])


def person_sections(faces: LooseFaces, mark: float) -> Sections:
    """Some faces by nearest person, the person nearest to one of them first."""
    _, first, of = np.unique(faces.person, return_index=True, return_inverse=True)
    turn = np.empty_like(first)
    turn[np.argsort(first)] = np.arange(len(first))
    some = faces.take(stable_order(turn[of]))
    starts = np.flatnonzero(np.diff(some.person, prepend=-2))
    cut = np.where(some.person[starts] >= 0, mark, np.nan)
    return Sections(some, some.cosine, np.append(starts, len(some)), cut, np.zeros(len(starts), np.bool_))


def alike_sections(view: View, groups: Sequence[Group], is_shown: NDArray[np.bool_] | None = None) -> Sections:
    """A section for each group of which two faces or more are shown."""
    size = np.array([len(group.rows) for group in groups], np.int64)
    rows = np.concatenate([np.empty(0, np.int64), *(group.rows for group in groups)])
    likeness = np.concatenate([np.empty(0), *(group.likeness for group in groups)])
    of = np.repeat(np.arange(len(groups)), size)
    place = np.full(len(view.faces), -1, np.int64)
    some = shown(view.noise, is_shown)
    place[some.rows] = np.arange(len(some))
    is_there = place[rows] >= 0
    is_there &= np.bincount(of[is_there], minlength=len(groups))[of] > 1
    kept = np.flatnonzero(np.bincount(of[is_there], minlength=len(groups)))
    ends = np.append(np.searchsorted(of[is_there], kept), np.count_nonzero(is_there))
    cut = stays_from(size[kept])
    return Sections(some.take(place[rows[is_there]]), likeness[is_there], ends, cut, np.ones(len(kept), np.bool_))


def stays_from(n_faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean cosine with the others from which on the second layer leaves a face in a person of so many."""
    return SAME_PERSON + 2.0 * SMALL_GROUP / n_faces


def is_sharp(view: View) -> NDArray[np.bool_]:
    """Shape (n_faces,): neither blurred nor nearly so; a face without a score counts as sharp."""
    return ~(view.faces.blur_score < NEARLY * view.live_blur_threshold)


def look_alike_now(before: View, now: View) -> tuple[PersonId, tuple[FaceId, ...]] | None:
    """Whom an act gave faces, and the loose faces that are likely theirs now and were not before, most alike first.

    None where nobody, or more than one person, was given any, and where looking would take long.
    """
    if before.faces is not now.faces or not now.is_near_known or now.state.owns_as(before.state):
        return None
    renumbered = now.state.numbers_since(before.state)
    owner = now.state.owner
    people = np.unique(owner[(owner >= 0) & (owner != renumbered[before.state.owner])])
    if len(people) != 1:
        return None
    was, near = before.near_noise, now.near_noise
    was_so = was.rows[(renumbered[was.person] == people[0]) & (was.cosine >= now.usual_cosine)]
    is_so = np.flatnonzero((near.person == people[0]) & (near.cosine >= now.usual_cosine))
    new = is_so[~np.isin(near.rows[is_so], was_so)]
    new = new[np.argsort(near.away[new], kind="stable")]
    return now.state.people[people[0]], tuple(now.faces.ids[row] for row in near.rows[new].tolist())
