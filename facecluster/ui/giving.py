"""Whose faces are these? The dialog in which the selected faces of a page are given to somebody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import streamlit as st

from facecluster.errors import InputError
from facecluster.model import FaceId, PersonId
from facecluster.ui import pictures, session, widgets
from facecluster.view import PersonCard

_LOOKED_AT = 200  # faces whose nearest people are offered
_OFFERED = 8


def ask(scope: str) -> None:
    """Open the dialog, as a button's callback."""
    session.forget("other")
    session.remember("asked", ("give", scope))


def close() -> None:
    """Close it."""
    session.forget("asked")


def still(faces: Sequence[str], whose: PersonId | None) -> list[FaceId]:
    """Those of some faces that are still `whose` they were when they were drawn (None for nobody's), for a callback.

    Another window may have spoken of the others since, and an act that was broken off may come a second time.

    Raises
    ------
    InputError
        If there is none.
    """
    view = session.view()
    known = [FaceId(face) for face in faces if face in view.faces.row]
    found = [f for f in known if view.owner(f) == whose and not view.state.is_masked[view.row(f)]]
    if faces and not found:
        raise InputError("Something else was said of these faces meanwhile. Nothing was changed. Look at them again.")
    return found


def dialog(scope: str, verb: str, faces: Sequence[FaceId], give: Callable[[PersonId], None]) -> None:
    """The dialog, where it was asked for: `give` is the callback of the button that says "`verb` N faces to Anna"."""
    asked = session.recall("asked")
    if asked != ("give", scope) or not faces:
        return

    @widgets.dialog("Whose faces are these?", close)
    def show() -> None:
        if session.recall("asked") != asked:
            st.rerun()  # answered: a dialog closes only with the whole page
        other = session.view().card_of.get(PersonId(str(session.recall("other")))) or _somebody(faces)
        if other is None:
            return
        st.image(pictures.of_face(other.cover), width=112, alt=widgets.called(other.name))
        whose = widgets.whom(other.name, f"this unnamed person of {widgets.faces(other.n_faces)}")
        st.button(
            f"{verb} {widgets.faces(len(faces))} to {whose}", key="give-now", type="primary", on_click=give,
            args=(other.id,),
        )  # fmt: skip

    show()


def _somebody(faces: Sequence[FaceId]) -> PersonCard | None:
    """Let the curator choose: by name, or one of those nearest to the faces."""
    chosen = widgets.choose_person("Type a name", "give-to")
    if chosen is None:
        count = Counter(one.person for one in session.view().nearest(faces[:_LOOKED_AT]) if one.person is not None)
        near = [session.view().card_of[person] for person, _ in count.most_common(_OFFERED)]
        if near:
            st.text("Or choose one of those who look most alike:")
            widgets.grid(len(near), lambda at: _candidate(near[at]), "alike", "medium")
    return chosen


def _candidate(card: PersonCard) -> None:
    widgets.face_tile(
        card.cover, f"alike-{card.id}", widgets.called(card.name), on_open=session.remember, args=("other", card.id),
        below=lambda: widgets.small(card.name or widgets.faces(card.n_faces), f"alike-{card.id}"),
    )  # fmt: skip
