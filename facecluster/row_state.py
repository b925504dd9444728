"""The facts of one moment in row numbers: whose each face is, what was said of it, which questions are open."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import RowFacts
from facecluster.decisions import people_in, resolve
from facecluster.model import FaceId, FaceSet, Kind, Link, PeopleSnapshot, PersonId, Question
from facecluster.tally import distinct

# `live_labels` of a face that came after the live run.
UNSEEN = -3
# Kinds of facts that speak of somebody, beyond that there is such a person.
_ABOUT_PEOPLE: tuple[Kind, ...] = ("name", "hidden", "cover", "merged_into", "pin", "not_person")


def owners(snapshot: PeopleSnapshot, faces: Sequence[FaceId]) -> list[PersonId | None]:
    """Who owns each face now: the pin, else the live run's owner unless something said speaks against it."""
    asked, said = set(faces), snapshot.of_kind("not_person")
    rejected = {(face, resolve(snapshot, PersonId(other))) for face, other, _ in said if face in asked}
    return [_owner(snapshot, face, rejected) for face in faces]


def _owner(snapshot: PeopleSnapshot, face: FaceId, rejected: Container[tuple[str, PersonId]]) -> PersonId | None:
    facts, run = snapshot.facts, snapshot.run
    if ("mark", face, "") in facts:
        return None
    pin, given = facts.get(("pin", face, "")), run.owner_of.get(face) if run is not None else None
    if pin is not None and (("person", pin, "") in facts or (run is not None and pin in run.owners[0])):
        return resolve(snapshot, PersonId(pin))
    owner = resolve(snapshot, given) if given is not None else None
    is_somebody = owner is not None and ("person", owner, "") in facts and (face, owner) not in rejected
    return owner if is_somebody else None


def _owner_numbers(snapshot: PeopleSnapshot, faces: FaceSet, number: Mapping[PersonId, int]) -> NDArray[np.int32]:
    """The same for all faces of a set, as person numbers: the run's owners at once, then the few facts."""
    found = np.full(len(faces), -1, np.int32)
    given: tuple[PersonId, ...] = ()
    if snapshot.run is not None:
        given, code = snapshot.run.owners
        at = snapshot.run.rows_in(faces)
        # Nearly all of them live, and of the others it has to be found out who they are by now.
        now = [number[p] if p in number else number.get(resolve(snapshot, p), -1) for p in given]
        found[at[at >= 0]] = np.array([*now, -1], np.int32)[code[at >= 0]]
    for face, other, _ in snapshot.of_kind("not_person"):
        row = faces.row.get(FaceId(face), -1)
        if row >= 0 and found[row] >= 0 and found[row] == number.get(resolve(snapshot, PersonId(other)), -1):
            found[row] = -1
    known = {*snapshot.people, *given}
    for row, value in _facts_of(snapshot, faces, "pin"):
        if value in known:
            found[row] = number.get(resolve(snapshot, PersonId(value)), -1)
    for row, _ in _facts_of(snapshot, faces, "mark"):
        found[row] = -1
    return found


def live_labels(snapshot: PeopleSnapshot, faces: FaceSet) -> NDArray[np.int32]:
    """Shape (n_faces,): cluster of the live run, NOISE, BLURRED; UNSEEN for faces that came after it."""
    found = np.full(len(faces), UNSEEN, np.int32)
    if snapshot.run is not None:
        at = snapshot.run.rows_in(faces)
        found[at[at >= 0]] = snapshot.run.label[at >= 0]
    return found


def _apart(snapshot: PeopleSnapshot, number: Mapping[PersonId, int]) -> frozenset[tuple[int, int]]:
    """Pairs of people who are not one: a face of the first is not the second, or not one with a face of the second.

    Confirmed faces alone speak for people: an answer must not come and go with what clusters do to a face.
    """
    found = set()
    said = [(face, other) for face, other, _ in snapshot.of_kind("not_person")]
    links = [(face, obj) for face, obj, value in snapshot.of_kind("link") if value == "different"]
    for face, other in (*said, *((face, snapshot.facts.get(("pin", obj, ""))) for face, obj in links)):
        both = (snapshot.facts.get(("pin", face, "")), other)
        a, b = (number.get(resolve(snapshot, PersonId(p)), -1) if p is not None else -1 for p in both)
        if a >= 0 and b >= 0 and a != b:
            found.add((min(a, b), max(a, b)))
    return frozenset(found)


