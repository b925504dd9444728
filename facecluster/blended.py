"""Who looks like two people in one: the two halves that Review asks about, or the same photos twice.

A person is blended where Review's "is this two people?" is likelier yes than no, or where as many unconfirmed faces
share a photo with another face of the person as would make a half that matters.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from facecluster.clustering import impossible_pair_rows
from facecluster.doubts import LIKELIER_THAN_NOT, halves_of, matters
from facecluster.model import PersonId
from facecluster.view import View


@dataclass(frozen=True)
class Blend:
    """Why a person looks like two.

    Attributes
    ----------
    n_faces : int
        Faces of the person.
    n_apart : int
        Faces of the half that would leave; 0 where the faces do not fall into two.
    cosine : float
        Mean cosine of the two halves.
    n_twice : int
        Photos that two unconfirmed faces, or an unconfirmed and another one, of the person are in.
    """

    n_faces: int
    n_apart: int
    cosine: float
    n_twice: int


def blend_of(view: View, person: PersonId) -> Blend | None:
    """Why a person looks like two; None where they do not."""
    rows = view.rows(person)
    n_twice = _n_twice(view, person)
    halves = halves_of(view, person)
    is_torn = halves is not None and halves.chance >= LIKELIER_THAN_NOT
    if not is_torn and n_twice < matters(len(rows)):
        return None
    if halves is None or not is_torn:
        return Blend(len(rows), 0, 0.0, n_twice)
    return Blend(len(rows), len(halves.leaves), halves.likeness, n_twice)


def _n_twice(view: View, person: PersonId) -> int:
    rows = view.rows(person)
    photo = view.faces.photo_number[rows]
    pairs = impossible_pair_rows(np.zeros(len(rows), np.int32), photo)
    doubtful = (view.state.pin[rows][pairs] < 0).any(axis=1)
    return len(np.unique(photo[pairs[doubtful, 0]]))


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known at one moment: who looks like two people, and whom nobody has looked at yet."""

    view: View
    found: dict[PersonId, Blend]
    left: frozenset[PersonId]


class Blends:
    """Everybody in a library who looks like two people, kept from one moment to the next: most stay as they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: _Known | None = None

    def so_far(self, view: View) -> tuple[dict[PersonId, Blend], int]:
        """Those of whom it is known, by person, and of how many people it is not known yet."""
        known = self._as_of(view)
        return known.found, len(known.left)

    def look(self, view: View) -> None:
        """Find out about everybody of whom it is not known."""
        with self._lock:
            known = self._as_of(view)
            found = {person: blend for person in known.left if (blend := blend_of(view, person)) is not None}
            self._last = _Known(view, {**known.found, **found}, frozenset())

    def _as_of(self, view: View) -> _Known:
        last = self._last
        if last is None or last.view.faces is not view.faces:
            last = _Known(view, {}, frozenset(view.state.people))
        elif last.view is not view:
            left = view.number.keys() & (last.left | _touched(last.view, view))
            kept = view.number.keys() - left
            last = _Known(view, {p: blend for p, blend in last.found.items() if p in kept}, frozenset(left))
        self._last = last
        return last


def _touched(before: View, now: View) -> set[PersonId]:
    """Who gained or lost faces, or confirmations of them."""
    a, b = before.state, now.state
    changed = (b.numbers_since(a)[a.owner] != b.owner) | ((a.pin < 0) != (b.pin < 0))
    return {b.people[p] for p in b.touched(a, changed).tolist()}
