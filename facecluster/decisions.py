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
from collections.abc import Container, Iterable, Mapping, Sequence
from hashlib import sha256

from facecluster.errors import InputError, StaleWriteError
from facecluster.model import (
    MAX_NAME_LENGTH,
    ChangeRecord,
    ChangeSet,
    Decision,
    FaceId,
    Kind,
    Link,
    Mark,
    PeopleSnapshot,
    PersonId,
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


def person_id(first_face: FaceId, taken: Container[str]) -> PersonId:
    """An id nobody has, from the person's first face."""
    salt = 0
    while True:
        digest = sha256(f"{first_face}\0{salt}".encode("utf-8", "surrogatepass")).hexdigest()
        person = PersonId(f"p-{digest[:12]}")
        if person not in taken:
            return person
        salt += 1


def folded(facts: Mapping[tuple[Kind, str, str], str], news: Iterable[Decision]) -> dict[tuple[Kind, str, str], str]:
    """Facts after decisions that were made on them, one after the other."""
    found = dict(facts)
    for decision in news:
        if decision.value is None:
            found.pop(decision.key, None)
        else:
            found[decision.key] = decision.value
    return found


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
        If something it said was said anew since, if it would take away a person about whom more was said, if two
        people would come to be merged into each other, or if a face would be confirmed and ruled out at once.
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
            for person in people_in(decision.kind, decision.subject, decision.object, decision.before):
                if person not in gone and draft.get("person", person) is None:
                    draft.set("person", person, "1")
    _check_no_contradiction(draft, record)
    return draft


def erasure(
    revision: int, author: str, faces: Sequence[str], people: Sequence[str], n_people: int = 1, verb: str = "Erased"
) -> ChangeSet:
    """The change after which nothing is known of these any more; there is no taking it back."""
    whom = "a person" if n_people == 1 else f"{n_people:,} people"
    n = "1 face" if len(faces) == 1 else f"{len(faces):,} faces"
    return ChangeSet(revision, author, f"{verb} {whom} and {n}", (), erased=(*faces, *people))


def _check_no_circle(draft: Draft, decision: Decision, record: ChangeRecord) -> None:
    if decision.kind == "merged_into" and draft.get("merged_into", resolve(draft, PersonId(decision.subject))):
        raise StaleWriteError(
            f"“{record.title}” cannot be taken back: since then the two were merged the other way round, and "
            "they would be merged into each other. Nothing was changed. Take back the later merging first."
        )


def _check_no_contradiction(draft: Draft, record: ChangeRecord) -> None:
    for kind, face, obj in (*draft.snapshot.facts, *draft.keys):
        if kind not in ("mark", "not_person") or draft.get(kind, face, obj) is None:
            continue
        person = _pinned_to(draft, FaceId(face))
        if person is not None and (kind == "mark" or resolve(draft, PersonId(obj)) == person):
            raise StaleWriteError(
                f"“{record.title}” cannot be taken back: the face {face!r} would be confirmed and ruled out at once "
                "by what was said since. Nothing was changed. Take back the later change first."
            )


def people_in(kind: Kind, subject: str, obj: str, value: str) -> set[str]:
    """The people of whom a fact speaks."""
    if kind in ("name", "hidden", "cover"):
        return {subject}
    if kind == "merged_into":
        return {subject, value}
    if kind == "pin":
        return {value}
    return {obj} if kind == "not_person" else set()


def _check_nothing_else_said(draft: Draft, gone: set[str], record: ChangeRecord) -> None:
    for key in draft.snapshot.facts:
        value = draft.get(*key)
        if value is not None and people_in(*key, value) & gone:
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
