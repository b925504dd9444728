"""Erasing a person for good: a quiet button, and the dialog that names what goes and wants it typed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import streamlit as st

from facecluster.exporting import person_as_json
from facecluster.model import FaceId, PersonId
from facecluster.ui import belongings, session, widgets
from facecluster.view import View

_SAID = (
    ("confirmation", "confirmations"),
    ("time that a face is not somebody", "times that a face is not somebody"),
    ("answer about who is one person", "answers about who is one person"),
)


def button(person: PersonId) -> None:
    """The way to the dialog, below everything else."""
    with st.container(key="fc-quiet-erase"):
        st.button("Erase this person…", key="erase", type="tertiary", on_click=_ask, args=(person,))


def dialog(person: PersonId) -> None:
    """The dialog, where it was asked for."""
    asked = session.recall("asked")
    if asked != ("erase", person):
        return

    @widgets.dialog("Erase this person for good?", _close)
    def show() -> None:
        if session.recall("asked") != asked:
            st.rerun()  # answered: a dialog closes only with the whole page
        view = session.view()
        name, n = view.person(person).name, len(view.everything_of(person)[0])
        for text in _what_goes(person):
            st.text(text)
        service, file = session.service(), f"{_file_name(name) or person}.json"
        st.download_button(
            f"Save all of it first: {widgets.faces(n)} and what was said, as JSON",
            belongings.made(lambda: person_as_json(service.view(), person, service.crop), file, "application/json"),
            file_name=file, mime="application/json", key="erase-save",
            on_click="ignore",
        )  # fmt: skip
        with st.container(key="fc-warn-erase"):
            st.text("This cannot be undone.")
        wanted = f"{n:,}, or the name," if name else f"{n:,}"
        typed = st.text_input(f"Type {wanted} to go on", key=f"erase-typed-{person}", live="200ms", autocomplete="off")
        is_sure = (typed or "").strip() in {str(n), f"{n:,}", *([name] if name else [])}
        st.button(
            f"Erase {widgets.whom(name)} and {widgets.faces(n)}", key="erase-now", type="primary",
            disabled=not is_sure, on_click=_erase, args=(person, n),
        )  # fmt: skip
        st.button("Cancel: erase nothing", key="erase-cancel", type="tertiary", on_click=_close)

    show()


def _what_goes(person: PersonId) -> list[str]:
    """Line by line what would be gone."""
    view, settings = session.view(), session.settings()
    faces, people = view.everything_of(person)
    name, n_here = view.person(person).name, len(view.rows(person))
    where = "on this machine and in Pinecone" if settings.has_pinecone else "on this machine"
    gone = f" ({len(faces) - n_here:,} of them are no longer in the library)" if len(faces) > n_here else ""
    lines = [f"{widgets.faces(len(faces))}{gone}: their vectors and cut-out pictures, {where}."]
    said = [
        f"{n:,} {words[n != 1]}"
        for words, n in zip(_SAID, what_was_said(view, faces, people), strict=True)
        if n
    ]  # fmt: skip
    if said:
        lines.append(f"What was said of these faces: {', '.join(said)}.")
    whose = f"The name “{name}”" if name else "The person"
    merged = f", {widgets.plural(len(people) - 1, 'person', 'people')} merged into them" if len(people) > 1 else ""
    kept = "in Supabase" if settings.has_supabase else "on this machine"
    lines.append(f"{whose}{merged}, and everything that was said of them, in History and published runs too, {kept}.")
    if any(view.faces.url[row] for row in view.rows(person).tolist()):
        lines.append("The photos that these faces are in stay where they are: they belong to others as well.")
    return lines


def _file_name(name: str) -> str:
    """A name as that of a file on any system."""
    return re.sub(r"[^\w .-]", "_", name).strip(" .")[:60]


def what_was_said(view: View, faces: Sequence[FaceId], people: Sequence[PersonId]) -> tuple[int, int, int]:
    """Facts that go with some faces and people: confirmed faces, faces ruled out, and links between faces."""
    gone = {*faces, *people}
    count = Counter(kind for kind, subject, other in view.snapshot.facts if gone & {subject, other})
    return count["pin"], count["not_person"], count["link"]


def _ask(person: PersonId) -> None:
    session.remember("asked", ("erase", person))


def _close() -> None:
    session.forget("asked")


def _erase(person: PersonId, n_faces: int) -> None:
    _close()
    session.act(lambda: session.service().erase(person, n_faces))
    if session.is_done():
        session.clear_selection()
        session.open_page("people")
