"""What a curator said: drafts of new decisions, the fold of all of them, undo, and the same facts as row numbers.

| kind | subject, object | value |
|---|---|---|
| person | person | "1": there is such a person |
| name, hidden, cover, merged_into | person | the name; "1"; a face; the person who survives |
| pin | face | "this face is" that person |
| not_person | face, person | "1": "this face is not" that person |
| link | face, face (ascending) | "same" or "different": the two are, or are not, one person |
| mark | face | "ignored" or "not_a_face" |
| live_run | | the run that is shown |

A fact is the last value said; a change set holds what was said before, so taking it back needs no second record.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import RowFacts
from facecluster.errors import InputError, StaleWriteError
from facecluster.model import (
    MAX_NAME_LENGTH,
    ChangeRecord,
    ChangeSet,
    Decision,
    FaceId,
    FaceSet,
    Kind,
    Link,
    Mark,
    PeopleSnapshot,
    PersonId,
    Question,
    Run,
)

# Kept although their category is "format": names in Persian and Hindi, and family emoji, need the joiners.
_JOINERS = "\u200c\u200d"


class Draft:
    """Decisions in the making, on top of one snapshot."""

    def __init__(self, snapshot: PeopleSnapshot) -> None:
        self.snapshot = snapshot
        self._new: dict[tuple[Kind, str, str], str | None] = {}

    def get(self, kind: Kind, subject: str, obj: str = "") -> str | None:
        """The value as this draft leaves it."""
        key = (kind, subject, obj)
        return self._new[key] if key in self._new else self.snapshot.facts.get(key)

    def set(self, kind: Kind, subject: str, value: str | None, obj: str = "") -> None:
        """Say something new about one key."""
        self._new[(kind, subject, obj)] = value

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What differs from the snapshot, in the order it was said."""
        facts = self.snapshot.facts
        return tuple(
            Decision(kind, subject, obj, value, facts.get((kind, subject, obj)))
            for (kind, subject, obj), value in self._new.items()
            if value != facts.get((kind, subject, obj))
        )

    def change(self, author: str, title: str, run: Run | None = None, undoes: int | None = None) -> ChangeSet:
        """The change set, based on the draft's snapshot."""
        return ChangeSet(self.snapshot.revision, author, title, self.decisions, run, undoes)


