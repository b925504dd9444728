"""Who looks like two people in one, in words: what is known of it, without waiting for the rest."""

from __future__ import annotations

import threading

import streamlit as st

from facecluster.blended import Blend, Blends, blend_of
from facecluster.model import PersonId
from facecluster.ui import session, splitting, widgets

# People who are looked at while a page is drawn, a quarter of a millisecond each; more of them, and the page goes on.
_AT_ONCE = 200


class _Kept(Blends):
    """Blends of one library, looked for in a thread of their own where there are many."""

    worker: threading.Thread | None = None


@st.cache_resource(show_spinner=False, max_entries=4)
def _kept(library: str) -> _Kept:
    """One for all sessions of a library."""
    del library
    return _Kept()


def warnings() -> dict[PersonId, str]:
    """A few words for everybody who looks like two people, as far as it is known by now; this never waits."""
    kept, view = _kept(session.library()), session.view()
    found, n_left = kept.so_far(view)
    if 0 < n_left <= _AT_ONCE and not _is_busy(kept):
        kept.look(view)
        found, _ = kept.so_far(view)
    elif n_left and not _is_busy(kept):
        kept.worker = threading.Thread(target=kept.look, args=(view,), name="blended", daemon=True)
        kept.worker.start()
    return {person: _words(blend) for person, blend in found.items()}


def _is_busy(kept: _Kept) -> bool:
    return kept.worker is not None and kept.worker.is_alive()


def _words(blend: Blend) -> str:
    return "perhaps two people" if blend.n_apart else f"twice in {widgets.plural(blend.n_twice, 'photo', 'photos')}"


def sentence(person: PersonId) -> str:
    """Why a person looks like two, "" where they do not."""
    view = session.view()
    blend = blend_of(view, person)
    if blend is None:
        return ""
    name = view.person(person).name or "This person"
    why = []
    if blend.n_apart:
        distance = (2 - 2 * blend.cosine) ** 0.5
        alike = widgets.alike(distance, blend.cosine)
        why.append(f"{blend.n_apart:,} of {widgets.faces(blend.n_faces)} are unlike the others ({alike})")
    if blend.n_twice:
        why.append(f"{widgets.plural(blend.n_twice, 'photo holds', 'photos hold')} the same person twice")
    return f"{name} looks like two people: {', and '.join(why)}."


def warn(person: PersonId) -> None:
    """The sentence with the way to the split, where there is something to say."""
    text = sentence(person)
    if text:
        with st.container(horizontal=True, key=f"fc-warn-blend-{person}", vertical_alignment="center"):
            st.text(text, width="content")
            st.button(
                "Split this person…", key=f"blend-{person}", type="tertiary", on_click=_split, args=(person,)
            )  # fmt: skip


def _split(person: PersonId) -> None:
    splitting.ask(person)
    session.open_person(person)
