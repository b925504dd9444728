"""The Review page: one question at a time with its evidence, answered with a key, taken back with another.

What is answered is a fact of the library. Only "not sure" and the way back are this session's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

import streamlit as st

from facecluster.evidence import Evidence, Side, evidence
from facecluster.model import PersonId, Question
from facecluster.review import Ask, Queue, Review
from facecluster.service import Service
from facecluster.ui import photo, pictures, session, uploading, widgets

# How much the header speaks of, and pixels of a large face.
_MOST = 0.8
_LARGE = 352
_SMALL = 96

_CSS = files("facecluster.ui").joinpath("review.css").read_text("utf-8")
_style = st.components.v2.component("facecluster_review_style", css=_CSS, isolate_styles=False)


@dataclass(frozen=True)
class Answer:
    """What was said to a question here: the change it made, None for "not sure"."""

    ask: str
    revision: int | None


@st.cache_resource(show_spinner=False, max_entries=4)
def _review(library: str) -> Review:
    """One queue for all sessions of a library."""
    del library
    return Review()


def queue() -> Queue:
    """What is left to ask."""
    review, view = _review(session.library()), session.view()
    if review.is_ready(view):
        return review.queue(view)
    with st.spinner("Looking for questions"):
        return review.queue(view)


def given() -> tuple[Answer, ...]:
    """What was said here, the last one last; what was taken back meanwhile is left out."""
    found = session.recall("review")
    said = found if isinstance(found, tuple) else ()
    left = queue().by_id
    return tuple(one for one in said if one.revision is None or one.ask not in left)


def to_ask() -> Queue:
    """What is left to ask in this session."""
    return queue().without({one.ask for one in given() if one.revision is None})


# --- callbacks ------------------------------------------------------------------------------------------------------


@contextmanager
def _looking() -> Iterator[None]:
    """Look once at a hosted store, however often it is asked within; nothing is written within."""
    with session.told(), session.service().held():
        yield


def answer(ask_id: str, is_yes: bool) -> None:
    """Say yes or no, as a button's callback; a key that was pressed twice answers once."""
    ask: Ask | None = None
    before: tuple[Answer, ...] = ()
    with _looking():
        ask, before = to_ask().by_id.get(ask_id), given()
    if ask is None:
        return
    news_before = session.news()
    session.act(lambda: say(session.service(), ask, is_yes))
    news = session.news()
    if news is not None and news is not news_before and news.revision is not None:
        session.remember("review", (*before, Answer(ask_id, news.revision)))


def say(service: Service, ask: Ask, is_yes: bool) -> object:
    """Make a fact of an answer; returns what `session.act` knows the change by."""
    if ask.kind == "same":
        return service.answer(Question("same", ask.person, ask.other, len(ask.faces)), is_yes)
    if ask.kind == "keep":
        return service.answer(Question("keep", ask.person, None, len(ask.faces)), is_yes)
    if ask.kind == "split":
        return service.new_person(ask.faces) if is_yes else service.confirm(ask.person, ask.shown)
    if not is_yes:
        return service.reject(ask.faces, ask.person)
    if ask.kind == "belongs":
        return service.confirm(ask.person, ask.faces)
    return service.move(ask.faces, ask.person)


def not_sure(ask_id: str) -> None:
    """Leave a question for another visit."""
    with _looking():
        session.dismiss_news()
        session.remember("review", (*given(), Answer(ask_id, None)))


def take_back() -> None:
    """Take the last answer back, or ask again what was left."""
    said: tuple[Answer, ...] = ()
    with _looking():
        said = given()
    if said:
        session.remember("review", said[:-1])
        if said[-1].revision is not None:
            session.undo(said[-1].revision)


def ask_all() -> None:
    """Ask again what was left for another visit."""
    with _looking():
        session.remember("review", tuple(one for one in given() if one.revision is not None))


# --- drawing --------------------------------------------------------------------------------------------------------


def draw() -> None:
    """The page."""
    with st.container(key="fc-review-style"):
        _style(key="fc-review-sheet")
    asks = to_ask()
    with st.container(key="fc-review"):
        widgets.page_head(draw=lambda: _head(asks))
        if asks.asks:
            _bar(asks)
            _card(asks.asks[0])
            _next(asks)
        else:
            _nothing_left()
    face = photo.shown()
    if face is not None:
        photo.dialog(face)


