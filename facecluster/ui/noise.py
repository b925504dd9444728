"""The Noise page: the faces that are nobody's under headings that can be answered at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from facecluster.leftovers import (
    NEAR,
    NEARLY,
    Leftovers,
    Section,
    alike_sections,
    is_sharp,
    person_sections,
    sections,
    shown,
)
from facecluster.model import FaceId, PersonId
from facecluster.ui import face_grid, giving, photo, session, widgets
from facecluster.view import View

ORDERS = {"person": "Nearest person", "alike": "Alike", "sharp": "Sharpest"}
_TARGETS = 10  # people in the strip onto whom faces are dragged
_ONE_BY_ONE = "one-by-one"
_SHORT = 12  # letters of a name that a button of a heading has room for
# Faces at first, and with each "Show more": nobody scrolls through 46,000, and a browser is sent 5 MB for them.
AT_ONCE = 3_000
# A tab, an order, only sharp ones, only these, and how many at most: what a curator asked for.
_Asked = tuple[str, str, bool, tuple[FaceId, ...] | None, int]


@dataclass(frozen=True)
class Arranged:
    """What is drawn: sections, and a tile for each of their faces in the same order; which faces were asked for.

    Attributes
    ----------
    headings : tuple[face_grid.Section, ...]
        Of the sections that have a title.
    near : Mapping[FaceId, PersonId | None]
        The nearest person of each face.
    n_more : int
        Faces that come after these.
    list : str
        Under what it is kept how many are shown.
    """

    sections: tuple[Section, ...]
    rows: tuple[face_grid.Row, ...]
    headings: tuple[face_grid.Section, ...]
    spec: str
    near: Mapping[FaceId, PersonId | None]
    n_more: int
    list: str

    def section(self, id: str) -> Section | None:
        """A section by its id."""
        return next((one for one in self.sections if one.id == id), None)


@dataclass
class _Kept:
    """What is known of a library's loose faces from one act to the next."""

    left: Leftovers = field(default_factory=Leftovers)
    tiles: Mapping[FaceId, face_grid.Row] = field(default_factory=dict)


@st.cache_resource(show_spinner=False, max_entries=4)
def _kept(library: str) -> _Kept:
    """One for all sessions of a library."""
    del library
    return _Kept()


def arranged(tab: str, order: str, only_sharp: bool, only: tuple[FaceId, ...] | None = None) -> Arranged:
    """The loose faces of a tab in an order: all, the sharp ones, or only some."""
    library, view = session.library(), session.view()
    kept, asked = _kept(library), (tab, order, only_sharp, only, session.n_shown(_list(tab, order), AT_ONCE))
    is_quick = tab != "nobody" or order == "sharp" or kept.left.is_ready(view)
    with (
        nullcontext() if is_quick else st.spinner(f"Comparing {widgets.faces(len(view.noise_rows))} that are nobody's")
    ):
        found = _arranged(library, view.version_but_names, asked, view, kept)
    return replace(found, headings=_headings(library, view.version, asked, view, found))


def _list(tab: str, order: str) -> str:
    return f"noise-{tab}-{order}"


# A selection draws the page anew, and thousands of tiles stay what they are.
@st.cache_resource(show_spinner=False, max_entries=4)
def _arranged(library: str, version_but_names: str, asked: _Asked, _view: View, _kept: _Kept) -> Arranged:
    del library, version_but_names
    tab, order, only_sharp, only, most = asked
    every, n_faces = _sections(_view, _kept.left, tab, order, _to_show(_view, only_sharp, only))
    found = tuple(_first(every, most))
    rows = tuple(_rows(found, _warnings(_view), _kept.tiles))
    _kept.tiles = {FaceId(row.id): row for row in rows}
    near = {one.face: one.person for section in found for one in section.faces}
    spec = f"{tab} {order} {only_sharp} {only}"
    return Arranged(found, rows, (), spec, near, n_faces - len(rows), _list(tab, order))


def _to_show(view: View, only_sharp: bool, only: tuple[FaceId, ...] | None) -> NDArray[np.bool_] | None:
    """Which faces are asked for, by row; None for all."""
    if only is None:
        return is_sharp(view) if only_sharp else None
    found = np.zeros(len(view.faces), np.bool_)
    found[[view.row(face) for face in only]] = True
    return found & is_sharp(view) if only_sharp else found