def clean_name(name: str) -> str:
    """A name as it is kept: composed, without control and direction marks, blanks collapsed.

    Raises
    ------
    InputError
        If more than 200 characters are left.
    """
    text = unicodedata.normalize("NFC", name.encode("utf-8", "ignore").decode("utf-8"))
    text = "".join(c if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cn", "Co") else " " for c in text)
    text = " ".join(text.split()).strip(_JOINERS + " ")
    if len(text) > MAX_NAME_LENGTH:
        raise InputError(
            f"A name may have {MAX_NAME_LENGTH} characters, and this one has {len(text):,}. "
            "The person keeps the name there was. Shorten it."
        )
    return text


def new_person(draft: Draft, first_face: FaceId) -> PersonId:
    """Add a person; the id comes from a face, so the same act makes the same person."""
    taken = {subject for kind, subject, _ in draft.snapshot.facts if kind == "person"}
    taken |= {subject for kind, subject, _ in draft._new if kind == "person"}
    person = person_id(first_face, taken)
    draft.set("person", person, "1")
    return person


def person_id(first_face: FaceId, taken: Iterable[str]) -> PersonId:
    """An id nobody has, from the person's first face."""
    taken = set(taken)
    salt = 0
    while True:
        digest = sha256(f"{first_face}\0{salt}".encode("utf-8", "surrogatepass")).hexdigest()
        person = PersonId(f"p-{digest[:12]}")
        if person not in taken:
            return person
        salt += 1


def resolve(snapshot: PeopleSnapshot, person: PersonId) -> PersonId:
    """Who this person is now, after all merges."""
    seen = set()
    while (into := snapshot.facts.get(("merged_into", person, ""))) is not None and person not in seen:
        seen.add(person)
        person = PersonId(into)
    return person


def rename(draft: Draft, person: PersonId, name: str) -> None:
    """Give a name, or take it away with ""."""
    draft.set("name", person, clean_name(name) or None)


def confirm(draft: Draft, person: PersonId, faces: Sequence[FaceId]) -> None:
    """Say that these faces are this person."""
    for face in faces:
        draft.set("pin", face, person)
        if draft.get("not_person", face, person):
            draft.set("not_person", face, None, person)
        if draft.get("mark", face):
            draft.set("mark", face, None)


def move(draft: Draft, faces: Mapping[FaceId, PersonId | None], to: PersonId) -> None:
    """Say that these faces are not whom they were given to (face: owner), but this person."""
    for face, owner in faces.items():
        if owner is not None and owner != to:
            draft.set("not_person", face, "1", owner)
    confirm(draft, to, list(faces))


def reject(draft: Draft, faces: Sequence[FaceId], person: PersonId) -> None:
    """Say that these faces are not this person."""
    for face in faces:
        draft.set("not_person", face, "1", person)
        pinned = draft.get("pin", face)
        if pinned is not None and resolve(draft.snapshot, PersonId(pinned)) == person:
            draft.set("pin", face, None)


def mark(draft: Draft, faces: Sequence[FaceId], value: Mark | None) -> None:
    """Set faces aside (nobody of interest, or no face at all), or take that back with None."""
    for face in faces:
        draft.set("mark", face, value)
        if value is not None and draft.get("pin", face):
            draft.set("pin", face, None)


def merge(draft: Draft, into: PersonId, other: PersonId, anchors: Sequence[FaceId]) -> None:
    """Say that these two are one person: `other` goes into `into`, who takes the name if only `other` had one.

    `anchors` (one face of each is enough) are pinned, so that the next clustering keeps both halves together.
    What was said against it before is taken back.
    """
    if into == other:
        raise InputError("A person cannot be merged with itself. Nothing was changed. Select two people.")
    if not draft.get("name", into) and (name := draft.get("name", other)):
        draft.set("name", into, name)
    draft.set("merged_into", other, into)
    confirm(draft, into, anchors)
    both = {into, other}
    for kind, face, obj in list(draft.snapshot.facts):
        if kind == "not_person" and obj in both and draft.get("pin", face) in both:
            draft.set("not_person", face, None, obj)


def link(draft: Draft, a: FaceId, b: FaceId, value: Link) -> None:
    """Say that the people of these two faces are one, or are not."""
    first, second = sorted((a, b))
    draft.set("link", first, value, second)


def undo(snapshot: PeopleSnapshot, record: ChangeRecord) -> Draft:
    """Draft that takes one change set back, also when it is not the last.

    Raises
    ------
    StaleWriteError
        If something it said was said anew since, or if it would take away a person about whom more was said.
    """
    draft = Draft(snapshot)
    for decision in record.decisions:
        found = snapshot.facts.get(decision.key)
        if found != decision.value:
            raise StaleWriteError(
                f"“{record.title}” cannot be taken back: since then {_in_words(decision.kind)} of "
                f"{decision.subject or 'the library'!r} became {found!r} (it had made it {decision.value!r}). "
                "Nothing was changed. Take back the later change first."
            )
        draft.set(decision.kind, decision.subject, decision.before, decision.object)
    gone = {d.subject for d in record.decisions if d.kind == "person" and d.before is None}
    if gone:
        _check_nothing_else_said(draft, gone, record)
    return draft


def _check_nothing_else_said(draft: Draft, gone: set[str], record: ChangeRecord) -> None:
    for key, value in draft.snapshot.facts.items():
        kind, subject, obj = key
        about = {subject} if kind in ("name", "hidden", "cover", "merged_into") else {obj} if obj else set()
        if kind in ("pin", "merged_into"):
            about = about | {value}
        if about & gone and draft.get(*key) is not None:
            raise StaleWriteError(
                f"“{record.title}” cannot be taken back: since then {_in_words(kind)} was set for a person whom it "
                "added. Nothing was changed. Take that back first."
            )


def _in_words(kind: Kind) -> str:
    words = {
        "merged_into": "the merging",
        "not_person": "a rejection",
        "live_run": "the published run",
        "pin": "a confirmation",
    }
    return words.get(kind, f"the {kind}")


def owners(snapshot: PeopleSnapshot, faces: Sequence[FaceId]) -> list[PersonId | None]:
    """Who owns each face now: the pin, else the live run's owner unless something said speaks against it."""
    facts = snapshot.facts
    run = snapshot.run
    given = dict(zip(run.faces, run.owner, strict=True)) if run else {}
    now = {person: resolve(snapshot, person) for person in {*snapshot.people, *filter(None, given.values())}}
    rejected = {(s, now.get(PersonId(o), o)) for kind, s, o in facts if kind == "not_person"}
    pins = {s: now.get(PersonId(v), PersonId(v)) for (kind, s, _), v in facts.items() if kind == "pin"}
    marked = {s for kind, s, _ in facts if kind == "mark"}
    found: list[PersonId | None] = []
    for face in faces:
        owner = pins.get(face)
        if owner is None and (by_run := given.get(face)) is not None:
            owner = now[by_run]
            if (face, owner) in rejected or owner not in snapshot.people:
                owner = None
        found.append(None if face in marked else owner)
    return found


def different_people(
    snapshot: PeopleSnapshot, owner: Mapping[FaceId, PersonId | None]
) -> set[tuple[PersonId, PersonId]]:
    """Pairs of people (ascending) of whom the curator said, directly or by a face, that they are not one."""
    found: set[tuple[PersonId, PersonId]] = set()

    def add(a: PersonId | None, b: PersonId | None) -> None:
        if a is not None and b is not None and a != b:
            found.add((a, b) if a < b else (b, a))

    for (kind, subject, obj), value in snapshot.facts.items():
        if kind == "link" and value == "different":
            add(owner.get(FaceId(subject)), owner.get(FaceId(obj)))
        elif kind == "not_person" and (kind_pin := snapshot.facts.get(("pin", subject, ""))) is not None:
            add(resolve(snapshot, PersonId(kind_pin)), resolve(snapshot, PersonId(obj)))
    return found


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
        Person numbers (ascending) known to be different people.
    questions : tuple[Question, ...]
        "Are these two one person?" of the live run, still open.
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
    owned = owners(snapshot, faces.ids)
    people = tuple(p.id for p in snapshot.people.values() if p.merged_into is None)
    number = {person: i for i, person in enumerate(people)}
    by_face = dict(zip(faces.ids, owned, strict=True))
    apart = frozenset(
        (number[a], number[b]) for a, b in different_people(snapshot, by_face) if a in number and b in number
    )
    present = {person for person in owned if person is not None}
    questions = tuple(q for q in _moved_on(snapshot) if _is_open(q, number, apart, present))
    asked = {p for q in questions for p in (q.person, q.other)}
    spoken_of = asked | {p for key, value in snapshot.facts.items() for p in _spoken_of(snapshot, by_face, key, value)}
    pin = np.full(len(faces), -1, np.int32)
    for at, value in _facts_of(snapshot, faces, "pin"):
        pin[at] = number.get(resolve(snapshot, PersonId(value)), -1)
    masked = np.zeros(len(faces), np.bool_)
    masked[[at for at, _ in _facts_of(snapshot, faces, "mark")]] = True
    pin[masked] = -1
    return RowState(
        people=people,
        owner=np.array([number[p] if p is not None else -1 for p in owned], np.int32),
        pin=pin,
        is_masked=masked,
        not_person=_pairs(
            (faces.row[FaceId(s)], number[person])
            for kind, s, o in snapshot.facts
            if kind == "not_person" and s in faces.row and (person := resolve(snapshot, PersonId(o))) in number
        ),
        same=_links(snapshot, faces, "same"),
        different=_links(snapshot, faces, "different"),
        is_named=np.array([("name", p, "") in snapshot.facts for p in people], np.bool_),
        is_protected=np.array([p in spoken_of for p in people], np.bool_),
        apart=apart,
        questions=questions,
    )


def _spoken_of(
    snapshot: PeopleSnapshot, owner: Mapping[FaceId, PersonId | None], key: tuple[Kind, str, str], value: str
) -> Iterable[PersonId | None]:
    """Whom a fact is about: these people do not follow clusters without asking."""
    kind, subject, obj = key
    if kind in ("name", "hidden", "cover", "merged_into"):
        yield resolve(snapshot, PersonId(subject))
    elif kind == "pin":
        yield resolve(snapshot, PersonId(value))
    elif kind == "not_person":
        yield resolve(snapshot, PersonId(obj))
    elif kind == "link":
        yield owner.get(FaceId(subject))
        yield owner.get(FaceId(obj))


def _facts_of(snapshot: PeopleSnapshot, faces: FaceSet, kind: Kind) -> Iterable[tuple[int, str]]:
    """Row and value of the facts of one kind about faces that are there."""
    for (found, subject, _), value in snapshot.facts.items():
        if found == kind and (at := faces.row.get(FaceId(subject))) is not None:
            yield at, value


def _links(snapshot: PeopleSnapshot, faces: FaceSet, wanted: Link) -> NDArray[np.int32]:
    row = faces.row
    return _pairs(
        (row[FaceId(a)], row[FaceId(b)])
        for (kind, a, b), value in snapshot.facts.items()
        if kind == "link" and value == wanted and a in row and b in row
    )


def _moved_on(snapshot: PeopleSnapshot) -> Iterable[Question]:
    """Questions of the live run about who the people are by now."""
    for q in snapshot.run.questions if snapshot.run else ():
        if q.kind == "same" and q.other is not None:
            yield Question("same", resolve(snapshot, q.person), resolve(snapshot, q.other), q.n_faces)


def _is_open(
    q: Question, number: Mapping[PersonId, int], apart: frozenset[tuple[int, int]], present: set[PersonId]
) -> bool:
    if q.other is None or q.person == q.other or not {q.person, q.other} <= present:
        return False
    pair = sorted((number[q.person], number[q.other]))
    return (pair[0], pair[1]) not in apart


def _pairs(values: Iterable[tuple[int, int]]) -> NDArray[np.int32]:
    return np.array(list(values), np.int32).reshape(-1, 2)
