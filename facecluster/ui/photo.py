"""The photo a face is in, or why the face is where it is: one dialog with two sides, a key apart.

What is open stands in the address, so that a link shows it and another page does not.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import streamlit as st

from facecluster.decoding import photo_sketch
from facecluster.images import FaceInPhoto
from facecluster.model import FaceId
from facecluster.ui import pictures, session, why, widgets
from facecluster.ui.addresses import address_of_photo, box_of_face
from facecluster.view import FaceCard

# The photo from its own host with the box of one face over it. Only the browser knows how large the photo is, and only
# a component can keep this page's address from the host.
_photo = st.components.v2.component(
    "facecluster_photo",
    html="<figure><img><span></span></figure><p></p>",
    css="""
figure { position: relative; margin: 0; }
img { display: block; width: 100%; border-radius: 12px; }
img[hidden] { display: none; }
span { position: absolute; display: none; border: 3px solid var(--st-link-color); border-radius: 4px; }
p { margin: 0; color: var(--st-gray-text-color); font: 14px var(--st-font); }
""",
    js="""
export default function ({ parentElement, data }) {
  const img = parentElement.querySelector("img"), box = parentElement.querySelector("span");
  const said = parentElement.querySelector("p");
  img.referrerPolicy = "no-referrer";
  img.alt = data.label;
  img.onerror = () => { img.hidden = true; box.style.display = "none"; said.textContent = data.missing; };
  img.onload = () => {
    if (!data.box) return;
    const [left, top, right, bottom] = data.box, w = img.naturalWidth / 100, h = img.naturalHeight / 100;
    box.style.cssText = `display: block; left: ${left / w}%; top: ${top / h}%; ` +
      `width: ${(right - left) / w}%; height: ${(bottom - top) / h}%`;
  };
  if (img.src !== data.url) { img.hidden = false; said.textContent = ""; img.src = data.url; }
}
""",
)

_CLOSED = "photo-closed"


def open_it(face: FaceId) -> None:
    """Show the photo of a face, as a button's callback."""
    session.forget(_CLOSED)
    st.query_params["photo"] = face
    st.query_params.pop("why", None)


def open_why(face: FaceId) -> None:
    """Show why a face is where it is, as a button's callback."""
    session.forget(_CLOSED)
    st.query_params.update({"photo": face, "why": "1"})


def close() -> None:
    """Close either."""
    # A click that comes before the browser has heard of this still brings the old address: it must not open it again.
    session.remember(_CLOSED, _asked())
    _clear()


def _asked() -> tuple[str, bool]:
    """What the address says: a face, and whether it is the why that is wanted."""
    return st.query_params.get("photo", ""), "why" in st.query_params


def _clear() -> None:
    for name in ("photo", "why"):
        st.query_params.pop(name, None)


def shown() -> FaceId | None:
    """The face whose photo is open; None where it is none of this library."""
    asked = _asked()
    if asked == session.recall(_CLOSED):
        _clear()
    elif asked[0] in session.view().faces.row:
        return FaceId(asked[0])
    return None


def _sketch(face: FaceId) -> bytes | None:
    """A photo put together from its faces; None where it is not known where this face is."""
    if box_of_face(session.view(), face) is None:
        return None
    found = []
    for card in session.view().in_photo(face):
        place = box_of_face(session.view(), card.id)
        if place is not None:
            found.append(FaceInPhoto(place, session.service().crop(card.id), card.id == face))
    return photo_sketch(found)


def _draw(face: FaceId) -> bool:
    """Draw the photo a face is in, with its box: itself, or a sketch; returns whether the face is well seen there."""
    view = session.view()
    url, box = address_of_photo(view, face, session.settings().image_hosts), box_of_face(view, face)
    if url:
        missing = f"The photo could not be loaded from {urlsplit(url).hostname}."
        _photo(key="fc-photo", data={"url": url, "box": box, "label": "The photo", "missing": missing})
        return False
    if view.faces.url[view.row(face)]:
        widgets.small(
            "Its photo has an address from which this page may not load yet. Status shows the setting.", "host"
        )
    sketch = _sketch(face)
    if sketch is None:
        return False
    st.image(sketch, width="stretch", alt="Where the faces are in the photo")
    widgets.small("Put together from the faces: the photo itself is not in this library.", "sketch")
    return True


def _set_aside(face: FaceId) -> None:
    """Ignore a face, as a button's callback."""
    close()
    session.act(lambda: session.service().mark([face], "ignored"))


def dialog(face: FaceId, actions: Callable[[], None] | None = None) -> None:
    """The photo a face is in and who else is there, or why it is where it is; and what can be done about the face."""
    is_why = "why" in st.query_params

    @widgets.dialog("Why is this face here?" if is_why else "The photo of this face", close, "medium")
    def show() -> None:
        if shown() != face or ("why" in st.query_params) != is_why:
            st.rerun()  # done with, or turned over: a dialog closes only with the whole page
        if is_why:
            _head(face, with_picture=True)
            _actions(face, is_why, actions)
            why.panel(face, _set_aside)
        else:
            _head(face, with_picture=not _draw(face))
            _actions(face, is_why, actions)
            _others(face)

    show()


def _head(face: FaceId, with_picture: bool) -> None:
    """What is known about a face, beside its picture where the photo does not show it."""
    view = session.view()
    card = view.face(face)
    owner = view.card_of.get(card.person) if card.person is not None else None
    with st.container(horizontal=True, key="fc-face"):
        if with_picture:
            st.image(pictures.of_face(face), width=112, alt=widgets.called(owner.name) if owner else "The face")
        widgets.facts(
            [
                ("Person", widgets.called(owner.name) if owner else "nobody"),
                ("Photo", card.photo or "unknown"),
                ("Folder", card.folder or "unknown"),
                ("Blur score", why.quality(card)),
                ("Certainty", widgets.certainty(card.is_confirmed, card.strength) if owner else "nobody's"),
            ],
            "face",
        )


def _actions(face: FaceId, is_why: bool, actions: Callable[[], None] | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if actions is not None:
            actions()
        if is_why:
            st.button("Show the photo", key="photo-show", shortcut="O", on_click=open_it, args=(face,))
        elif session.view().owner(face) is not None:
            st.button("Why here?", key="photo-why", shortcut="W", on_click=open_why, args=(face,))
        st.page_link("pages/find.py", label="Find similar faces", query_params={"face": face}, width="content")


def _others(face: FaceId) -> None:
    others = session.view().in_photo(face)[1:]
    if not others:
        return
    st.text(f"Also in this photo: {widgets.plural(len(others), 'face', 'faces')}")
    widgets.grid(min(len(others), 12), lambda at: _in_photo(others[at]), "in-photo", "medium")
    if len(others) > 12:
        st.text(f"and {len(others) - 12:,} more")


def _in_photo(card: FaceCard) -> None:
    owner = session.view().card_of.get(card.person) if card.person is not None else None
    name = widgets.called(owner.name) if owner else "Nobody"

    def below() -> None:
        if owner is not None:
            st.page_link("pages/person.py", label=widgets.escaped(name), query_params={"id": owner.id})
        else:
            widgets.small(name, f"also-{card.id}")

    widgets.face_tile(card.id, f"also-{card.id}", name, below=below)
