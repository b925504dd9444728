"""The values everything speaks of: faces, people, decisions, runs. Frozen, checked once at the door."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NewType

import numpy as np
from numpy.typing import NDArray

from facecluster.errors import InputError

FaceId = NewType("FaceId", str)
PersonId = NewType("PersonId", str)
UserId = NewType("UserId", str)

MAX_NAME_LENGTH = 200


@dataclass(frozen=True)
class FaceBatch:
    """Faces on their way into a store, column by column; what is unknown is empty, not wrong.

    Attributes
    ----------
    ids : tuple[str, ...]
        One opaque id a face.
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), any length; the store's door normalises.
    photo, url, folder : tuple[str, ...]
        The picture the face is in (any key), its address, its folder; "" where unknown.
    blur_score : NDArray[np.float32]
        Shape (n_faces,), variance of the Laplacian; NaN where unknown.
    boxes : NDArray[np.float32]
        Shape (n_faces, 4), left, top, right, bottom in pixels of the photo; NaN where unknown.
    crops : tuple[bytes, ...]
        The face cut out, as JPEG, PNG or WebP bytes; b"" where there is none.
    crop_urls : tuple[str, ...]
        Address of the cut-out face where it is not at hand as bytes; "" where there is none.
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    photo: tuple[str, ...]
    url: tuple[str, ...]
    folder: tuple[str, ...]
    blur_score: NDArray[np.float32]
    boxes: NDArray[np.float32]
    crops: tuple[bytes, ...]
    crop_urls: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.ids)
        lengths = {
            "vectors": len(self.vectors),
            "photo": len(self.photo),
            "url": len(self.url),
            "folder": len(self.folder),
            "blur_score": len(self.blur_score),
            "boxes": len(self.boxes),
            "crops": len(self.crops),
            "crop_urls": len(self.crop_urls),
        }
        for name, length in lengths.items():
            if length != n:
                raise InputError(f"{n:,} ids but {length:,} values of {name!r}. Nothing was imported.")

    def only(self, wanted: NDArray[np.bool_]) -> FaceBatch:
        """Some of the faces; `wanted` has shape (n_faces,)."""
        rows = np.flatnonzero(wanted).tolist()
        return FaceBatch(
            ids=tuple(self.ids[i] for i in rows),
            vectors=self.vectors[rows],
            photo=tuple(self.photo[i] for i in rows),
            url=tuple(self.url[i] for i in rows),
            folder=tuple(self.folder[i] for i in rows),
            blur_score=self.blur_score[rows],
            boxes=self.boxes[rows],
            crops=tuple(self.crops[i] for i in rows),
            crop_urls=tuple(self.crop_urls[i] for i in rows),
        )


@dataclass(frozen=True)
class Coverage:
    """How much of a hosted index a set of faces holds.

    Attributes
    ----------
    n_read : int
        Faces that are here.
    n_there : int | None
        Faces that the index says it holds; None where it does not say.
    is_complete : bool
        Every face that the index lists is here, and it counts as many.
    why : str
        Why not, or what else to know (faces that were refused), in one sentence; "" for nothing.
    """

    n_read: int
    n_there: int | None
    is_complete: bool
    why: str = ""

    def in_words(self) -> str:
        """One sentence for screens, reports and the record of a run."""
        if self.is_complete:
            text = f"All {self.n_read:,} faces of the index are here."
        elif self.n_there is None:
            text = f"{self.n_read:,} faces are here, of an unknown number."
        else:
            text = f"{self.n_read:,} of {self.n_there:,} faces of the index are here."
        return f"{text} {self.why}".strip()

    def for_the_record(self) -> dict[str, object]:
        """What a run's parameters say of it."""
        return {"source": {"read": self.n_read, "there": self.n_there, "complete": self.is_complete}}


@dataclass(frozen=True)
class Fetched:
    """What a look at a hosted index brought."""

    added: int = 0
    replaced: int = 0
    removed: int = 0
    coverage: Coverage | None = None  # None: the store is its own source, there was nothing to fetch