def _first(sections: Iterable[Section], most: int) -> Iterator[Section]:
    """The first sections with about so many faces; one that is answered as a whole is whole."""
    for section in sections:
        if most <= 0:
            return
        is_whole = section.kind != "nobody" or len(section.faces) <= most
        yield section if is_whole else section.first(most)
        most -= len(section.faces)


# Apart from the tiles: a name that somebody gave stands in a heading, and thousands of tiles do not change with it.
@st.cache_resource(show_spinner=False, max_entries=4)
def _headings(
    library: str, version: str, asked: _Asked, _view: View, _found: Arranged
) -> tuple[face_grid.Section, ...]:
    del library, version, asked
    warnings, some = _warnings(_view), _found.sections
    found = (_heading(_view, one, warnings, one is some[0], _found.n_more) for one in some)
    return tuple(one for one in found if one.title)


def _sections(
    view: View, left: Leftovers, tab: str, order: str, is_shown: NDArray[np.bool_] | None
) -> tuple[Sequence[Section], int]:
    """Sections in turn, each made when it is looked at, and of how many faces they are."""
    if order == "sharp" and tab == "nobody":
        one = _by_sharpness(view, is_shown)
        return ([one] if len(one.faces) else []), len(one.faces)
    if tab == "blurred":
        found = person_sections(view.too_blurred, view.usual_cosine)
    elif tab == "like":
        found = person_sections(shown(view.noise, is_shown), view.usual_cosine)
    elif order == "alike":
        found = alike_sections(view, left.groups(view), is_shown)
    else:
        found = sections(view, left.groups(view), is_shown)
    return found, len(found.faces)


def _rows(
    sections: Iterable[Section], warnings: Mapping[FaceId, str], before: Mapping[FaceId, face_grid.Row]
) -> Iterator[face_grid.Row]:
    """A tile for each face; the one there was where it is told the same, so that the grid sees at once what is new."""
    for section in sections:
        for one, alike in zip(section.faces, section.likeness.tolist(), strict=True):
            likeness, warning, known = (alike, section.cut), warnings.get(one.face, ""), before.get(one.face)
            if known is not None and known.likeness == likeness and known.warning == warning:
                yield known
            else:
                yield face_grid.Row(one.face, "", f"{alike:.2f}", one.face, warning=warning, likeness=likeness)


def _by_sharpness(view: View, is_shown: NDArray[np.bool_] | None) -> Section:
    some = shown(view.noise, is_shown)
    score = np.nan_to_num(view.faces.blur_score[some.rows], nan=-1.0)  # an unknown one is no number
    some = some.take(np.lexsort((some.rows, -score)))
    return Section(_ONE_BY_ONE, "nobody", None, some, some.cosine, view.usual_cosine)


def _warnings(view: View) -> dict[FaceId, str]:
    """What is said of the loose faces that are not sharp."""
    rows = np.concatenate([view.noise_rows, view.blurred_rows])
    score, least = view.faces.blur_score[rows], view.live_blur_threshold
    words = {False: "nearly blurred", True: "blurred"}
    return {view.faces.ids[rows[at]]: words[bool(score[at] < least)] for at in np.flatnonzero(score < NEARLY * least)}


# --- words ----------------------------------------------------------------------------------------------------------


def _heading(
    view: View, section: Section, warnings: Mapping[FaceId, str], is_first: bool, n_more: int
) -> face_grid.Section:
    n, face = len(section.faces), section.faces[0].face
    if section.id == _ONE_BY_ONE:
        return face_grid.Section(section.id, "", n)
    if section.kind == "person" and section.person is not None:
        card = view.card_of[section.person]
        whom = card.name or f"an unnamed person of {widgets.faces(card.n_faces)}"
        deeds = (("open", "See this person"), *_person_deeds(section, card.name))
        return face_grid.Section(
            section.id, f"Nearest to {whom}", n, person_line(section, warnings, is_first), card.cover, deeds
        )
    if section.kind == "alike":
        deeds = (("new", f"New person from {n:,}"), ("ignore", f"Ignore {n:,}"))
        return face_grid.Section(section.id, "Alike among themselves", n, alike_line(view, section), face, deeds)
    return face_grid.Section(
        section.id, "Near nobody", n, f"{widgets.faces(n + n_more)}, unlike everybody and unlike each other"
    )


