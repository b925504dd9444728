"""What a search finds: faces like a face, a person or a vector, or photos by who is in them; and why each is there."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from facecluster.errors import InputError
from facecluster.model import FaceId, PersonId
from facecluster.search import Hit, cosine, distances, widened
from facecluster.together import photo_groups, photos_with
from facecluster.view import View

Likely = Mapping[PersonId, Collection[PersonId]]
NOBODY: Likely = {}


@dataclass(frozen=True, eq=False)
class Asked:
    """What is searched by: one of the first three, or people in photos.

    Attributes
    ----------
    vector : NDArray[np.float32] | None
        Of length 1.
    all_of, any_of, without : tuple[PersonId, ...]
        Who is to be in a photo, of whom somebody, and who is not.
    least : float
        The cosine that a face has to reach: with what is searched by, or with the centre of the person it is for. In
        photos a confirmed face needs none.
    most : int
        How many of the nearest faces, or of the surest photos, are wanted.
    """

    face: FaceId | None = None
    person: PersonId | None = None
    vector: NDArray[np.float32] | None = None
    all_of: tuple[PersonId, ...] = ()
    any_of: tuple[PersonId, ...] = ()
    without: tuple[PersonId, ...] = ()
    least: float = -1.0
    most: int = 50

    @property
    def is_for_photos(self) -> bool:
        """Whether photos are wanted."""
        return bool(self.all_of or self.any_of or self.without)


@dataclass(frozen=True)
class Found:
    """A face of an answer.

    Attributes
    ----------
    distance, cosine : float | None
        To what was searched by, or to the centre of the person it is there for; None where it is for nobody.
    why : str
        "direct", "same person", "suggested", or "in the photo" for a photo that was found by who is not in it.
    """

    face: FaceId
    person: PersonId | None
    distance: float | None
    cosine: float | None
    why: Literal["direct", "same person", "suggested", "in the photo"]


@dataclass(frozen=True)
class Answer:
    """Faces, person by person or photo by photo, those most alike first; of how many photos, and out of how many."""

    faces: tuple[Found, ...]
    n_photos: int = 0
    n_photos_there: int = 0


def answer(view: View, asked: Asked, likely: Likely = NOBODY) -> Answer:
    """What a search finds; whoever is `likely` the same as a person counts as them, and is said to be suggested.

    Two people who are both named in the question are two, however likely they are one.

    Raises
    ------
    InputError
        If nothing is asked for, or somebody who is not there.
    """
    return _photos(view, asked, likely) if asked.is_for_photos else _alike(view, asked, likely)


def similar(view: View, asked: Asked, likely: Likely = NOBODY) -> list[Hit]:
    """Nearest faces to a face, a person or a vector, widened to whole people.

    A person's own faces are left out; those of the owner of a face come on top of the `most`.
    """
    vectors, owner, number = view.faces.vectors, view.state.owner, view.number
    numbers = {
        number[one]: [number[other] for other in others if other in number]
        for one, others in likely.items()
        if one in number
    }
    if asked.vector is not None:
        return widened(vectors, owner, asked.vector, asked.most, np.empty(0, np.int64), numbers)
    if asked.face is not None:
        row, whose = view.row(asked.face), view.owner(asked.face)
        most = asked.most + (len(view.rows(whose)) if whose is not None else 0)
        return widened(vectors, owner, vectors[row], most, np.array([row]), numbers)
    if asked.person is None:
        raise InputError("Nothing to search by. Choose a face or a person.")
    return widened(vectors, owner, view.centre(asked.person), asked.most, view.rows(asked.person), numbers)


def _alike(view: View, asked: Asked, likely: Likely) -> Answer:
    """Person by person, those with the nearest face first; faces that are nobody's count as one more."""
    found = [
        Found(
            view.faces.ids[hit.row],
            view.state.people[hit.person] if hit.person >= 0 else None,
            hit.distance,
            hit.cosine,
            hit.why,
        )
        for hit in similar(view, asked, likely)
        if hit.cosine >= asked.least
    ]
    rank: dict[PersonId | None, int] = {}
    for one in found:
        rank.setdefault(one.person, len(rank))
    return Answer(tuple(sorted(found, key=lambda one: (rank[one.person], one.why != "direct", one.distance, one.face))))


@dataclass(frozen=True, eq=False)
class _InPhotos:
    """Faces that count as a person, and their distances from the person's centre."""

    rows: NDArray[np.int64]
    away: NDArray[np.float64]


