"""Noise: the faces that are nobody's, under headings that can be answered at once."""

import streamlit as st

from facecluster.ui import noise, photo, session, uploading, widgets

TABS = {"nobody": "In nobody", "blurred": "Too blurred", "aside": "Set aside"}
MARKS = {"ignored": "Ignored", "not_a_face": "Not a face"}
NONE = {
    "person": ("Nothing to do here", "Every face has its person."),
    "alike": ("No two alike", "Of the faces that are nobody's no two are alike enough to be one person."),
    "sharp": ("Nothing to do here", "Every face has its person."),
    "blurred": ("Nothing to do here", "No face was left out as too blurred."),
}


def main() -> None:
    view = session.view()
    n = len(view.noise_rows)
    if not len(view.faces) or view.snapshot.run is None:
        widgets.page_head("Noise")
        nothing_yet(view)
        return
    widgets.page_head("Noise", f"{widgets.faces(n)} that {'belongs' if n == 1 else 'belong'} to nobody yet")
    if view.n_new:
        st.text(f"{widgets.faces(view.n_new)} came after the last run; Tune sorts them in.")
    person, only = noise.asked_for()
    if person is not None:
        one_person(person, only)
    else:
        everything(view, n)
    face = photo.shown()
    if face is not None:
        photo.dialog(face)


def one_person(person, only) -> None:
    """Just the faces that look like somebody since an act."""
    with st.container(horizontal=True, vertical_alignment="center", key="fc-noise-tools"):
        st.text(widgets.like_now(person, only) if only else "None left of those that looked alike", width="content")
        st.button("Show everything on Noise", key="noise-everything", on_click=noise.ask_for_everything)
    if only:
        noise.draw("nobody", noise.arranged("like", "person", False, only))


def everything(view, n) -> None:
    counts = {"nobody": n, "blurred": len(view.blurred_rows), "aside": len(view.set_aside)}
    with st.container(horizontal=True, vertical_alignment="center", key="fc-noise-tools"):
        tab = st.segmented_control(
            "Which faces", list(TABS), format_func=lambda t: f"{TABS[t]} {counts[t]:,}", default="nobody",
            required=True, key="noise-tab", label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        st.space("stretch")
        order, is_sharp = how() if tab == "nobody" and n else ("person", False)
    if tab == "aside":
        set_aside(view)
        return
    found = noise.arranged(tab, order, is_sharp)
    if found.rows:
        noise.draw(tab, found)
    elif tab == "nobody" and view.state.is_masked.all():
        text = "Look under “Set aside”, and take back those that count."
        widgets.empty("Every face is set aside", text)
    elif is_sharp and n:
        widgets.empty("None of them sharp", f"{widgets.faces(n)} are blurred or nearly so. Turn off “Sharp only”.")
    else:
        widgets.empty(*NONE[tab if tab == "blurred" else order], "pages/people.py", "See everybody on People")


def how():
    order = st.segmented_control(
        "Order of the faces", list(noise.ORDERS), format_func=noise.ORDERS.get, default="person", required=True,
        key="noise-order", label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    return order, st.toggle("Sharp only", key="noise-sharp", persist_state="session")


def nothing_yet(view) -> None:
    if len(view.faces):
        widgets.nobody_found("; what is left over comes here")
    else:
        uploading.no_faces("and this page shows those that belong to nobody.")


def set_aside(view) -> None:
    faces = view.set_aside
    if not faces:
        widgets.empty("Nothing set aside", "Faces that you ignore, or say are none, wait here and can be taken back.")
        return
    noise.draw_set_aside([(face, MARKS[mark]) for face, mark in faces])


main()