def _person_deeds(section: Section, name: str) -> tuple[tuple[str, str], ...]:
    """Answers for the whole section, at most three: they stand in one line on a phone as well."""
    n, n_likely = len(section.faces), len(section.likely)
    every = "it" if n == 1 else f"all {n:,}"
    whom = name if name and len(name) <= _SHORT else "theirs"
    if n_likely == n:
        to = f" to {whom}" if whom != "theirs" else ""
        return ("all", f"Assign {every}{to}"), ("not", f"Not {whom}: {n:,}")
    if n_likely:
        some = ("likely", f"Assign {n_likely:,} likely"), ("all", f"Assign {every}")
        return (*some, ("not", f"Not {whom}: {n - n_likely:,}"))
    return ("all", f"Assign {every}"), ("not", f"Not {whom}: {n:,}"), ("ignore", f"Ignore {n:,}")


def person_line(section: Section, warnings: Mapping[FaceId, str], is_first: bool) -> str:
    """How many faces, how many of them likely, and how many blurred; at the first one, what the mark is."""
    n, n_likely = len(section.faces), len(section.likely)
    n_blurred = sum(face in warnings for face in section.ids)
    said = [widgets.faces(n), "all likely" if n_likely == n else f"{n_likely or 'none'} likely"]
    if n_blurred:
        said.append(f"{n_blurred:,} blurred or nearly")
    mark = f". The mark is cosine {section.cut:.2f}: likely from there on" if is_first and section.cut else ""
    return ", ".join(said) + mark


def alike_line(view: View, section: Section) -> str:
    """How alike a group is, and whom it is nearest to."""
    best = section.faces[int(section.faces.cosine.argmax())]
    card = view.card_of.get(best.person) if best.person is not None else None
    near = "near nobody" if card is None or best.cosine < NEAR else (
        f"nearest to {widgets.called(card.name)} at {best.cosine:.2f}"
    )  # fmt: skip
    apart = section.cut is not None and section.likeness.mean() < section.cut
    return f"{widgets.faces(len(section.faces))}, {near}" + (", a little too far apart for a person" if apart else "")


# --- drawing --------------------------------------------------------------------------------------------------------


def draw(tab: str, found: Arranged) -> None:
    """The grid with what can be done to a section, to what is selected, and to the face that has the focus."""
    scope = f"noise-{tab}"
    near = found.near
    session.keep_selected(scope, near)
    deeds = face_grid.Deeds(
        open=_open,
        drop=lambda faces, onto: give(scope, faces, PersonId(onto)),
        section=lambda section, deed: _answer(scope, found, section, deed),
        keys={
            "o": _open,
            "i": lambda face: done(
                scope, lambda: session.service().mark(giving.still([FaceId(face)], None), "ignored")
            ),
        },
    )
    face_grid.show(
        scope, found.rows, None, deeds, label="Faces that are nobody's", kind="faces", spec=found.spec,
        targets=_targets(found), sections=found.headings,
    )  # fmt: skip
    widgets.action_bar(scope, "face", lambda chosen: _about_selected([FaceId(one) for one in chosen], near, scope))
    if found.n_more:
        n = session.n_shown(found.list, AT_ONCE) + AT_ONCE
        st.button(
            f"Show {min(AT_ONCE, found.n_more):,} more of {widgets.faces(found.n_more)}", key="noise-longer",
            type="tertiary", on_click=session.show_more, args=(found.list, n),
        )  # fmt: skip
    chosen = [FaceId(one) for one in session.selected(scope)]
    giving.dialog(scope, "Assign", chosen, lambda to: give(scope, chosen, to))


def _targets(found: Arranged) -> list[face_grid.Target]:
    """Named people onto whom faces can be dragged: those whose faces these may be, then those with most faces."""
    view = session.view()
    near = [view.card_of[one.person] for one in found.sections if one.kind == "person" and one.person is not None]
    named = {card.id: card for card in (*near, *view.cards) if card.name and card.n_faces}
    return [face_grid.Target(card.id, card.name, card.cover) for card in list(named.values())[:_TARGETS]]


