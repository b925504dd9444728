"""Who looks like two people in one: the two halves that Review asks about, or the same photos twice.

A person is blended where Review's "is this two people?" is likelier yes than no, or where as many unconfirmed faces
share a photo with another face of the person as would make a half that matters.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facecluster.clustering import impossible_pair_rows
from facecluster.doubts import LIKELIER_THAN_NOT, halves_of, matters
from facecluster.model import FaceSet, PersonId
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


class Blends:
    """Everybody in a library who looks like two people, kept from one moment to the next: most stay as they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faces: FaceSet | None = None
        self._known: Mapping[bytes, Blend | None] = {}
        self._last: tuple[View, dict[PersonId, Blend]] | None = None

    def so_far(self, view: View) -> tuple[dict[PersonId, Blend], int]:
        """Those of whom it is known, by person, and of how many people it is not known yet."""
        last = self._last
        if last is not None and last[0].faces is view.faces and _is_the_same(last[0], view):
            return last[1], 0
        known = self._known if self._faces is view.faces else {}
        marks = {person: _mark(view, person) for person in view.state.people}
        blends = {person: known.get(mark) for person, mark in marks.items()}
        found = {person: blend for person, blend in blends.items() if blend is not None}
        n_left = sum(mark not in known for mark in marks.values())
        self._last = (view, found) if not n_left else None
        return found, n_left

    def look(self, view: View) -> None:
        """Find out about everybody of whom it is not known."""
        with self._lock:
            known = self._known if self._faces is view.faces else {}
            now: dict[bytes, Blend | None] = {}
            for person in view.state.people:
                mark = _mark(view, person)
                now[mark] = known[mark] if mark in known else blend_of(view, person)
            self._known, self._faces = now, view.faces


def _is_the_same(before: View, now: View) -> bool:
    return now.state.owns_as(before.state) and np.array_equal(now.state.pin, before.state.pin)


def _mark(view: View, person: PersonId) -> bytes:
    rows = view.rows(person)
    return rows.tobytes() + view.state.pin[rows].tobytes()
