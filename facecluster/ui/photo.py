"""The photo a face is in: shown in a dialog, with what is known about both and who else is there.

Which photo is open stands in the address, so that a link shows it and another page does not.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import streamlit as st

from facecluster import images
from facecluster.model import FaceId
from facecluster.ui import session, widgets
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


def open_it(face: FaceId) -> None:
    """Show the photo of a face, as a button's callback."""
    st.query_params["photo"] = face


def close() -> None:
    """Close it."""
    st.query_params.pop("photo", None)


def shown() -> FaceId | None:
    """The face whose photo is open; None where it is none of this library."""
    face = FaceId(st.query_params.get("photo", ""))
    return face if face in session.view().faces.row else None


def _sketch(face: FaceId) -> bytes | None:
    """A photo put together from its faces; None where it is not known where this face is."""
    if box_of_face(session.view(), face) is None:
        return None
    found = []
    for card in session.view().in_photo(face):
        place = box_of_face(session.view(), card.id)
        if place is not None:
            found.append(images.FaceInPhoto(place, session.service().crop(card.id), card.id == face))
    return images.photo_sketch(found)


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


def dialog(face: FaceId, actions: Callable[[], None] | None = None) -> None:
    """The photo a face is in, what is known about both, who else is there, and what can be done about the face."""
    view = session.view()
    card, *others = view.in_photo(face)
    owner = view.card_of.get(card.person) if card.person is not None else None

    @widgets.dialog("The photo of this face", close, "medium")
    def show() -> None:
        if shown() != face:
            st.rerun()  # done with: a dialog closes only with the whole page
        is_drawn = _draw(face)
        with st.container(horizontal=True, key="fc-face"):
            if not is_drawn:
                st.image(session.picture(face), width=176, alt=widgets.called(owner.name) if owner else "The face")
            widgets.facts(
                [
                    ("Person", widgets.called(owner.name) if owner else "nobody"),
                    ("Photo", card.photo or "unknown"),
                    ("Folder", card.folder or "unknown"),
                    (
                        "Blur score",
                        "unknown" if card.blur_score is None else f"{card.blur_score:,.0f}, higher is sharper",
                    ),
                    ("Certainty", widgets.certainty(card.is_confirmed, card.strength) if owner else "nobody's"),
                ],
                "face",
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            if actions is not None:
                actions()
            st.page_link("pages/find.py", label="Find similar faces", query_params={"face": face}, width="content")
        if others:
            st.text(f"Also in this photo: {widgets.plural(len(others), 'face', 'faces')}")
            widgets.grid(min(len(others), 12), lambda at: _in_photo(others[at]), "in-photo", "medium")
            if len(others) > 12:
                st.text(f"and {len(others) - 12:,} more")

    show()


def _in_photo(card: FaceCard) -> None:
    owner = session.view().card_of.get(card.person) if card.person is not None else None
    name = widgets.called(owner.name) if owner else "Nobody"

    def below() -> None:
        if owner is not None:
            st.page_link("pages/person.py", label=widgets.escaped(name), query_params={"id": owner.id})
        else:
            widgets.small(name, f"also-{card.id}")

    widgets.face_tile(card.id, f"also-{card.id}", name, below=below)
