"""Libraries that were published with mistakes, and the truth: what a review has to put right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facecluster.config import load_settings
from facecluster.decisions import Draft
from facecluster.demo import synthetic_faces
from facecluster.model import FaceBatch, Run
from facecluster.service import Service
from facecluster.wiring import open_service


@dataclass
class Planted:
    """A library of made-up people, published with mistakes, and the truth."""

    service: Service
    truth: np.ndarray

    @property
    def view(self):
        return self.service.view()

    def whose(self, rows) -> int:
        """The true person that most of some faces are."""
        return int(np.bincount(self.truth[rows]).argmax())

    def is_yes(self, ask) -> bool:
        """The true answer; of faces that are several people's, what is right for most of them."""
        person = self.whose(self.view.rows(ask.person))
        if ask.kind == "split":
            return self.whose(ask.rows) != self.whose(ask.rest)
        if ask.kind == "same":
            return self.whose(self.view.rows(ask.other)) == person
        return self.whose(ask.rows) == person

    def is_right(self, rows):
        """Whether each face is with its true person; or with nobody, where nobody is that person."""
        owner = self.view.state.owner
        people = {p: self.whose(np.flatnonzero(owner == p)) for p in np.unique(owner[owner >= 0]).tolist()}
        known = set(people.values())
        return np.array(
            [people[owner[row]] == self.truth[row] if owner[row] >= 0 else self.truth[row] not in known for row in rows]
        )


def mistaken(truth, seed: int = 0):
    """Labels with one person in eight in two parts, one in twenty joined to another, faces with others and nobody."""
    rng = np.random.default_rng(seed)
    label = np.where(np.bincount(truth)[truth] < 3, -1, truth)
    n_people = label.max() + 1
    for at, p in enumerate(rng.choice(n_people, n_people // 8, replace=False)):
        rows = np.flatnonzero(label == p)
        label[rows[: len(rows) * 2 // 5]] = n_people + at
    for p in rng.choice(n_people, n_people // 20, replace=False):
        label[label == p] = rng.integers(n_people)
    label[rng.random(len(truth)) < 0.03] = -1
    wrong = (rng.random(len(truth)) < 0.01) & (label >= 0)
    label[wrong] = rng.integers(0, n_people, wrong.sum())
    _, label[label >= 0] = np.unique(label[label >= 0], return_inverse=True)
    return label.astype(np.int32)


def planted(folder: Path, n: int = 1000, seed: int = 0, questions: Callable = lambda first: ()) -> Planted:
    """Made-up faces, published with mistakes."""
    made = synthetic_faces(n, seed, "crowd")
    service = open_service(load_settings(library=folder / "library"))
    columns = (tuple(f"photo {p}" for p in made.photo), ("",) * n, ("",) * n, np.full(n, 200.0, np.float32))
    ids = tuple(f"face-{row:05d}" for row in range(n))
    boxes = np.full((n, 4), np.nan, np.float32)
    service._faces.add(FaceBatch(ids, made.vectors, *columns, boxes, (b"",) * n, ("",) * n))
    publish(service, mistaken(made.person, seed), questions)
    return Planted(service, made.person)


def publish(service: Service, label, questions: Callable = lambda first: (), run: str = "run-1") -> None:
    """Make a live run of some labels; `questions` of the first face of each label's person."""
    view = service.view()
    draft = Draft(view.snapshot)
    first = {int(c): f"p-{int(np.flatnonzero(label == c)[0]):012d}" for c in np.unique(label[label >= 0])}
    owner = tuple(first.get(int(c)) for c in label)
    for person in first.values():
        draft.set("person", person, "1")
    draft.set("live_run", "", run)
    strength = np.full(len(label), 0.5, np.float32)
    made = Run(run, {}, view.faces.fingerprint, view.faces.ids, owner, label, strength, {}, tuple(questions(first)))
    service._people.apply(draft.change("setup", "Published", made))