@dataclass(frozen=True)
class FaceSet:
    """All faces of one user, ordered by id, their vectors of length 1.

    Attributes
    ----------
    ids : tuple[FaceId, ...]
        Ascending.
    vectors : NDArray[np.float32]
        Shape (n_faces, dimension), unit rows; may be a read-only memory map.
    photo, url, folder, crop_urls : tuple[str, ...]
        "" where unknown.
    blur_score : NDArray[np.float32]
        Shape (n_faces,); NaN where unknown.
    boxes : NDArray[np.float32]
        Shape (n_faces, 4), pixels; NaN where unknown.
    fingerprint : str
        SHA-256 of ids and vectors, hexadecimal: what hierarchies are saved under.
    picture_marks : tuple[str, ...]
        Short hash of the picture of each face that the store has one of, "" for none.
    coverage : Coverage | None
        How much of a hosted index this is; None where the store is its own source.
    """

    ids: tuple[FaceId, ...]
    vectors: NDArray[np.float32]
    photo: tuple[str, ...]
    url: tuple[str, ...]
    folder: tuple[str, ...]
    crop_urls: tuple[str, ...]
    blur_score: NDArray[np.float32]
    boxes: NDArray[np.float32]
    fingerprint: str
    picture_marks: tuple[str, ...] = ()
    coverage: Coverage | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row(self) -> Mapping[FaceId, int]:
        """Row number of each face id."""
        return {face: row for row, face in enumerate(self.ids)}

    @cached_property
    def photo_number(self) -> NDArray[np.int32]:
        """Shape (n_faces,): equal numbers are one photo, -1 where the photo is unknown."""
        numbers: dict[str, int] = {"": -1}
        return np.fromiter((numbers.setdefault(key, len(numbers) - 1) for key in self.photo), np.int32, len(self.photo))

    @cached_property
    def n_photos(self) -> int:
        """How many photos are known."""
        return int(self.photo_number.max(initial=-1)) + 1

    def sharp(self, blur_threshold: float) -> NDArray[np.bool_]:
        """Shape (n_faces,): not blurred; a face without a score counts as sharp."""
        return ~(self.blur_score < blur_threshold)


