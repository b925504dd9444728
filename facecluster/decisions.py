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
from dataclasses import dataclass, replace
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

# `live_labels` of a face that came after the live run.
UNSEEN = -3
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
    def keys(self) -> tuple[tuple[Kind, str, str], ...]:
        """What this draft spoke of, in the order it was said."""
        return tuple(self._new)

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
    taken |= {subject for kind, subject, _ in draft.keys if kind == "person"}
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


def resolve(said: PeopleSnapshot | Draft, person: PersonId) -> PersonId:
    """Who this person is now, after all merges."""
    seen = set()
    while (into := _into(said, person)) is not None and person not in seen:
        seen.add(person)
        person = PersonId(into)
    return person


def _into(said: PeopleSnapshot | Draft, person: PersonId) -> str | None:
    return said.get("merged_into", person) if isinstance(said, Draft) else said.facts.get(("merged_into", person, ""))


def rename(draft: Draft, person: PersonId, name: str) -> None:
    """Give a name, or take it away with ""."""
    draft.set("name", person, clean_name(name) or None)


def confirm(draft: Draft, person: PersonId, faces: Sequence[FaceId]) -> None:
    """Say that these faces are this person."""
    chosen = set(faces)
    for kind, face, obj in (*draft.snapshot.facts, *draft.keys):
        if kind == "not_person" and face in chosen and resolve(draft, PersonId(obj)) == person:
            draft.set("not_person", face, None, obj)
    for face in faces:
        draft.set("pin", face, person)
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
        if _pinned_to(draft, face) == person:
            draft.set("pin", face, None)


def _pinned_to(draft: Draft, face: FaceId) -> PersonId | None:
    """Whose a face was said to be, after all merges."""
    pinned = draft.get("pin", face)
    return None if pinned is None else resolve(draft, PersonId(pinned))


def mark(draft: Draft, faces: Sequence[FaceId], value: Mark | None) -> None:
    """Set faces aside (nobody of interest, or no face at all), or take that back with None."""
    for face in faces:
        draft.set("mark", face, value)
        if value is not None and draft.get("pin", face):
            draft.set("pin", face, None)


def merge(draft: Draft, into: PersonId, other: PersonId, anchors: Sequence[FaceId]) -> None:
    """Say that these two are one person: `other` goes into `into`, who takes the name if only `other` had one.

    `anchors` (a face of each cluster that either has faces in) are pinned, so that clustering keeps all of it together.
    What was said against it before is taken back.
    """
    if into == other:
        raise InputError("A person cannot be merged with itself. Nothing was changed. Select two people.")
    if not draft.get("name", into) and (name := draft.get("name", other)):
        draft.set("name", into, name)
    draft.set("merged_into", other, into)
    confirm(draft, into, anchors)
    for kind, face, obj in list(draft.snapshot.facts):
        if kind not in ("not_person", "link") or _pinned_to(draft, FaceId(face)) != into:
            continue
        other_side = resolve(draft, PersonId(obj)) if kind == "not_person" else _pinned_to(draft, FaceId(obj))
        if other_side == into and draft.get(kind, face, obj) != "same":
            draft.set(kind, face, None, obj)


def link(draft: Draft, a: FaceId, b: FaceId, value: Link) -> None:
    """Say that the people of these two faces are one, or are not."""
    first, second = sorted((a, b))
    draft.set("link", first, value, second)


def tell_apart(draft: Draft, a: PersonId, face_of_a: FaceId, b: PersonId, face_of_b: FaceId) -> None:
    """Say that two people are not one.

    The two faces are pinned: a link between faces that clustering may take away would be forgotten with them.
    """
    link(draft, face_of_a, face_of_b, "different")
    confirm(draft, a, [face_of_a])
    confirm(draft, b, [face_of_b])


