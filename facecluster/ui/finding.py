"""What Find is asked for, which stands in the address (but for an uploaded vector), and its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, cast, get_args

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from facecluster.answers import NOBODY, Answer, Asked, Likely, similar
from facecluster.doubts import loose
from facecluster.errors import InputError
from facecluster.model import FaceId, PersonId
from facecluster.query_vectors import ENDINGS, MAX_BYTES, QueryVectors, query_vectors
from facecluster.ui import reviewing, session, widgets
from facecluster.view import PersonCard

SCOPE = "find"
Mode = Literal["alike", "photos", "vector"]
MODES: dict[Mode, str] = {"alike": "Look-alikes", "photos": "In a photo", "vector": "By vector"}
# What may be asked for instead of the number in the settings.
MORE = (200, 1000, 5000)
# People, and faces, offered to begin with.
OFFERED = 36
_IN_PHOTOS = ("all", "any", "without")


@dataclass(frozen=True, eq=False)
class Query:
    """What the address asks for: how, what, whether likely people count, and ids of nobody who is here."""

    mode: Mode
    asked: Asked
    is_suggested: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to search by."""
        asked = self.asked
        return not (asked.is_for_photos or asked.face or asked.person or asked.vector is not None)

    @property
    def people(self) -> tuple[PersonId, ...]:
        """People whom it is about."""
        view, asked = session.view(), self.asked
        whose = view.owner(asked.face) if asked.face is not None else asked.person
        return tuple(dict.fromkeys((*((whose,) if whose else ()), *asked.all_of, *asked.any_of)))


def query() -> Query:
    """What is asked for, as far as it is there."""
    params, view = st.query_params, session.view()
    people = {name: [_somebody(person) for person in params.get_all(name)] for name in (*_IN_PHOTOS, "person")}
    face = params.get("face", "")
    unknown = [
        one for name, found in people.items() for one, p in zip(params.get_all(name), found, strict=True) if not p
    ]
    known = {name: tuple(dict.fromkeys(p for p in found if p)) for name, found in people.items()}
    by = params.get("by", "")
    mode: Mode = "photos" if any(known[name] for name in _IN_PHOTOS) else by if by in MODES else "alike"
    asked = Asked(least=least(), most=most(), all_of=known["all"], any_of=known["any"], without=known["without"])
    if mode == "alike" and face in view.faces.row:
        asked = replace(asked, face=FaceId(face))
    elif mode == "alike":
        unknown += [face] if face else []
        asked = replace(asked, person=next((p for p in known["person"] if len(view.rows(p))), None))
    return Query(mode, asked, params.get("suggested") == "1", tuple(unknown))


def _somebody(person: str) -> PersonId | None:
    """Who has this id, or into whom they were merged."""
    return session.view().survivor(PersonId(person))


def least() -> float:
    """The cosine that a face has to reach; 0 for any, and those that are below 0 too."""
    try:
        found = float(st.query_params.get("least", "0"))
    except ValueError:
        return -1.0
    return min(found, 1.0) if found > 0 else -1.0


def most() -> int:
    """How many faces, or photos, are wanted."""
    wanted = st.query_params.get("most", "")
    usual = session.service().settings.search_top_k
    return int(wanted) if wanted in map(str, MORE) else usual


# --- callbacks ------------------------------------------------------------------------------------------------------


def search_by(face: str = "", person: str = "") -> None:
    """Search by a face or by a person."""
    _ask({"face": face} if face else {"person": person})


def search_photos(person: str) -> None:
    """Search the photos that a person is in."""
    _ask({"all": [person]})


def by(key: str) -> None:
    """Search in another way, as the segmented control says."""
    mode = session.chosen(key)
    _ask({"by": str(mode)} if mode in get_args(Mode) and mode != "alike" else {})


def _ask(params: dict[str, str | list[str]]) -> None:
    session.clear_selection(SCOPE)
    session.forget("find-all")
    st.query_params.from_dict(params)


def key_of(name: str, now: object) -> str:
    """Key of a widget that shows what stands in the address: a new one where that is not what the widget has."""
    kept = session.recall(f"find-turn-{name}")
    turn = kept if isinstance(kept, int) else 0
    has = session.chosen(f"find-{name}-{turn}")
    if has is not None and has != now:
        turn += 1
        session.remember(f"find-turn-{name}", turn)
    return f"find-{name}-{turn}"


def set_param(name: str, key: str, usual: object) -> None:
    """Follow a widget: what it has stands in the address, unless it is what stands there for nothing."""
    value = session.chosen(key)
    if name in _IN_PHOTOS and "by" not in st.query_params:
        st.query_params["by"] = "photos"  # when the last name is taken away, it is still photos that are wanted
    if value == usual or not value:
        st.query_params.pop(name, None)
    elif isinstance(value, list):
        st.query_params[name] = value
    else:
        st.query_params[name] = "1" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def show_all(person: str) -> None:
    """Show every face of a person in the answer, and not a few."""
    session.remember("find-all", shown_whole() | {person})