def _head(asks: Queue) -> None:
    with st.container(horizontal=True, key="fc-review-head"):
        st.title("Review", anchor=False, width="content")
        if asks.asks:
            n = asks.answers_for(_MOST)
            share = int(100 * asks.settled[n - 1])
            answers = widgets.plural(n, "answer settles", "answers settle")
            st.text(f"{answers} {f'about {share} %' if share < 100 else 'everything'}", width="content")


def _bar(asks: Queue) -> None:
    n = sum(one.revision is not None for one in given())
    with st.container(key="fc-review-bar"):
        st.progress(n / (n + asks.answers_for(_MOST)))
    with st.container(horizontal=True, key="fc-review-foot"):
        st.text(f"{n:,} answered in this visit", width="content")
        questions = widgets.plural(len(asks.asks), "question", "questions")
        st.text(f"{questions} in all, about {widgets.faces(asks.n_faces)}", width="content")


def _card(ask: Ask) -> None:
    found = evidence(session.view(), ask)
    with st.container(key="fc-review-card"):
        st.subheader(widgets.escaped(question(ask)), anchor=False)
        with st.container(key="fc-review-halves"):
            _side(found.left, "left", ask)
            _side(found.right, "right", ask)
        _why(ask, found)
        _keys(ask)
    with st.container(key="fc-review-then", horizontal_alignment="center"):
        st.text(consequence(ask))


def _name(person: PersonId, instead: str = "this person") -> str:
    return session.view().person(person).name or instead


def question(ask: Ask) -> str:
    """What is asked, in words."""
    name = _name(ask.person)
    n = len(ask.rows)
    return {
        "same": "Same person?",
        "keep": f"{f'Do these {n:,} faces' if n > 1 else 'Does this face'} still belong to {name}?",
        "belongs": f"Does this face belong to {name}?",
        "noise": f"Is this {_name(ask.person, 'the same person')}?",
        "split": f"Is {name} two people?",
    }[ask.kind]


def consequence(ask: Ask) -> str:
    """What the answers do, in words."""
    view = session.view()
    n, name = len(ask.rows), _name(ask.person)
    if ask.kind == "same":
        gone = _name(ask.other, "") if ask.other is not None else ""
        kept = _name(ask.person, "")
        named = f", named {kept or gone}" if kept or gone else ""
        goes = f" The name “{gone}” goes; Undo brings it back." if kept and gone and kept != gone else ""
        total = widgets.faces(n + len(view.rows(ask.person)))
        return f"Yes makes one person of {total}{named}. No keeps them apart for good.{goes}"
    if ask.kind == "split":
        shown = widgets.faces(len(ask.shown))
        return f"Yes makes a new person of the {widgets.faces(n)} on the right. No confirms the {shown} you see."
    them, those = ("it", "it is") if n == 1 else ("them", "they are")
    if ask.kind == "noise":
        return f"Yes gives the face to {name}, for good. No says that it is somebody else, and it stays on Noise."
    return f"Yes confirms {them}: no later clustering moves {them}. No says that {those} not {name}."


def _side(side: Side, place: str, ask: Ask) -> None:
    label = f"{widgets.called(_name(side.person, '')) if side.person is not None else 'The face'}, {place}"
    large, *others = side.faces
    with st.container(key=f"fc-review-{place}"):
        with st.container(key=f"fc-tile-review-{place}"):
            st.image(pictures.of_face(large, _LARGE), width="stretch", alt=label)
            st.button(
                widgets.escaped(f"See the photo of {label}"), key=f"fc-open-review-{place}", on_click=photo.open_it,
                args=(large,),
            )  # fmt: skip
        with st.container(key=f"fc-review-strip-{place}"):
            if others:
                st.image(pictures.of_faces(others, _SMALL), width=84, alt=[f"{label}, another face"] * len(others))
        _who(side, place, ask)


def _who(side: Side, place: str, ask: Ask) -> None:
    photos = f" in {widgets.plural(side.n_photos, 'photo', 'photos')}" if side.n_photos > 1 else ""
    with st.container(horizontal=True, key=f"fc-review-who-{place}"):
        if ask.kind == "split" and place == "right":
            st.text(f"{widgets.faces(side.n_faces)}{photos}, perhaps somebody else", width="content")
        elif side.person is not None:
            name = widgets.called(_name(side.person, ""))
            st.page_link(
                "pages/person.py", label=widgets.escaped(name), query_params={"id": side.person}, width="content"
            )
            st.text(widgets.faces(side.n_faces) + photos, width="content")
        elif ask.kind == "keep":
            st.text(f"{widgets.faces(side.n_faces)} that clustering no longer puts with the others", width="content")
        else:
            st.text("Nobody's so far" if ask.kind == "noise" else "The face in question", width="content")


