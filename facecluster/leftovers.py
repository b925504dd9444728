"""The faces that are nobody's as a curator works through them: by nearest person, and by likeness among themselves.

| section | its faces |
|---|---|
| person | nearest to that person, and likely theirs, or at least near enough to be looked at |
| alike | nobody's likely, and alike among themselves |
| nobody | near nobody, and unlike each other |
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facecluster.clustering.alike import SAME_PERSON
from facecluster.clustering.alike import SMALL as SMALL_GROUP
from facecluster.clustering.leftover import Group, Law, alike_groups, alike_pairs, listed_pairs
from facecluster.doubts import MIDDLE, SMALL
from facecluster.model import FaceId, PersonId
from facecluster.view import LooseFace, View

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


@dataclass(frozen=True)
class Section:
    """Faces that can be answered together.

    Attributes
    ----------
    id : str
        The same while it is about the same: the person, or the group's first face.
    faces : tuple[LooseFace, ...]
        The most alike first.
    likeness : tuple[float, ...]
        Cosine of each face with the nearest face of the person; mean cosine with the others where they are "alike".
    cut : float | None
        Likeness from which on a face is likely to be where the section would put it; None where nowhere.
    """

    id: str
    kind: Literal["person", "alike", "nobody"]
    person: PersonId | None
    faces: tuple[LooseFace, ...]
    likeness: tuple[float, ...]
    cut: float | None

    @property
    def ids(self) -> list[FaceId]:
        """Ids of its faces."""
        return [one.face for one in self.faces]

    @property
    def likely(self) -> list[FaceId]:
        """The faces that are likely that person's."""
        cut = self.cut if self.kind == "person" and self.cut is not None else np.inf
        return [one.face for one, alike in zip(self.faces, self.likeness, strict=True) if alike >= cut]


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
        new = np.setdiff1d(rows, self._rows) if self.is_ready(view) else rows
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
            still[np.setdiff1d(rows, new)] = True
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
        keys = {int(part[some[0, 0]]): _key(some, apart[part[apart[:, 0]] == part[some[0, 0]]])
                for some in _by_part(pairs, part)}  # fmt: skip
        new = np.isin(part, [at for at, key in keys.items() if key not in self._known])
        made: dict[int, list[Group]] = {}
        for group in alike_groups(
            view.faces.vectors.view(np.ndarray), pairs[new[pairs[:, 0]]], view.faces.photo_number, apart, LAW
        ):
            made.setdefault(int(part[group.rows[0]]), []).append(group)
        self._known = {key: self._known.get(key, tuple(made.get(at, ()))) for at, key in keys.items()}
        groups = (group for some in self._known.values() for group in some)
        self._groups = tuple(sorted(groups, key=lambda g: (-len(g.rows), -g.mean, int(g.rows[0]))))


def _by_part(pairs: NDArray[np.int32], part: NDArray[np.int32]) -> Iterable[NDArray[np.int32]]:
    order = np.argsort(part[pairs[:, 0]], kind="stable")
    ends = np.flatnonzero(np.diff(part[pairs[order, 0]])) + 1
    return np.split(pairs[order], ends) if len(pairs) else ()


def _key(pairs: NDArray[np.int32], apart: NDArray[np.int32]) -> _Key:
    """What the groups of a part depend on."""
    return np.unique(pairs).tobytes(), apart.tobytes()


def sections(view: View, groups: Iterable[Group], only: Collection[FaceId] | None = None) -> list[Section]:
    """All loose faces, each in one section: those of which one answer settles most, other people, pairs, the rest.

    Parameters
    ----------
    only : collection of FaceId | None
        Faces that are shown; None for all of them.
    """
    of = {one.face: one for one in view.noise if only is None or one.face in only}
    found = list(alike_sections(view, groups, of))
    grouped = {face for section in found for face in section.ids}
    rest = [one for one in of.values() if one.face not in grouped]
    near = [one for one in rest if one.person is not None and one.cosine >= NEAR]
    found += person_sections(near, view.usual_cosine)
    found.sort(key=_rank)
    lonely = tuple(one for one in rest if one.person is None or one.cosine < NEAR)
    if lonely:
        found.append(Section("nobody", "nobody", None, lonely, tuple(one.cosine for one in lonely), None))
    return found


def _rank(section: Section) -> tuple[int, int, float, str]:
    settled = len(section.likely if section.kind == "person" else section.faces)
    turn = 2 if section.kind == "alike" and settled == 2 else 0 if settled else 1
    return turn, -settled, -section.likeness[0], section.id


def person_sections(faces: Iterable[LooseFace], cut: float) -> list[Section]:
    """Some faces by nearest person, the nearest first."""
    theirs: dict[PersonId | None, list[LooseFace]] = {}
    for one in faces:
        theirs.setdefault(one.person, []).append(one)
    return [
        Section(person or "nobody", "person" if person else "nobody", person, tuple(some),
                tuple(one.cosine for one in some), cut if person else None)
        for person, some in theirs.items()
    ]  # fmt: skip


def alike_sections(view: View, groups: Iterable[Group], of: dict[FaceId, LooseFace]) -> Iterable[Section]:
    """A section for each group of which two faces or more are shown; `of` has those that are."""
    ids = view.faces.ids
    for group in groups:
        some = [(of[ids[row]], alike) for row, alike in zip(group.rows.tolist(), group.likeness.tolist(), strict=True)
                if ids[row] in of]  # fmt: skip
        if len(some) > 1:
            first = min(one.face for one, _ in some)
            cut = stays_from(len(group.rows))
            shown, likeness = zip(*some, strict=True)
            yield Section(f"alike-{first}", "alike", None, shown, likeness, cut)


def stays_from(n_faces: int) -> float:
    """Mean cosine with the others from which on the second layer leaves a face in a person of so many."""
    return SAME_PERSON + 2.0 * SMALL_GROUP / n_faces


def sharp(view: View) -> frozenset[FaceId]:
    """Loose faces that are neither blurred nor nearly so; one without a score counts as sharp."""
    rows = view.noise_rows
    clear = rows[~(view.faces.blur_score[rows] < NEARLY * view.live_blur_threshold)]
    return frozenset(view.faces.ids[row] for row in clear.tolist())


def look_alike_now(before: View, now: View) -> tuple[PersonId, tuple[FaceId, ...]] | None:
    """Whom an act gave faces, and the loose faces that are likely theirs now and were not before, most alike first.

    None where nobody, or more than one person, was given any, and where looking would take long.
    """
    if before.faces is not now.faces or not now.is_near_known or now.state.owns_as(before.state):
        return None
    renumbered = np.array([now.number.get(person, -1) for person in before.state.people] + [-1], np.int32)
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