def _answer(scope: str, found: Arranged, id: str, deed: str) -> None:
    """A button of a heading, as its callback."""
    section, service = found.section(id), session.service()
    if section is None:
        return
    person, faces, likely = section.person, section.ids, section.likely
    if deed == "ignore":
        done(scope, lambda: service.mark(giving.still(faces, None), "ignored"))
    elif deed == "new":
        done(scope, lambda: service.new_person(giving.still(faces, None)))
    elif person is None:
        return
    elif deed == "open":
        session.open_person(person)
    elif deed == "not":
        rest = [face for face in faces if face not in likely] or faces
        done(scope, lambda: service.reject(rest, person))
    else:
        give(scope, likely if deed == "likely" else faces, person)


def _about_selected(chosen: list[FaceId], near: Mapping[FaceId, PersonId | None], scope: str) -> None:
    view, service, n = session.view(), session.service(), len(chosen)
    people = {near[face] for face in chosen}
    if len(people) == 1 and None not in people:
        (person,) = people
        assert person is not None  # noqa: S101
        name = widgets.whom(view.card_of[person].name, "the nearest person")
        st.button(
            f"Assign {n:,} to {name}", key="noise-assign", type="primary", shortcut="A",
            on_click=give, args=(scope, chosen, person),
        )  # fmt: skip
    st.button(f"Assign {n:,} to…", key="noise-move", shortcut="M", on_click=giving.ask, args=(scope,))
    for words, key, letter, do in (
        (f"New person from {n:,}", "noise-new", "P", lambda: service.new_person(giving.still(chosen, None))),
        (f"Ignore {n:,}", "noise-ignore", "I", lambda: service.mark(giving.still(chosen, None), "ignored")),
        (f"Not a face: {n:,}", "noise-no-face", "X", lambda: service.mark(giving.still(chosen, None), "not_a_face")),
    ):
        st.button(words, key=key, shortcut=letter, on_click=done, args=(scope, do))


def _open(face: str) -> None:
    photo.open_it(FaceId(face))


def give(scope: str, faces: Sequence[str], to: PersonId) -> None:
    """Give faces to somebody, as a callback."""
    some = [FaceId(face) for face in faces]
    done(scope, lambda: session.service().move(giving.still(some, None), to))


def done(scope: str, do: Callable[[], object]) -> None:
    """Do what a button says, as its callback."""
    giving.close()
    session.act(do)
    if session.is_done():
        session.clear_selection(scope)


def draw_set_aside(faces: Sequence[tuple[FaceId, str]]) -> None:
    """Faces that were set aside, and why, in words."""
    scope = "noise-aside"
    session.keep_selected(scope, dict(faces))
    rows = [face_grid.Row(face, "", why, face) for face, why in faces]
    face_grid.show(scope, rows, None, face_grid.Deeds(_open), label="Faces set aside", kind="faces")
    widgets.action_bar(scope, "face", lambda chosen: _take_back(scope, [FaceId(one) for one in chosen]))


def _take_back(scope: str, chosen: list[FaceId]) -> None:
    st.button(
        f"Take back {len(chosen):,}", key="noise-back", type="primary", on_click=done,
        args=(scope, lambda: session.service().mark(chosen, None)),
    )  # fmt: skip


# --- just the faces that look like somebody now ---------------------------------------------------------------------


def asked_for() -> tuple[PersonId | None, tuple[FaceId, ...]]:
    """The person in the address, and the faces that look like them since an act, as far as they still do.

    In another session, where the act is not known, these are all that are likely theirs.
    """
    view = session.view()
    person = view.survivor(PersonId(st.query_params.get("like", "")))
    if person is None:
        return None, ()
    some = view.noise
    likely = some.take((some.person == view.number[person]) & (some.cosine >= view.usual_cosine)).ids
    known = session.recall("alike")
    if isinstance(known, tuple) and known[0] == person:
        likely = [face for face in likely if face in known[1]]
    return person, tuple(likely)


def ask_for_everything() -> None:
    """Show all loose faces again, as a button's callback."""
    st.query_params.pop("like", None)