@dataclass(frozen=True)
class RowState:
    """The facts of one moment in row numbers, for everything that counts.

    Attributes
    ----------
    people : tuple[PersonId, ...]
        Everybody who is not merged away, ascending; person numbers point here.
    owner, pin : NDArray[np.int32]
        Shape (n_faces,): person number, -1 for none.
    is_masked : NDArray[np.bool_]
        Shape (n_faces,): ignored, or not a face.
    not_person : NDArray[np.int32]
        Shape (m, 2): face row, person number.
    same, different : NDArray[np.int32]
        Shape (m, 2): face rows.
    is_named, is_protected : NDArray[np.bool_]
        Shape (n_people,): has a name; has a name, a fact or an open question, so nothing moves without asking.
    apart : frozenset[tuple[int, int]]
        Person numbers (ascending) of people of whom the curator said, directly or by a face, that they are not one.
    questions, keeps : tuple[Question, ...]
        Those of the live run that are still open: "are these two one person?" and "do these faces still belong?".
    """

    people: tuple[PersonId, ...]
    owner: NDArray[np.int32]
    pin: NDArray[np.int32]
    is_masked: NDArray[np.bool_]
    not_person: NDArray[np.int32]
    same: NDArray[np.int32]
    different: NDArray[np.int32]
    is_named: NDArray[np.bool_]
    is_protected: NDArray[np.bool_]
    apart: frozenset[tuple[int, int]]
    questions: tuple[Question, ...]
    keeps: tuple[Question, ...]

    def numbers_since(self, before: RowState) -> NDArray[np.int32]:
        """Person number of each one at an earlier moment, -1 for who is gone; that of nobody (-1) comes last."""
        if before.people == self.people:
            return np.append(np.arange(len(self.people)), -1).astype(np.int32)
        number = {person: i for i, person in enumerate(self.people)}
        return np.array([number.get(person, -1) for person in before.people] + [-1], np.int32)

    def owns_as(self, other: RowState) -> bool:
        """Whether every face is whose it is at the other moment: a name is the change most often made."""
        return self.people == other.people and np.array_equal(self.owner, other.owner)

    def touched(self, before: RowState, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Numbers of the people who own some of these rows, or did at an earlier moment and are still there."""
        people = np.concatenate([self.owner[rows], self.numbers_since(before)[before.owner[rows]]])
        return distinct(people[people >= 0]).astype(np.int64)

    def row_facts(self, photo: NDArray[np.int32], rows: NDArray[np.int64]) -> RowFacts:
        """The facts as clustering takes them, for the clustered `rows` only and counted within them."""
        place = np.full(len(self.owner), -1, np.int64)
        place[rows] = np.arange(len(rows))
        pinned = np.flatnonzero(self.pin[rows] >= 0)
        return RowFacts(
            pins=np.column_stack([pinned, self.pin[rows][pinned]]).astype(np.int32),
            not_person=_within(self.not_person, place, 1),
            same=_within(self.same, place, 2),
            different=_within(self.different, place, 2),
            photo=photo[rows],
        )


def _within(pairs: NDArray[np.int32], place: NDArray[np.int64], columns: int) -> NDArray[np.int32]:
    moved = pairs.copy()
    for column in range(columns):
        moved[:, column] = place[pairs[:, column]]
    return np.asarray(moved[(moved[:, :columns] >= 0).all(axis=1)], np.int32)


def row_state(snapshot: PeopleSnapshot, faces: FaceSet) -> RowState:
    """Turn ids into row numbers; facts about faces that are gone are kept in the log and left out here."""
    people = tuple(p.id for p in snapshot.people.values() if p.merged_into is None)
    number = {person: i for i, person in enumerate(people)}
    owner = _owner_numbers(snapshot, faces, number)
    pin = np.full(len(faces), -1, np.int32)
    for at, value in _facts_of(snapshot, faces, "pin"):
        pin[at] = number.get(resolve(snapshot, PersonId(value)), -1)
    masked = np.zeros(len(faces), np.bool_)
    masked[[at for at, _ in _facts_of(snapshot, faces, "mark")]] = True
    pin[masked] = -1
    state = RowState(
        people=people,
        owner=owner,
        pin=pin,
        is_masked=masked,
        not_person=_pairs(
            (faces.row[FaceId(s)], number[person])
            for s, o, _ in snapshot.of_kind("not_person")
            if s in faces.row and (person := resolve(snapshot, PersonId(o))) in number
        ),
        same=_links(snapshot, faces, "same"),
        different=_links(snapshot, faces, "different"),
        is_named=np.array([("name", p, "") in snapshot.facts for p in people], np.bool_),
        is_protected=np.zeros(len(people), np.bool_),
        apart=_apart(snapshot, number),
        questions=(),
        keeps=(),
    )
    asked = _open_questions(snapshot, state, live_labels(snapshot, faces))
    spoken_of = {p for q in asked for p in (q.person, q.other) if p is not None}
    said = {one for kind in _ABOUT_PEOPLE for fact in snapshot.of_kind(kind) for one in people_in(kind, *fact)}
    spoken_of |= {resolve(snapshot, PersonId(one)) for one in said}
    return replace(
        state,
        is_protected=np.array([p in spoken_of for p in people], np.bool_),
        questions=tuple(q for q in asked if q.kind == "same"),
        keeps=tuple(q for q in asked if q.kind == "keep"),
    )


def told_otherwise(state: RowState, snapshot: PeopleSnapshot, people: Iterable[PersonId]) -> RowState:
    """The state after these people got a name or a cover or were hidden, and nothing else was said."""
    is_named, is_protected = state.is_named.copy(), state.is_protected.copy()
    for person in {resolve(snapshot, person) for person in people}:
        at = bisect_left(state.people, person)
        if state.people[at : at + 1] == (person,):
            is_named[at] = ("name", person, "") in snapshot.facts
            is_protected[at] = True
    return replace(state, is_named=is_named, is_protected=is_protected)


def _facts_of(snapshot: PeopleSnapshot, faces: FaceSet, kind: Kind) -> Iterable[tuple[int, str]]:
    """Row and value of the facts of one kind about faces that are there."""
    for subject, _, value in snapshot.of_kind(kind):
        if (at := faces.row.get(FaceId(subject))) is not None:
            yield at, value


def _links(snapshot: PeopleSnapshot, faces: FaceSet, wanted: Link) -> NDArray[np.int32]:
    row = faces.row
    return _pairs(
        (row[FaceId(a)], row[FaceId(b)])
        for a, b, value in snapshot.of_kind("link")
        if value == wanted and a in row and b in row
    )


def _open_questions(snapshot: PeopleSnapshot, state: RowState, live_label: NDArray[np.int32]) -> tuple[Question, ...]:
    """Questions of the live run that nobody answered, about who the people are by now; each one once."""
    number = {person: i for i, person in enumerate(state.people)}
    present = {state.people[p] for p in distinct(state.owner[state.owner >= 0])}
    # What clustering does not hold together: a face pinned since is settled, and so is one that was taken away.
    loose = (live_label < 0) & (live_label != UNSEEN) & (state.pin < 0) & (state.owner >= 0)
    has_loose = {state.people[p] for p in distinct(state.owner[loose])}
    found: dict[str, Question] = {}
    for asked in snapshot.run.questions if snapshot.run else ():
        person = resolve(snapshot, asked.person)
        other = None if asked.other is None else resolve(snapshot, asked.other)
        if other is None:
            is_open = person in has_loose
        else:
            pair = sorted((number.get(person, -1), number.get(other, -1)))
            is_open = person != other and {person, other} <= present and (pair[0], pair[1]) not in state.apart
        if is_open:
            question = Question(asked.kind, person, other, asked.n_faces)
            found.setdefault(question.id, question)
    return tuple(found.values())


def _pairs(values: Iterable[tuple[int, int]]) -> NDArray[np.int32]:
    # Facts come in the order in which they were said or read, and nothing may depend on that.
    return np.array(sorted(values), np.int32).reshape(-1, 2)
