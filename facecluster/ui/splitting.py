"""Splitting a person: a slider over the cuts of their own tree, the parts that it makes, and one button.

Nothing is written before the button; what it writes is one change, so one Undo takes it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from facecluster import splitting
from facecluster.model import FaceId, PersonId
from facecluster.search import cosine
from facecluster.splitting import Part, PersonTree, Step
from facecluster.ui import pictures, session, widgets
from facecluster.view import PersonCard

# Faces shown of a part; travelling in the page itself, for they change with every move of the slider.
_SHOWN = 6
_SIZE = 96

_STAY, _GO = "stay", "go"


def tree_of(person: PersonId) -> PersonTree:
    """A person's own tree; made once for the same faces."""
    view = session.view()
    rows = view.rows(person)
    run = view.snapshot.run
    wanted = run.params.get("min_samples") if run is not None else None
    min_samples = wanted if isinstance(wanted, int) else session.service().defaults.min_samples
    key = f"{view.faces.fingerprint} {min_samples} {sha256(rows.tobytes()).hexdigest()}"
    return _tree(view.faces.vectors, rows, min_samples, key)


@st.cache_resource(show_spinner=False, max_entries=64)
def _tree(_vectors: NDArray[np.float32], _rows: NDArray[np.int64], _min_samples: int, key: str) -> PersonTree:
    del key
    return splitting.person_tree(_vectors, _rows, _min_samples)


def button(card: PersonCard) -> None:
    """The way to the dialog."""
    st.button("Split…", key="split", on_click=ask, args=(card.id,), disabled=card.n_faces < 2)


def dialog(card: PersonCard) -> None:
    """The dialog, where it was asked for."""
    asked = session.recall("asked")
    if asked != ("split", card.id):
        return

    @widgets.dialog("Is this more than one person?", _close, "medium")
    def show() -> None:
        if session.recall("asked") != asked:
            st.rerun()  # answered: a dialog closes only with the whole page
        now = session.view().card_of.get(card.id)
        if now is None or now.n_faces < 2:
            st.text("There is nothing left to split.")
            return
        _draw(now)

    show()


def _draw(card: PersonCard) -> None:
    tree = tree_of(card.id)
    least = st.number_input(
        "A part has at least so many faces", 1, max(len(tree) // 2, 1), _usual_size(len(tree)),
        key=f"split-least-{card.id}", width=260,
    )  # fmt: skip
    found = splitting.steps(tree, least)
    if not found:
        st.text(
            f"These faces fall into no two parts of {widgets.faces(least)} or more each. "
            "Take a smaller number, or select faces on the page and make a new person of them."
        )
        return
    step = _step(card, found, least)
    if step.n_parts > 2:
        st.text(f"{step.n_parts} parts. Untick those that should stay with {widgets.called(card.name)}.")
    some = splitting.parts(session.view(), tree, splitting.cut(tree, step.n_edges, least))
    leaving = _leaving(card, some, f"{card.id}-{least}-{step.n_edges}")
    _decide(card, leaving)


def _usual_size(n_faces: int) -> int:
    """A twentieth of the faces: who is in here by mistake mostly has some; two where there are few."""
    return min(max(n_faces // 20, 2), max(n_faces // 2, 1))


def _step(card: PersonCard, found: Sequence[Step], least: int) -> Step:
    """The slider; nothing to slide where there is one cut only."""
    at = splitting.likeliest(found)
    if len(found) > 1:
        at = st.select_slider(
            "How alike faces must be to stay together", range(len(found)), at, key=f"split-step-{card.id}-{least}",
            # Streamlit tells the stops apart by their words, and two cuts may make as many parts.
            format_func=lambda x: f"cut {x + 1}: {found[x].n_parts} parts",
            help="To the right, faces must be more alike to stay together, and other parts come off.",
        )  # fmt: skip
    step = found[at]
    widgets.small(
        f"A chain of faces, each as near to the next as {widgets.alike(step.weight, cosine(step.weight))} or nearer, "
        "keeps them together.",
        "split-cut",
    )
    return step


def _leaving(card: PersonCard, some: Sequence[Part], key: str) -> list[Part]:
    """Draw the parts; those that are to leave."""
    found = []
    for number, part in enumerate(some):
        words = widgets.faces(len(part.faces)) + (f", {len(part.confirmed):,} confirmed" if part.confirmed else "")
        with st.container(key=f"fc-part-{number}", gap="small"):
            if number == 0:
                with st.container(horizontal=True, key=f"fc-section-split-{number}"):
                    st.text(f"Stays {widgets.called(card.name)}", width="content")
                    widgets.small(words, "split-stays")
            elif st.checkbox(f"New person: {words}", True, key=f"split-part-{key}-{number}"):
                found.append(part)
            _faces(part, f"{number}")
    return found


def _faces(part: Part, key: str) -> None:
    shown = _sample(part.faces)
    crops = pictures.of_faces(shown, _SIZE)

    def tile(at: int) -> None:
        with st.container(key=f"fc-tile-split-{key}-{at}"):
            st.image(crops[at], width="stretch", alt=f"Face {at + 1} of this part")

    widgets.grid(len(shown), tile, f"split-{key}", "medium")


def _sample(faces: Sequence[FaceId]) -> list[FaceId]:
    """Some faces from the most typical to the least, both ends included: the typical ones alone hide what is odd."""
    n = min(len(faces), _SHOWN)
    places = np.linspace(0, len(faces) - 1, n).astype(int).tolist()
    return [faces[at] for at in places]


def _decide(card: PersonCard, leaving: Sequence[Part]) -> None:
    """Ask about confirmed faces, and offer the button."""
    name = widgets.whom(card.name)
    confirmed = [face for part in leaving for face in part.confirmed]
    answer: str | None = _GO
    if confirmed:
        with st.container(key="fc-warn-split"):
            are = "is" if len(confirmed) == 1 else "are"
            st.text(f"{len(confirmed):,} of the faces that would leave {are} confirmed.")
        words = {_STAY: f"They stay with {name}", _GO: "They leave too"}
        answer = st.segmented_control(
            "What about the confirmed faces?", list(words), format_func=lambda x: words[x], default=None,
            key=f"split-confirmed-{card.id}", label_visibility="collapsed",
        )  # fmt: skip
    stay = confirmed if answer == _STAY else []
    groups = [part.faces for part in leaving if set(part.faces) - set(stay)]
    n_people = len(groups) + 1
    with st.container(horizontal=True):
        st.button(
            f"Split into these {n_people} people" if groups else "Nobody would leave", key="split-now",
            type="primary", disabled=not groups or answer is None, on_click=_split, args=(card.id, groups, stay),
        )  # fmt: skip
        st.button("Cancel: change nothing", key="split-cancel", type="tertiary", on_click=_close)


def ask(person: PersonId) -> None:
    """Open the dialog on the page of a person, as a callback."""
    session.remember("asked", ("split", person))


def _close() -> None:
    session.forget("asked")


def _split(person: PersonId, groups: Sequence[Sequence[FaceId]], stay: Sequence[FaceId]) -> None:
    _close()
    session.act(lambda: session.service().split(person, groups, stay))
    if session.is_done():
        session.clear_selection()