def content_fingerprint(ids: tuple[str, ...], vectors: NDArray[np.float32]) -> str:
    """SHA-256 over ids and vectors: equal exactly when a clustering would be equal."""
    digest = hashlib.sha256()
    for face in ids:
        raw = face.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "little") + raw)
    digest.update(np.ascontiguousarray(vectors, "<f4").data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Person:
    """A human who owns faces. Clusters come and go; a person stays."""

    id: PersonId
    name: str = ""
    is_hidden: bool = False
    cover: FaceId | None = None  # chosen by hand; None means that the rule chooses
    merged_into: PersonId | None = None


# What a curator can say. The first word of a decision's key; see `decisions` for the whole table.
Kind = Literal[
    "person", "name", "hidden", "cover", "merged_into", "pin", "not_person", "link", "mark", "live_run", "run_name"
]
Mark = Literal["ignored", "not_a_face"]
Link = Literal["same", "different"]


@dataclass(frozen=True)
class Decision:
    """One fact: what `subject` (and `object`) is said to be now, and what it was before.

    Attributes
    ----------
    kind, subject, object : str
        Together the key. `object` is "" for facts about one thing.
    value, before : str | None
        None means that nothing is said.
    """

    kind: Kind
    subject: str
    object: str
    value: str | None
    before: str | None

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What the decision is about."""
        return (self.kind, self.subject, self.object)

    def inverse(self) -> Decision:
        """The decision that takes this one back."""
        return Decision(self.kind, self.subject, self.object, self.before, self.value)


@dataclass(frozen=True)
class ChangeSet:
    """What is written, all or nothing.

    `decisions` hold old and new values, so the inverse is there without being stored twice.
    `run` is staged together with them when a plan is published. `erased` are ids of faces and people of whom nothing
    may stay: facts, rows of runs, decisions in the log, titles with their names. It has no inverse.
    """

    base_revision: int
    author: str
    title: str
    decisions: tuple[Decision, ...]
    run: Run | None = None
    undoes: int | None = None  # the revision that this change set takes back
    erased: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangeRecord:
    """A change set as history keeps it."""

    revision: int
    at: str  # ISO 8601, UTC
    author: str
    title: str
    decisions: tuple[Decision, ...]
    undoes: int | None
    n_erased: int = 0  # faces and people that it erased; such a change cannot be taken back


@dataclass(frozen=True)
class Question:
    """What reconcile could not settle; until it is answered, names stay with their faces.

    `same`: are `person` and `other` one human? `keep`: do the faces that clustering no longer puts together
    still belong to `person`?
    """

    kind: Literal["same", "keep"]
    person: PersonId
    other: PersonId | None
    n_faces: int

    @property
    def id(self) -> str:
        """The same for the same question, whoever asks it."""
        people = sorted([self.person, self.other]) if self.other else [self.person]
        return f"{self.kind}:{':'.join(people)}"


@dataclass(frozen=True)
class Run:
    """One published clustering, as it was when it was published.

    Attributes
    ----------
    id : str
        Content-addressed: the same faces, parameters and owners give the same id.
    params : Mapping[str, object]
        What it was made with: min_samples, min_cluster_size, epsilon, method, blur_threshold, refine, engine, and
        "source" (read, there, complete) where the faces came from a hosted index.
    fingerprint : str
        Of the faces that were clustered.
    faces : tuple[FaceId, ...]
        Every face that there was, clustered or not.
    owner : tuple[PersonId | None, ...]
        Who owns each face.
    label : NDArray[np.int32]
        Shape (n_faces,): the cluster (refined, if `params` say so), NOISE = -1, and -2 for faces left out as blurred.
    strength : NDArray[np.float32]
        Shape (n_faces,), in [0, 1].
    reason : Mapping[FaceId, str]
        Why refine changed a face.
    questions : tuple[Question, ...]
        Open when it was published.
    """

    id: str
    params: Mapping[str, object]
    fingerprint: str
    faces: tuple[FaceId, ...]
    owner: tuple[PersonId | None, ...]
    label: NDArray[np.int32]
    strength: NDArray[np.float32]
    reason: Mapping[FaceId, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()

    @cached_property
    def owners(self) -> tuple[tuple[PersonId, ...], NDArray[np.int32]]:
        """Everybody who owns a face, and for each face which of them, -1 for nobody; shape (n_faces,)."""
        number: dict[PersonId | None, int] = {None: -1}
        codes = [number.setdefault(owner, len(number) - 1) for owner in self.owner]
        return tuple(owner for owner in number if owner is not None), np.array(codes, np.int32)

    @cached_property
    def owner_of(self) -> Mapping[FaceId, PersonId | None]:
        """Owner of each face."""
        return dict(zip(self.faces, self.owner, strict=True))

    def rows_in(self, faces: FaceSet) -> NDArray[np.int64]:
        """Shape (n_faces,): the row of each face in a set, -1 where it is gone; kept for the set last asked about."""
        known: tuple[FaceSet, NDArray[np.int64]] | None = self.__dict__.get("_rows_in")
        if known is None or known[0] is not faces:
            known = faces, np.array([faces.row.get(face, -1) for face in self.faces], np.int64)
            self.__dict__["_rows_in"] = known  # as cached_property keeps its value beside the frozen fields
        return known[1]


BLURRED = -2  # `Run.label` of a face that the blur filter left out


@dataclass(frozen=True)
class RunRecord:
    """A run in a list: everything but its rows."""

    id: str
    at: str
    author: str
    params: Mapping[str, object]
    n_faces: int
    n_people: int
    n_noise: int


# What a `Person` is made of.
_OF_A_PERSON = frozenset({"person", "name", "hidden", "cover", "merged_into"})


@dataclass(frozen=True)
class PeopleSnapshot:
    """Everything a curator said, and the live run, at one revision.

    Attributes
    ----------
    revision : int
        Grows by one with each change set.
    facts : Mapping[tuple[Kind, str, str], str]
        The fold of all decisions: key to value; keys without a value are absent.
    run : Run | None
        The live one.
    """

    revision: int
    facts: Mapping[tuple[Kind, str, str], str]
    run: Run | None

    @cached_property
    def _by_kind(self) -> dict[Kind, list[tuple[str, str, str]]]:
        found: dict[Kind, list[tuple[str, str, str]]] = {}
        for (kind, subject, obj), value in self.facts.items():
            found.setdefault(kind, []).append((subject, obj, value))
        return found

    def of_kind(self, kind: Kind) -> Sequence[tuple[str, str, str]]:
        """Subject, object and value of the facts of one kind: most of them are about people, and few about faces."""
        return self._by_kind.get(kind, [])

    @cached_property
    def people(self) -> Mapping[PersonId, Person]:
        """All people there ever were and still are, merged ones included, by id."""
        ids = sorted(subject for subject, _, _ in self.of_kind("person"))
        return {PersonId(id_): self._person(id_) for id_ in ids}

    def _person(self, id_: str) -> Person:
        cover, into = self.facts.get(("cover", id_, "")), self.facts.get(("merged_into", id_, ""))
        return Person(
            PersonId(id_),
            self.facts.get(("name", id_, ""), ""),
            ("hidden", id_, "") in self.facts,
            FaceId(cover) if cover is not None else None,
            PersonId(into) if into is not None else None,
        )

    def following(self, before: PeopleSnapshot) -> tuple[PeopleSnapshot, frozenset[PersonId] | None]:
        """The same after a moment before, and who is told otherwise since; None where more than that is new.

        Whoever has the facts of then is the very object of then. Told otherwise is who has another name or cover, or is
        hidden now: most changes are a name, and nothing about faces follows from one. What was taken away counts as
        more: whether anything else is said of that person would have to be looked up.
        """
        changed = {key for key, _ in self.facts.items() ^ before.facts.items()}
        said = {who for kind, who, _ in changed if kind in _OF_A_PERSON}
        people = {**before.people, **{PersonId(who): self._person(who) for who in said}}
        gone = {who for who in said if ("person", who, "") not in self.facts}
        if gone or len(people) > len(before.people):
            people = {who: people[who] for who in sorted(people) if who not in gone}
        found = replace(self)
        found.__dict__["people"] = people
        is_more = self.run is not before.run or any(
            kind not in ("name", "hidden", "cover") or who not in before.people or (kind, who, what) not in self.facts
            for kind, who, what in changed
        )
        return found, None if is_more else frozenset(PersonId(who) for _, who, _ in changed)
