"""One queue of questions to a curator, in the order of what their answers settle.

| kind | question | yes | no |
|---|---|---|---|
| same | are these two one person? | merged | told apart |
| keep | do these faces still belong to the person? | confirmed | rejected |
| belongs | does this face belong to its person? | confirmed | rejected |
| noise | is this face, nobody's so far, that person? | given to them | rejected |
| split | are these faces of one person two people? | a new person | the faces shown are confirmed |

An answer is a fact, and a question that a fact has answered is not asked: nothing else is remembered. Each question is
about some faces, whose owner its answer makes sure. It stands the further ahead the more faces these are, and the
likelier it is that they have to move; faces are settled when no question about them is left.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facecluster.doubts import (
    LEAST_CHANCE,
    LIKELIER_THAN_NOT,
    Doubts,
    chances_of_one,
    doubts_after,
    doubts_of,
    logistic,
    loose,
    n_together,
)
from facecluster.model import FaceId, PersonId
from facecluster.tally import distinct
from facecluster.view import View

AskKind = Literal["same", "keep", "belongs", "noise", "split"]

# Faces of each half that are shown, and confirmed by "they are one".
SHOWN = 4
# Two people in one photo are hardly one; reconcile may have to ask all the same.
_TOGETHER = 0.1
_RECONCILE = 0.3
# Of two faces of one photo in one person, one is wrong, unless it is a mirror or a picture of pictures.
_CLASH = 0.7
# A face mostly is where it was put, and the person that a loose face is most like of all is mostly a stranger. (Of
# made-up faces at the same mean cosine, 0.29, 99 of 100 in a person were right, and 2 of 100 loose ones were the person
# most like them.) So this is where a face in a person is right as often as not, and by so much a loose one has to be
# more alike than two groups.
_OWN_MIDDLE = 0.25
_OWN_WIDTH = 0.025
_LOOSE = 0.03
# How much more like somebody else a face has to be for that to count.
_RIVAL_WIDTH = 0.03

_NONE = np.empty(0, np.int64)


class Ask(NamedTuple):
    """A question; a tuple, because thousands are made after every answer.

    Attributes
    ----------
    id : str
        The same for the same question.
    person, other : PersonId
        Whom it is about; `other` is who may be the same, or whom a face that is theirs is more like.
    rows : NDArray[np.int64]
        The faces whose owner the answer makes sure.
    chance : float
        How likely the answer moves them.
    faces : tuple[FaceId, ...]
        Ids of `rows`.
    rest : NDArray[np.int64]
        "split": the faces that would stay.
    shown : tuple[FaceId, ...]
        "split": the faces of either half that are shown, and that "they are one" confirms.
    """

    id: str
    kind: AskKind
    person: PersonId
    other: PersonId | None
    rows: NDArray[np.int64]
    chance: float
    faces: tuple[FaceId, ...]
    rest: NDArray[np.int64] = _NONE
    shown: tuple[FaceId, ...] = ()

    @property
    def gain(self) -> float:
        """Faces that the answer settles, times how likely it moves them."""
        return len(self.rows) * self.chance


@dataclass(frozen=True, eq=False)
class Queue:
    """What is left to ask, what settles most first."""

    asks: tuple[Ask, ...]

    @cached_property
    def by_id(self) -> dict[str, Ask]:
        """Question by id."""
        return {ask.id: ask for ask in self.asks}

    def without(self, skipped: Collection[str]) -> Queue:
        """The same but for some questions."""
        if not skipped:
            return self
        return Queue(tuple(ask for ask in self.asks if ask.id not in skipped))

    @cached_property
    def n_faces(self) -> int:
        """Faces that some question is about."""
        return len(distinct(self._rows[0]))

    @cached_property
    def likely_same(self) -> Mapping[PersonId, Collection[PersonId]]:
        """By person, those who are probably the same: the question is open, and yes likelier than no."""
        found: defaultdict[PersonId, set[PersonId]] = defaultdict(set)
        for ask in self.asks:
            if ask.kind == "same" and ask.other is not None and ask.chance >= LIKELIER_THAN_NOT:
                found[ask.person].add(ask.other)
                found[ask.other].add(ask.person)
        return found

    @cached_property
    def settled(self) -> NDArray[np.float64]:
        """Shape (n_asks,): share of those faces about which nothing is left to ask after so many answers, ascending."""
        rows, at = self._rows
        last = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
        np.maximum.at(last, rows, at)
        done = np.bincount(last[last >= 0], minlength=len(self.asks)).cumsum()
        return np.asarray(done / max(self.n_faces, 1), np.float64)

    def answers_for(self, share: float) -> int:
        """How many answers settle that share of the faces."""
        return min(int(np.searchsorted(self.settled, share - 1e-9)) + 1, len(self.asks))

    @cached_property
    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sizes = np.array([len(ask.rows) for ask in self.asks], np.int64)
        rows = np.concatenate([ask.rows for ask in self.asks]) if self.asks else np.empty(0, np.int64)
        return rows.astype(np.int64), np.repeat(np.arange(len(self.asks)), sizes)


class Review:
    """The queue of a library, kept from one answer to the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doubts: Doubts | None = None
        self._queue = Queue(())

    def is_ready(self, view: View) -> bool:
        """Whether `queue` answers at once, or nearly so."""
        return self._doubts is not None and self._doubts.view.faces is view.faces

    def queue(self, view: View) -> Queue:
        """What is left to ask of this moment; quick where only an answer lies between it and the last one."""
        with self._lock:
            if self._doubts is None or self._doubts.view.version != view.version:
                self._doubts = doubts_of(view) if self._doubts is None else doubts_after(self._doubts, view)
                self._queue = queue_of(self._doubts)
            return self._queue