def undo(snapshot: PeopleSnapshot, record: ChangeRecord) -> Draft:
    """Draft that takes one change set back, also when it is not the last.

    Somebody of whom it speaks again, and who went away since (nothing was said of them any more), comes back.

    Raises
    ------
    StaleWriteError
        If something it said was said anew since, if it would take away a person about whom more was said, or if two
        people would come to be merged into each other.
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
    for decision in record.decisions:
        if decision.before is not None:
            _check_no_circle(draft, decision, record)
            for person in _people_in(decision.kind, decision.subject, decision.object, decision.before):
                if person not in gone and draft.get("person", person) is None:
                    draft.set("person", person, "1")
    return draft


def _check_no_circle(draft: Draft, decision: Decision, record: ChangeRecord) -> None:
    if decision.kind == "merged_into" and draft.get("merged_into", resolve(draft, PersonId(decision.subject))):
        raise StaleWriteError(
            f"“{record.title}” cannot be taken back: since then the two were merged the other way round, and "
            "they would be merged into each other. Nothing was changed. Take back the later merging first."
        )


def _people_in(kind: Kind, subject: str, obj: str, value: str) -> set[str]:
    """The people of whom a fact speaks."""
    if kind in ("name", "hidden", "cover"):
        return {subject}
    if kind == "merged_into":
        return {subject, value}
    if kind == "pin":
        return {value}
    return {obj} if kind == "not_person" else set()


def _check_nothing_else_said(draft: Draft, gone: set[str], record: ChangeRecord) -> None:
    for key, value in draft.snapshot.facts.items():
        if _people_in(*key, value) & gone and draft.get(*key) is not None:
            raise StaleWriteError(
                f"“{record.title}” cannot be taken back: since then {_in_words(key[0])} was set for a person whom it "
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
    pins = {s: now[PersonId(v)] for (kind, s, _), v in facts.items() if kind == "pin" and v in now}
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


def live_labels(snapshot: PeopleSnapshot, faces: FaceSet) -> NDArray[np.int32]:
    """Shape (n_faces,): cluster of the live run, NOISE, BLURRED; UNSEEN for faces that came after it."""
    found = np.full(len(faces), UNSEEN, np.int32)
    if snapshot.run is not None:
        at = np.array([faces.row.get(face, -1) for face in snapshot.run.faces], np.int64)
        found[at[at >= 0]] = snapshot.run.label[at >= 0]
    return found


def _apart(snapshot: PeopleSnapshot, number: Mapping[PersonId, int]) -> frozenset[tuple[int, int]]:
    """Pairs of people who are not one: a face of the first is not the second, or not one with a face of the second.

    Confirmed faces alone speak for people: an answer must not come and go with what clusters do to a face.
    """
    found = set()
    for (kind, face, obj), value in snapshot.facts.items():
        if kind == "not_person" or (kind == "link" and value == "different"):
            other = obj if kind == "not_person" else snapshot.facts.get(("pin", obj, ""))
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
    owner = np.array([number[p] if p is not None else -1 for p in owners(snapshot, faces.ids)], np.int32)
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
            for kind, s, o in snapshot.facts
            if kind == "not_person" and s in faces.row and (person := resolve(snapshot, PersonId(o))) in number
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
    for key, value in snapshot.facts.items():
        spoken_of |= {resolve(snapshot, PersonId(p)) for p in _people_in(*key, value)}
    return replace(
        state,
        is_protected=np.array([p in spoken_of for p in people], np.bool_),
        questions=tuple(q for q in asked if q.kind == "same"),
        keeps=tuple(q for q in asked if q.kind == "keep"),
    )


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


def _open_questions(snapshot: PeopleSnapshot, state: RowState, live_label: NDArray[np.int32]) -> tuple[Question, ...]:
    """Questions of the live run that nobody answered, about who the people are by now; each one once."""
    number = {person: i for i, person in enumerate(state.people)}
    present = {state.people[p] for p in np.unique(state.owner[state.owner >= 0])}
    # What clustering does not hold together: a face pinned since is settled, and so is one that was taken away.
    loose = (live_label < 0) & (live_label != UNSEEN) & (state.pin < 0) & (state.owner >= 0)
    has_loose = {state.people[p] for p in np.unique(state.owner[loose])}
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
    return np.array(list(values), np.int32).reshape(-1, 2)