def shown_whole() -> frozenset[str]:
    """Those of whom every face is shown."""
    found = session.recall("find-all")
    return found if isinstance(found, frozenset) else frozenset()


# --- an uploaded vector ---------------------------------------------------------------------------------------------


def upload(asked: Query) -> Query:
    """Draw the uploader; the query with the vector that is chosen, or a sentence why it cannot be."""
    file = st.file_uploader(
        f"A file with one vector or several ({', '.join(ENDINGS)}), made as this library's were",
        type=list(ENDINGS), key="find-vector", max_upload_size=MAX_BYTES // 1_000_000,
    )  # fmt: skip
    if file is None:
        return asked
    try:
        found = _vectors_of(file)
        number = 1
        if len(found) > 1:
            number = st.number_input(
                f"Which of its {len(found):,} vectors, counted from the first row", 1, len(found), 1,
                key=f"find-row-{file.file_id}", width=420,
            )  # fmt: skip
        return replace(asked, asked=replace(asked.asked, vector=found.one(number - 1)))
    except InputError as exc:
        session.problem(str(exc))
        return asked


def _vectors_of(file: UploadedFile) -> QueryVectors:
    """The vectors of a file, read once: 10 MB of numbers as text take 0.8 s, and each click draws the page anew."""
    dimension = session.view().faces.vectors.shape[1]
    mark = (file.file_id, dimension)
    kept = session.recall("find-vectors")
    if not isinstance(kept, tuple) or kept[0] != mark:
        kept = mark, query_vectors(file.name, file.getvalue(), dimension)
        session.remember("find-vectors", kept)
    return cast(QueryVectors, kept[1])


# --- the answer -----------------------------------------------------------------------------------------------------


def found(asked: Query) -> Answer:
    """The answer; the same one while nothing that it depends on has changed."""
    view, one = session.view(), asked.asked
    vector = sha256(one.vector.tobytes()).hexdigest() if one.vector is not None else ""
    people = (one.person, one.all_of, one.any_of, one.without)
    mark = (session.is_demo(), view.version, vector, one.face, people, one.least, one.most, asked.is_suggested)
    kept = session.recall("find-answer")
    if isinstance(kept, tuple) and kept[0] == mark:
        return cast(Answer, kept[1])
    made = session.service().find(one, likely_same() if asked.is_suggested else NOBODY)
    session.remember("find-answer", (mark, made))
    return made


def likely_same() -> Likely:
    """By person, those whom Review holds for the same one."""
    return reviewing.queue().likely_same


def look_alikes(face: FaceId | None, person: PersonId | None, but: PersonId, n: int) -> list[PersonCard]:
    """The `n` people nearest to a face or a person, the nearest first."""
    view = session.view()
    hits = similar(view, Asked(face, person, most=session.service().settings.search_top_k))
    nearest = sorted((hit.distance, hit.row, hit.person) for hit in hits if hit.person >= 0)
    near = dict.fromkeys(view.state.people[number] for _, _, number in nearest)
    return [view.card_of[other] for other in near if other != but][:n]


def reach(least: float) -> str:
    """A cosine with its distance."""
    return widgets.alike((2 - 2 * least) ** 0.5, least)


def in_words(asked: Query, answered: Answer) -> str:
    """How much was found, and how much of what there is that may be."""
    faces, n = answered.faces, len(answered.faces)
    least = f", at {reach(asked.asked.least)} or nearer" if asked.asked.least > 0 else ""
    if asked.asked.is_for_photos:
        photos = widgets.plural(answered.n_photos, "photo", "photos")
        there = f", the surest of {answered.n_photos_there:,}" if answered.n_photos_there > answered.n_photos else ""
        return f"{widgets.faces(n)} in {photos}{there}{least}"
    count = Counter(one.why for one in faces)
    parts = [widgets.faces(count["direct"])]
    parts += [f"{count['same person']:,} more of the same people"] * bool(count["same person"])
    parts += [f"{count['suggested']:,} of who may be the same"] * bool(count["suggested"])
    n_people = len({one.person for one in faces} - {None})
    of = f"; {widgets.plural(n_people, 'person', 'people')} in all" if n_people else ""
    return f"Nearest: {', '.join(parts)}{of}{least}"


def to_choose_from(chosen: Sequence[PersonId]) -> list[PersonCard]:
    """People to choose from for a photo: those with a name, who can be told apart in a list, and those chosen."""
    cards = session.view().people(show_hidden=True)
    listed = [card for card in cards if card.name or card.id in chosen]
    return sorted(listed, key=lambda card: (card.name.casefold(), -card.n_faces, card.id))


def loose_faces() -> list[FaceId]:
    """Some faces that are nobody's."""
    view = session.view()
    return [view.faces.ids[row] for row in np.flatnonzero(loose(view))[:OFFERED].tolist()]