def _why(ask: Ask, found: Evidence) -> None:
    """How alike the large faces are, and what speaks against the obvious answer."""
    with st.container(horizontal=True, key="fc-review-why"):
        what = {"same": "The large pair is the most alike", "split": "The two most typical faces"}.get(
            ask.kind, "With the most alike of the typical faces"
        )
        st.text(f"{what}: {widgets.alike(found.distance, found.cosine)}", width="content")
        if ask.kind == "belongs" and ask.other is not None:
            who = _name(ask.other, "an unnamed person")
            _warn(f"It is more like {who}: cosine {found.rival_cosine:.2f}", "rival")
        if found.n_together:
            _warn(_together(ask, found), "together")
        elif ask.kind == "same" and found.left.n_photos and found.right.n_photos:
            st.text("Never together in a photo", width="content")


def _together(ask: Ask, found: Evidence) -> str:
    photos = widgets.plural(found.n_together, "photo", "photos")
    if ask.kind == "same":
        return f"Together in {photos}, so hardly one person"
    if ask.kind == "split":
        return f"Both groups are in {photos}, so hardly one person"
    return f"{_name(ask.person, 'This person')} is in the photo of this face with another face already"


def _warn(text: str, key: str) -> None:
    with st.container(key=f"fc-review-warn-{key}", width="content"):
        st.text(text, width="content")


def _keys(ask: Ask) -> None:
    """Each question has buttons of its own, so that a key pressed twice never answers the one after it."""
    yes, no = {
        "same": ("Yes, same", "No, different"),
        "split": ("Yes, two people", "No, one person"),
        "noise": ("Yes", "No"),
        "keep": ("Yes, keep them", "No"),
        "belongs": ("Yes, it does", "No"),
    }[ask.kind]
    is_busy = photo.shown() is not None  # the keys work through the photo that lies over the page
    with st.container(horizontal=True, key="fc-review-keys"):
        for label, key, says in ((yes, "Y", True), (no, "N", False)):
            st.button(
                label, key=f"review-{key}-{ask.id}", shortcut=key, disabled=is_busy, on_click=answer,
                args=(ask.id, says),
            )  # fmt: skip
        st.button(
            "Not sure", key=f"review-S-{ask.id}", shortcut="S", disabled=is_busy, on_click=not_sure, args=(ask.id,)
        )
        _back(is_busy)


def _back(is_busy: bool = False) -> None:
    n = len(given())
    st.button(
        "Undo", key=f"review-U-{n}", shortcut="U", type="tertiary", disabled=is_busy or not n, on_click=take_back,
        help="Takes your last answer back, one after the other.",
    )  # fmt: skip


def _next(asks: Queue) -> None:
    if len(asks.asks) < 2:
        return
    ask = asks.asks[1]
    found = evidence(session.view(), ask)
    with st.container(horizontal=True, key="fc-review-next"):
        st.text("Next", width="content")
        for face in (found.left.faces[0], found.right.faces[0]):
            st.image(pictures.of_face(face, _SMALL), width=28, alt="A face of the next question")
        st.text(question(ask), width="content")


def _nothing_left() -> None:
    n_left = sum(one.revision is None for one in given())
    if not len(session.view().faces):
        uploading.no_faces("and this page asks what only you can know.")
        return
    if session.view().snapshot.run is None or session.view().state.is_masked.all():
        widgets.nobody_found("; what is doubtful about them is asked here")
        return
    if n_left:
        text = f"You were not sure of {widgets.plural(n_left, 'question', 'questions')}; the rest is answered."
        widgets.empty("Nothing to decide", text)
    else:
        text = "Nothing here is doubtful enough to be worth your time."
        widgets.empty("Nothing to decide", text, "pages/people.py", "See everybody on People")
    with st.container(horizontal=True):
        if n_left:
            st.button("Ask them again", key="review-again", on_click=ask_all)
        if given():
            _back()
