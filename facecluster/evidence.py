"""What a curator sees of a question: the faces that speak most for and against it, and how alike they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facecluster.doubts import n_together
from facecluster.model import FaceId, PersonId
from facecluster.review import SHOWN, Ask
from facecluster.search import cosine, distances
from facecluster.view import View


@dataclass(frozen=True)
class Side:
    """One side of a card: the large face first, then some more; whose they are; how many faces, in how many photos."""

    faces: tuple[FaceId, ...]
    person: PersonId | None
    n_faces: int
    n_photos: int


@dataclass(frozen=True)
class Evidence:
    """Both sides of a card.

    Attributes
    ----------
    distance, cosine : float
        Of the two large faces.
    n_together : int
        Photos that both sides are in.
    rival_cosine : float
        Of the face asked about with the most alike face of the other person who was named in the question.
    """

    left: Side
    right: Side
    distance: float
    cosine: float
    n_together: int
    rival_cosine: float = 0.0


def evidence(view: View, ask: Ask) -> Evidence:
    """What there is to see of a question."""
    if ask.kind == "same" and ask.other is not None:
        return _of_two(view, view.rows(ask.person), ask.rows, (ask.person, ask.other))
    if ask.kind == "split":
        return _of_two(view, ask.rest, ask.rows, (ask.person, ask.person), keep_order=True)
    if ask.kind == "keep":
        rest = np.setdiff1d(view.rows(ask.person), ask.rows)
        return _of_two(view, ask.rows, rest if len(rest) else ask.rows, (None, ask.person))
    return _of_face(view, ask)


def _of_two(
    view: View,
    some: NDArray[np.int64],
    others: NDArray[np.int64],
    people: tuple[PersonId | None, PersonId | None],
    keep_order: bool = False,
) -> Evidence:
    if keep_order:
        left, right = some[:SHOWN], others[:SHOWN]
    else:
        left, right = most_alike(view.faces.vectors, some, others)
    return Evidence(
        _side(view, left, people[0], some),
        _side(view, right, people[1], others),
        *_alike(view, int(left[0]), int(right[0])),
        n_together(view, some, others),
    )


def most_alike(
    vectors: NDArray[np.float32], some: NDArray[np.int64], others: NDArray[np.int64], n: int = SHOWN
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The most alike pairs of a face of one group and a face of the other, no face twice; most alike first."""
    score = np.asarray(vectors[some] @ vectors[others].T)
    left, right = [], []
    for _ in range(min(n, *score.shape)):
        i, j = divmod(int(score.argmax()), score.shape[1])
        left.append(some[i])
        right.append(others[j])
        score[i, :] = score[:, j] = -np.inf
    return np.array(left), np.array(right)


def _of_face(view: View, ask: Ask) -> Evidence:
    row = int(ask.rows[0])
    vectors = view.faces.vectors
    rest = view.rows(ask.person)
    rest = rest[rest != row]
    near = _typical(vectors, rest) if len(rest) else ask.rows
    near = near[np.argsort(-(vectors[near] @ vectors[row]), kind="stable")][:SHOWN]
    distance, alike = _alike(view, row, int(near[0]))
    photo = view.faces.photo_number
    twins = rest[(photo[rest] == photo[row]) & (photo[row] >= 0)]
    rival = 0.0 if ask.other is None else float((vectors[view.rows(ask.other)] @ vectors[row]).max())
    return Evidence(
        Side((view.faces.ids[row],), None, 1, int(photo[row] >= 0)),
        _side(view, near, ask.person, view.rows(ask.person)),
        distance,
        alike,
        len(np.unique(photo[twins])),
        rival,
    )


def _typical(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The half of a person's faces that is most like all of them: others may have gone astray as well."""
    likeness = vectors[rows] @ vectors[rows].mean(axis=0)
    return np.asarray(rows[likeness >= np.median(likeness)])


def _side(
    view: View, shown: Sequence[int] | NDArray[np.int64], person: PersonId | None, rows: NDArray[np.int64]
) -> Side:
    photo = view.faces.photo_number[rows]
    ids = tuple(view.faces.ids[int(row)] for row in shown)
    return Side(ids, person, len(rows), len(np.unique(photo[photo >= 0])))


def _alike(view: View, a: int, b: int) -> tuple[float, float]:
    distance = float(distances(view.faces.vectors, np.array([a]), view.faces.vectors[b])[0])
    return distance, cosine(distance)
