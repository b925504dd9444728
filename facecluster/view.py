"""One moment of a library as the screens show it: people with their faces, and the faces that are nobody's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering import cover
from facecluster.decisions import resolve
from facecluster.earlier import Earlier, Owned
from facecluster.errors import InputError
from facecluster.images import secured
from facecluster.loose import LooseFaces
from facecluster.model import BLURRED, FaceId, FaceSet, PeopleSnapshot, Person, PersonId
from facecluster.nearest import Lists, Nearest, nearest_after, nearest_of
from facecluster.row_state import UNSEEN, RowState, live_labels, owners, row_state, told_otherwise
from facecluster.search import cosine, distances
from facecluster.tally import stable_order

Sort = Literal["most faces", "fewest faces", "name", "unnamed first"]
FaceOrder = Literal["certainty", "photo", "folder"]

_SAMPLE = 2000
_NO_MARK = 1.0  # as alike as a face is to itself: nobody is likely anybody
_QUICK = 20_000_000  # pairs of faces; their products take a fifth of a second


class PersonCard(NamedTuple):
    """A person in a grid; a tuple, because there are thousands after every act."""

    id: PersonId
    name: str
    n_faces: int
    n_confirmed: int
    is_hidden: bool
    cover: FaceId | None


@dataclass(frozen=True)
class FaceCard:
    """A face in a grid. `strength` in [0, 1] is None where the live run did not put it there."""

    id: FaceId
    person: PersonId | None
    is_confirmed: bool
    strength: float | None
    photo: str
    folder: str
    blur_score: float | None


@dataclass(frozen=True)
class View:
    """Faces, facts and live run of one moment; everything else is derived once and kept.

    Attributes
    ----------
    version, version_but_names : str
        Different whenever anything in the view is; whenever anything is but names, covers and who is hidden.
    earlier : Earlier
        What is known from another view of the same faces.
    find_lists : Callable[[View], Lists | None]
        Reads the saved neighbour lists of these faces; None where there are none.
    """

    version: str
    version_but_names: str
    faces: FaceSet
    snapshot: PeopleSnapshot
    state: RowState
    blur_threshold: float
    earlier: Earlier = field(default_factory=Earlier)
    find_lists: Callable[[View], Lists | None] = lambda _: None

    def later(self, version: str, snapshot: PeopleSnapshot) -> View:
        """The same faces at a later moment; what is known to be the same is not reckoned anew."""
        now, told = snapshot.following(self.snapshot)
        if told is None:
            return view_of(version, self.faces, now, self.blur_threshold, self.find_lists, self.known)
        found = replace(self, version=version, snapshot=now, state=told_otherwise(self.state, now, told))
        known = {key: value for key, value in self.__dict__.items() if key not in found.__dict__}
        cards = known.pop("cards", None)
        for name in ("card_of", "without_faces", "_in_order"):
            known.pop(name, None)
        found.__dict__.update(known)
        if cards is not None and told <= self.card_of.keys():
            found.__dict__["cards"] = tuple(found._card(one.id) if one.id in told else one for one in cards)
        return found

    @cached_property
    def number(self) -> dict[PersonId, int]:
        """Person number of each living person."""
        return {person: i for i, person in enumerate(self.state.people)}

    @cached_property
    def _rows_by_person(self) -> list[NDArray[np.int64]]:
        before = self.earlier.owned
        if before is not None and self.state.owns_as(before.state):
            return before.rows
        owner = self.state.owner
        order = stable_order(owner)
        ends = np.searchsorted(owner[order], np.arange(len(self.state.people) + 1))
        return [order[ends[p] : ends[p + 1]] for p in range(len(self.state.people))]

    @cached_property
    def owned(self) -> Owned:
        """Whose the faces are; what of it is the same as at the moment before is not looked at again."""
        before = self.earlier.owned
        if before is not None and before.rows is self._rows_by_person:
            return before
        return Owned(
            self.state,
            self._rows_by_person,
            [self.covers[rows.tobytes()] if len(rows) else None for rows in self._rows_by_person],
        )

    def person(self, person: PersonId) -> Person:
        """One living person.

        Raises
        ------
        InputError
            If there is none of this id (any more).
        """
        if person not in self.number:
            raise InputError(
                f"There is no person {person!r} (any more): merged, or from another library. Nothing was changed. "
                "Choose somebody on the People page (or `facecluster people`)."
            )
        return self.snapshot.people[person]

    def rows(self, person: PersonId) -> NDArray[np.int64]:
        """Face rows of a person, ascending."""
        self.person(person)
        return self._rows_by_person[self.number[person]]

    def survivor(self, person: PersonId) -> PersonId | None:
        """Who this person is after all merges; None where nobody of this id ever was."""
        now = resolve(self.snapshot, person)
        return now if now in self.number else None

    def called(self, person: PersonId) -> str:
        """A person in a sentence: the name in quotes, or how many faces the nameless one has."""
        name = self.person(person).name
        n = len(self.rows(person))
        return f"“{name}”" if name else f"an unnamed person ({'1 face' if n == 1 else f'{n:,} faces'})"

    def anchors(self, person: PersonId) -> list[FaceId]:
        """Faces that hold a person together: one of each live cluster, confirmed ones and then certain ones first."""
        rows = self.rows(person)
        order = rows[np.lexsort((rows, -self.strength[rows], self.state.pin[rows] < 0))]
        _, first = np.unique(self.label[order], return_index=True)
        return [self.faces.ids[row] for row in order[np.sort(first)]]

    def fallen_out(self, person: PersonId) -> list[FaceId]:
        """Faces of a person that clustering no longer puts together, and that nobody confirmed."""
        rows = self.rows(person)
        loose = (self.label[rows] < 0) & (self.label[rows] != UNSEEN) & (self.state.pin[rows] < 0)
        return [self.faces.ids[row] for row in rows[loose]]

    def everything_of(self, person: PersonId) -> tuple[list[FaceId], list[PersonId]]:
        """All faces of a person, those included that are no longer in the index, and everybody merged into them."""
        said = {face for kind, face, _ in self.snapshot.facts if kind == "pin"}
        run = self.snapshot.run
        elsewhere = sorted(FaceId(f) for f in {*said, *(run.faces if run else ())} - self.faces.row.keys())
        faces = [
            face for face, owner in zip(elsewhere, owners(self.snapshot, elsewhere), strict=True) if owner == person
        ]
        people = [one for one in self.snapshot.people if resolve(self.snapshot, one) == person]
        return [*(self.faces.ids[row] for row in self.rows(person)), *faces], people

    def larger_first(self, a: PersonId, b: PersonId) -> tuple[PersonId, PersonId]:
        """Two people: who has a name, then who has more faces, comes first."""
        first, second = sorted((a, b), key=lambda p: (not self.person(p).name, -len(self.rows(p)), p))
        return first, second

    @property
    def live_blur_threshold(self) -> float:
        """The one of the live run; of the settings where there is none."""
        value = self.snapshot.run.params.get("blur_threshold") if self.snapshot.run is not None else None
        return float(value) if isinstance(value, int | float) else self.blur_threshold

    def ids_of(self, person: PersonId) -> list[FaceId]:
        """Face ids of a person, ascending."""
        return [self.faces.ids[row] for row in self.rows(person)]

    def check(self, faces: Sequence[FaceId]) -> None:
        """Refuse a selection that is empty, or of faces that are not there."""
        if not faces:
            raise InputError("No face is selected. Nothing was changed. Select one or more.")
        for face in faces:
            self.row(face)

    def face(self, face: FaceId) -> FaceCard:
        """One face, as the screens show it."""
        return self._face(self.row(face))

    def _face(self, row: int) -> FaceCard:
        faces, owner, blur = self.faces, int(self.state.owner[row]), float(self.faces.blur_score[row])
        return FaceCard(
            faces.ids[row],
            self.state.people[owner] if owner >= 0 else None,
            bool(self.state.pin[row] >= 0),
            float(self.strength[row]) if self.label[row] >= 0 else None,
            faces.photo[row],
            faces.folder[row],
            None if np.isnan(blur) else blur,
        )

    def faces_of(self, person: PersonId, order: FaceOrder = "certainty") -> list[FaceCard]:
        """A person's faces: the least certain first and the confirmed ones last, or by photo, or by folder."""
        cards = [self._face(row) for row in self.rows(person).tolist()]
        if order == "photo":
            return sorted(cards, key=lambda card: (not card.photo, card.photo, card.id))
        if order == "folder":
            return sorted(cards, key=lambda card: (not card.folder, card.folder, card.photo, card.id))
        return sorted(cards, key=lambda card: (card.is_confirmed, card.strength or 0.0, card.id))

    def n_photos(self, person: PersonId) -> int:
        """Photos that a person is in; faces without a known photo count for none."""
        return len({self.faces.photo[row] for row in self.rows(person).tolist()} - {""})

    def in_photo(self, face: FaceId) -> list[FaceCard]:
        """All faces of the photo that a face is in, that face first; only itself where the photo is unknown."""
        at = self.row(face)
        number = self.faces.photo_number
        rows = np.flatnonzero(number == number[at]) if number[at] >= 0 else np.array([at])
        return [self._face(at), *(self._face(row) for row in rows.tolist() if row != at)]

    @cached_property
    def image_hosts(self) -> dict[str, int]:
        """Hosts of the https addresses in the data, and how many faces name each; the most frequent first."""
        found: Counter[str] = Counter()
        for urls in zip(self.faces.url, self.faces.crop_urls, strict=True):
            found.update({host for host in map(_host, urls) if host})
        return dict(found.most_common())

    def centre(self, person: PersonId) -> NDArray[np.float32]:
        """The middle of a person's faces, length 1.

        Raises
        ------
        InputError
            If the person has none.
        """
        rows = self.rows(person)
        if not len(rows):
            raise InputError("This person has no faces at present, so there is nothing to search by. Choose another.")
        middle = self.faces.vectors[rows].mean(axis=0)
        length = float(np.linalg.norm(middle))
        return np.asarray(middle / length if length > 0 else self.faces.vectors[rows[0]], np.float32)

    def spread(self, person: PersonId) -> tuple[float, float]:
        """Distance (and cosine) from the centre within which nine of ten of a person's faces lie."""
        away = distances(self.faces.vectors, self.rows(person), self.centre(person))
        reach = float(np.quantile(away, 0.9))
        return reach, cosine(reach)

    def owner(self, face: FaceId) -> PersonId | None:
        """Who owns a face."""
        at = int(self.state.owner[self.row(face)])
        return self.state.people[at] if at >= 0 else None

    def row(self, face: FaceId) -> int:
        """Row of a face.

        Raises
        ------
        InputError
            If the library does not hold it.
        """
        at = self.faces.row.get(face)
        if at is None:
            raise InputError(f"There is no face {face!r} in this library. Nothing was changed. Reload the page.")
        return at

    @cached_property
    def cards(self) -> tuple[PersonCard, ...]:
        """Everybody with faces or a name, hidden ones too, most faces first, then by id."""
        cards = [self._card(person) for person in self.state.people]  # by id
        shown = (card for card in cards if card.n_faces or card.name)
        return tuple(sorted(shown, key=attrgetter("n_faces"), reverse=True))

    @cached_property
    def _n_confirmed(self) -> list[int]:
        pins = self.state.pin[self.state.pin >= 0]
        return np.bincount(pins, minlength=len(self.state.people)).tolist()  # type: ignore[no-any-return]

    def _card(self, person: PersonId) -> PersonCard:
        known, i = self.snapshot.people[person], self.number[person]
        n_faces = len(self._rows_by_person[i])
        return PersonCard(person, known.name, n_faces, self._n_confirmed[i], known.is_hidden, self._cover(known, i))

    def _cover(self, person: Person, number: int) -> FaceId | None:
        # A face chosen by hand and given to somebody else since would show the wrong face.
        if person.cover is not None and self.faces.row.get(person.cover, -1) in self._rows_by_person[number]:
            return person.cover
        return self.owned.covers[number]

    @cached_property
    def covers(self) -> dict[bytes, FaceId]:
        """The cover by rule for each person's rows, as bytes; most people are the same as a change ago."""
        groups = [rows for rows in self._rows_by_person if len(rows)]
        return {key: self.earlier.covers.get(key) or self._covered(rows) for rows in groups for key in [rows.tobytes()]}

    def _covered(self, rows: NDArray[np.int64]) -> FaceId:
        return self.faces.ids[int(cover(rows, self.faces.vectors, self.faces.blur_score, self.blur_threshold))]

    @cached_property
    def card_of(self) -> dict[PersonId, PersonCard]:
        """Card by person."""
        return {card.id: card for card in self.cards}

    def people(self, search: str = "", sort: Sort = "most faces", show_hidden: bool = False) -> list[PersonCard]:
        """Cards with faces, as the People page lists them."""
        asked = sort, show_hidden
        cards = self._in_order.get(asked)
        if cards is None:
            cards = self._in_order[asked] = self._sorted(*asked)
        words = search.casefold().split()
        return [card for card in cards if all(word in card.name.casefold() for word in words)] if words else [*cards]

    @cached_property
    def _in_order(self) -> dict[tuple[Sort, bool], list[PersonCard]]:
        return {}  # each order once: a window asks for it at every turn

    def _sorted(self, sort: Sort, show_hidden: bool) -> list[PersonCard]:
        cards = [card for card in self.cards if card.n_faces and (show_hidden or not card.is_hidden)]
        if sort == "fewest faces":
            cards.sort(key=lambda card: (card.n_faces, card.id))
        elif sort == "name":
            cards.sort(key=lambda card: (not card.name, card.name.casefold(), -card.n_faces, card.id))
        elif sort == "unnamed first":
            cards.sort(key=lambda card: card.name != "")
        return cards

    @cached_property
    def without_faces(self) -> list[PersonCard]:
        """Named people to whom no face belongs at present: nothing of them is lost, and they need a look."""
        return [card for card in self.cards if not card.n_faces]

    def named(self, name: str, but: PersonId) -> list[PersonCard]:
        """Other people of the same name."""
        return [c for c in self.cards if c.name and c.name.casefold() == name.casefold() and c.id != but]

    @cached_property
    def label(self) -> NDArray[np.int32]:
        """Shape (n_faces,): cluster of the live run, NOISE, BLURRED; UNSEEN for faces that came after it."""
        return live_labels(self.snapshot, self.faces)

    @cached_property
    def strength(self) -> NDArray[np.float32]:
        """Shape (n_faces,): membership in the live run; 0 for faces that came after it."""
        found = np.zeros(len(self.faces), np.float32)
        run = self.snapshot.run
        if run is not None:
            at = run.rows_in(self.faces)
            found[at[at >= 0]] = run.strength[at >= 0]
        return found

    @cached_property
    def noise_rows(self) -> NDArray[np.int64]:
        """Rows of the faces that are nobody's, ascending; the blur filter let them pass."""
        return self._loose(self.label != BLURRED)

    @cached_property
    def blurred_rows(self) -> NDArray[np.int64]:
        """Rows of the faces that the blur filter left out and nobody took in, ascending."""
        return self._loose(self.label == BLURRED)

    def _loose(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero((self.state.owner < 0) & ~self.state.is_masked & which)

    @cached_property
    def near_noise(self) -> Nearest:
        """The nearest person of each of `noise_rows`."""
        return self._nearest(self.noise_rows, self.earlier.noise)

    @cached_property
    def near_blurred(self) -> Nearest:
        """The nearest person of each of `blurred_rows`."""
        return self._nearest(self.blurred_rows, self.earlier.blurred)

    @property
    def is_near_known(self) -> bool:
        """Whether `near_noise` answers at once, or nearly so."""
        known = "near_noise" in self.__dict__ or self.earlier.noise is not None or self.lists is not None
        return known or len(self.noise_rows) * len(self.faces) < _QUICK

    def _nearest(self, rows: NDArray[np.int64], old: Nearest | None) -> Nearest:
        vectors = self.faces.vectors.view(np.ndarray)
        if old is None:
            return nearest_of(vectors, self.state, rows, self.lists)
        return nearest_after(old, vectors, self.state, rows, self.lists)

    @cached_property
    def lists(self) -> Lists | None:
        """Saved neighbour lists of these faces."""
        return self.find_lists(self)

    @property
    def known(self) -> Earlier:
        """What a view of a later moment of the same faces need not reckon anew."""
        found = self.__dict__
        mark = found.get("usual_cosine", _NO_MARK)
        usual = self.earlier.usual if mark == _NO_MARK else (self._run_id, mark)
        noise, blurred = found.get("near_noise", self.earlier.noise), found.get("near_blurred", self.earlier.blurred)
        covers, owned = found.get("covers", self.earlier.covers), found.get("owned", self.earlier.owned)
        return Earlier(covers, owned, noise, blurred, usual)

    @cached_property
    def noise(self) -> LooseFaces:
        """Faces that are nobody's, those nearest to somebody first."""
        return self._with_nearest(self.near_noise)

    @cached_property
    def too_blurred(self) -> LooseFaces:
        """Faces that the blur filter left out: neither noise nor lost."""
        return self._with_nearest(self.near_blurred)

    @property
    def set_aside(self) -> list[tuple[FaceId, str]]:
        """Faces ignored or said to be none, and which of the two."""
        facts = self.snapshot.facts.items()
        return sorted((FaceId(s), v) for (kind, s, _), v in facts if kind == "mark" and s in self.faces.row)

    @cached_property
    def n_new(self) -> int:
        """Faces that came after the live run."""
        return int((self.label == UNSEEN).sum())

    @property
    def _run_id(self) -> str:
        return self.snapshot.run.id if self.snapshot.run is not None else ""

    @cached_property
    def usual_cosine(self) -> float:
        """Cosine that 19 of 20 faces with an owner reach with the nearest other face of that owner; 1 for no such.

        From a sample: what is wanted is a mark beside doubtful faces, not a fourth digit. Taken once for each run, so
        that the mark stands still while a curator works.
        """
        if self.earlier.usual is not None and self.earlier.usual[0] == self._run_id:
            return self.earlier.usual[1]
        owned = np.flatnonzero(self.state.owner >= 0)
        some = owned[:: -(-len(owned) // _SAMPLE) or 1]
        found = nearest_of(self.faces.vectors.view(np.ndarray), self.state, some, self.lists)
        same = (found.near >= 0) & (found.person == self.state.owner[some])
        return cosine(float(np.quantile(found.away[same], 0.95))) if same.any() else _NO_MARK

    def nearest(self, faces: Sequence[FaceId]) -> LooseFaces:
        """Each of some faces, whosever they are, with the nearest face of anybody but itself; nearest first."""
        rows = np.array(sorted(self.row(face) for face in faces), np.int64)
        return self._with_nearest(nearest_of(self.faces.vectors.view(np.ndarray), self.state, rows, self.lists))

    def _with_nearest(self, found: Nearest) -> LooseFaces:
        return LooseFaces.nearest_first(self.faces.ids, self.state.people, found)


def view_of(
    version: str,
    faces: FaceSet,
    snapshot: PeopleSnapshot,
    blur_threshold: float,
    find_lists: Callable[[View], Lists | None],
    earlier: Earlier | None = None,
) -> View:
    """The view of a moment, with its facts in row numbers."""
    state = row_state(snapshot, faces)
    return View(version, version, faces, snapshot, state, blur_threshold, earlier or Earlier(), find_lists)


def _host(url: str) -> str:
    try:
        parts = urlsplit(secured(url))
        return (parts.hostname or "").lower() if parts.scheme == "https" else ""
    except ValueError:  # brackets that do not close
        return ""