def queue_of(doubts: Doubts) -> Queue:
    """All questions of a moment, in order; none before anything was published."""
    if doubts.view.snapshot.run is None:
        return Queue(())
    larger = [*_about_pairs(doubts), *_about_kept(doubts), *_about_halves(doubts)]
    # A question about several faces answers those about each of them.
    asked = np.zeros(len(doubts.own), np.bool_)
    for ask in larger:
        if ask.kind != "same":
            asked[ask.rows] = True
    single = [*_about_faces(doubts, asked), *_about_noise(doubts)]
    return Queue(tuple(sorted((*larger, *single), key=lambda ask: (-ask.gain, ask.id))))


def _about_pairs(doubts: Doubts) -> Iterator[Ask]:
    view = doubts.view
    hidden = {card.id for card in view.snapshot.people.values() if card.is_hidden}
    asked = {_in_order(q.person, q.other) for q in view.state.questions if q.other is not None}
    apart = {_in_order(view.state.people[a], view.state.people[b]) for a, b in view.state.apart}
    likely = {
        pair: found.chance(len(view.rows(pair[0])) + len(view.rows(pair[1])))
        for pair, found in doubts.pairs.items()
        if not found.together and not hidden.intersection(pair)
    }
    for pair in asked:
        together = n_together(view, view.rows(pair[0]), view.rows(pair[1]))
        likely[pair] = max(likely.get(pair, 0.0), _RECONCILE) * (_TOGETHER if together else 1.0)
    for pair, chance in likely.items():
        if pair not in apart and (chance >= LEAST_CHANCE or pair in asked):
            stays, other = view.larger_first(*pair)
            faces = tuple(view.ids_of(other))
            yield Ask(f"same:{pair[0]}:{pair[1]}", "same", stays, other, view.rows(other), chance, faces)


def _in_order(a: PersonId, b: PersonId) -> tuple[PersonId, PersonId]:
    return (a, b) if a < b else (b, a)


def _about_kept(doubts: Doubts) -> Iterator[Ask]:
    view = doubts.view
    for question in view.state.keeps:
        faces = view.fallen_out(question.person)
        rows = np.array([view.row(face) for face in faces], np.int64)
        size = np.full(len(rows), len(view.rows(question.person)))
        chance = 1.0 - float(chances_of_one(doubts.own[rows], size).mean())
        chance = min(max(chance, _RECONCILE), 1.0 - _RECONCILE)
        yield Ask(f"keep:{question.person}:{faces[0]}", "keep", question.person, None, rows, chance, tuple(faces))


def _about_halves(doubts: Doubts) -> Iterator[Ask]:
    ids = doubts.view.faces.ids
    for person, halves in doubts.halves.items():
        if halves.chance >= LEAST_CHANCE:
            shown = tuple(ids[row] for half in (halves.stays, halves.leaves) for row in half[:SHOWN].tolist())
            faces = tuple(ids[row] for row in halves.leaves.tolist())
            of = f"split:{person}:{shown[0]}:{faces[0]}"
            yield Ask(of, "split", person, None, halves.leaves, halves.chance, faces, halves.stays, shown)


def _about_faces(doubts: Doubts, asked: NDArray[np.bool_]) -> Iterator[Ask]:
    """Faces that are unlike their person, more like somebody else, or twice in a photo with them."""
    state, rival = doubts.view.state, doubts.rival
    rows = np.flatnonzero((state.owner >= 0) & (state.pin < 0) & ~asked)
    unlike = logistic((_OWN_MIDDLE - doubts.own[rows]) / _OWN_WIDTH)
    nearer = logistic((doubts.likeness[rows] - doubts.own[rows]) / _RIVAL_WIDTH) * (rival[rows] >= 0)
    chance = np.maximum(np.maximum(unlike, nearer), _CLASH * doubts.clashes[rows])
    others = np.where(doubts.likeness[rows] > doubts.own[rows], rival[rows], -1)
    return _about_rows(doubts, "belongs", rows, state.owner[rows], chance, others)


def _about_noise(doubts: Doubts) -> Iterator[Ask]:
    state, rival = doubts.view.state, doubts.rival
    rows = np.flatnonzero(loose(doubts.view) & (rival >= 0))
    size = np.bincount(state.owner[state.owner >= 0], minlength=len(state.people))
    chance = chances_of_one(doubts.likeness[rows] - _LOOSE, size[rival[rows]] + 1)
    return _about_rows(doubts, "noise", rows, rival[rows], chance, np.full(len(rows), -1))


def _about_rows(
    doubts: Doubts,
    kind: AskKind,
    rows: NDArray[np.int64],
    people: NDArray[np.int32],
    chance: NDArray[np.float64],
    others: NDArray[np.int64],
) -> Iterator[Ask]:
    """A question for each face of whom it is likely enough that it has to move."""
    ids, names = doubts.view.faces.ids, doubts.view.state.people
    hidden = np.array([doubts.view.snapshot.people[person].is_hidden for person in names] or [False], np.bool_)
    for i in np.flatnonzero((chance >= LEAST_CHANCE) & ~hidden[people]).tolist():
        person, other = names[people[i]], names[others[i]] if others[i] >= 0 else None
        face = ids[rows[i]]
        yield Ask(f"{kind}:{person}:{face}", kind, person, other, rows[i : i + 1], float(chance[i]), (face,))