def _photos(view: View, asked: Asked, likely: Likely) -> Answer:
    """Photo by photo, the surest first: a photo is as sure as the least alike of the faces for which it is there.

    Any face of somebody who is not to be in it rules a photo out, however unlike.
    """
    named = {*asked.all_of, *asked.any_of, *asked.without}
    likely = {one: set(likely.get(one, ())) - named for one in named}
    wanted = {p: _in_photos(view, asked, p, likely) for p in dict.fromkeys((*asked.all_of, *asked.any_of))}
    unwanted = [_rows_of(view, p, likely) for p in asked.without]
    group = photo_groups(view.faces.photo_number)
    all_of, any_of = ([wanted[p].rows for p in some] for some in (asked.all_of, asked.any_of))
    is_found = photos_with(group, all_of, any_of, unwanted)
    away = np.full(len(group), np.inf)
    for person in wanted.values():
        away[person.rows] = np.minimum(away[person.rows], person.away)
    rows = np.flatnonzero(is_found[group] & (np.isfinite(away) if wanted else ~view.state.is_masked))
    worst = np.zeros(len(is_found))
    if wanted:
        np.maximum.at(worst, group[rows], away[rows])
    order = rows[np.lexsort((rows, away[rows], group[rows], worst[group[rows]]))]
    photos, first = np.unique(group[order], return_index=True)
    first = np.sort(first)
    end = first[asked.most] if len(first) > asked.most else len(order)
    suggested = _suggested(wanted, likely)
    return Answer(
        tuple(_found_in_photo(view, row, float(away[row]), suggested) for row in order[:end].tolist()),
        min(len(photos), asked.most),
        len(photos),
    )


def _in_photos(view: View, asked: Asked, person: PersonId, likely: Likely) -> _InPhotos:
    rows = _rows_of(view, person, likely)
    if not len(view.rows(person)):
        return _InPhotos(rows[:0], np.empty(0))
    away = distances(view.faces.vectors, rows, view.centre(person))
    is_confirmed = view.state.pin[rows] == view.number[person]
    is_sure = is_confirmed | (1.0 - away * away / 2.0 >= asked.least)
    return _InPhotos(rows[is_sure], away[is_sure])


def _rows_of(view: View, person: PersonId, likely: Likely) -> NDArray[np.int64]:
    people = [person, *(other for other in likely.get(person, ()) if other in view.number)]
    return np.concatenate([view.rows(one) for one in people])


def _suggested(wanted: Collection[PersonId], likely: Likely) -> set[PersonId]:
    return {other for person in wanted for other in likely[person]}


def _found_in_photo(view: View, row: int, away: float, suggested: Collection[PersonId]) -> Found:
    face, person = view.faces.ids[row], view.owner(view.faces.ids[row])
    if not np.isfinite(away):
        return Found(face, person, None, None, "in the photo")
    return Found(face, person, away, cosine(away), "suggested" if person in suggested else "same person")


# --- in words, and as a table ----------------------------------------------------------------------------------------


def certainty(is_confirmed: bool, strength: float | None) -> str:
    """How sure it is that a face is whose it is said to be: confirmed, or its strength from 0 to 1."""
    if is_confirmed:
        return "confirmed"
    return "kept from before" if strength is None else f"strength {strength:.2f}"


def reason(view: View, found: Found) -> str:
    """Why a face is there, in words."""
    if found.why != "same person":
        return found.why
    face = view.face(found.face)
    return f"same person, {certainty(face.is_confirmed, face.strength)}"


def answer_table(view: View, faces: Sequence[Found]) -> list[dict[str, Any]]:
    """The faces of an answer, in its order."""
    return [
        {
            "face": one.face,
            "person": one.person,
            "name": view.person(one.person).name if one.person is not None else "",
            "photo": card.photo,
            "folder": card.folder,
            "distance": _rounded(one.distance),
            "cosine": _rounded(one.cosine),
            "why": reason(view, one),
        }
        for one in faces
        for card in [view.face(one.face)]
    ]


def answer_as_json(view: View, asked: Asked, found: Answer) -> str:
    """What was asked for and what was found, as one JSON object."""
    head = {
        "face": asked.face,
        "person": asked.person,
        "vector": asked.vector is not None,
        "all": asked.all_of,
        "any": asked.any_of,
        "without": asked.without,
        "least_cosine": asked.least,
        "most": asked.most,
    }
    whole = {"asked": head, "faces": answer_table(view, found.faces)}
    return json.dumps(whole, ensure_ascii=False, indent=1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
