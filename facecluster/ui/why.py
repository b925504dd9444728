"""Why a face is here, drawn: bars of likeness with the cut on them, what speaks for somebody else, and the bridges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from facecluster import why
from facecluster.model import FaceId
from facecluster.search import cosine
from facecluster.ui import pictures, session, splitting, widgets
from facecluster.view import FaceCard
from facecluster.why import Bridge, Joined, Near, Why

_SIZE = 96

# Labels are text wherever they come from: the script sets textContent and attributes only.
_bars = st.components.v2.component(
    "facecluster_likeness",
    html="<ul></ul>",
    css="""
ul { list-style: none; margin: 0; padding: 0; font: 14px var(--st-font); color: var(--st-text-color); }
li { display: grid; grid-template-columns: 40px 1fr max-content; gap: 12px; align-items: center; padding: 3px 0; }
img { width: 40px; height: 40px; border-radius: 6px; object-fit: cover; background: var(--st-border-color); }
li div { position: relative; height: 4px; border-radius: 2px; background: var(--st-border-color); }
li i { position: absolute; inset: 0 auto 0 0; border-radius: 2px; background: var(--st-gray-text-color); }
li b { position: absolute; top: -5px; width: 2px; height: 14px; background: var(--st-text-color); }
@media (max-width: 480px) { li { grid-template-columns: 40px 1fr; } li span { grid-column: 2; margin-top: -8px; } }
span { font-variant-numeric: tabular-nums; }
""",
    js="""
export default function ({ parentElement, data }) {
  const list = parentElement.querySelector("ul");
  const share = (value) => `${Math.max(0, Math.min(1, value)) * 100}%`;
  list.replaceChildren(...data.rows.map((row) => {
    const item = document.createElement("li"), img = document.createElement("img");
    const bar = document.createElement("div"), fill = document.createElement("i");
    const said = document.createElement("span");
    img.src = row.picture;
    img.alt = row.label;
    img.referrerPolicy = "no-referrer";
    fill.style.width = share(row.cosine);
    bar.append(fill);
    if (data.cut !== null) {
      const tick = document.createElement("b");
      tick.style.left = `calc(${share(data.cut)} - 1px)`;
      bar.append(tick);
    }
    said.textContent = row.said;
    item.append(img, bar, said);
    return item;
  }));
}
""",
)


def panel(face: FaceId, set_aside: Callable[[FaceId], None]) -> None:
    """Everything that speaks for and against a face where it is; nothing for a face that is nobody's.

    `set_aside` is the callback of the buttons that set aside a face which holds two halves together.
    """
    view = session.view()
    card = view.face(face)
    if card.person is None:
        st.text("It is nobody's. Noise shows whom it is nearest to, and what was set aside.")
        return
    tree = splitting.tree_of(card.person)
    found = why.why(view, face, tree)
    name = widgets.called(view.person(card.person).name)
    cut = cosine(found.joined.weight) if found.joined is not None else None
    st.text(_verdict(card, found, name))
    if found.is_doubtful and found.elsewhere is not None:
        with st.container(key="fc-warn-why"):
            st.text(f"{_whose(found.elsewhere)} has a face that is at least as near.")
    if found.nearest:
        _head("Nearest confirmed faces" if found.is_by_confirmed else f"Nearest faces of {name}, none confirmed", cut)
        _likeness(found.nearest, cut, "own", name)
    if found.elsewhere is not None:
        _head(f"Nearest of anybody else: {_whose(found.elsewhere)}", None)
        _likeness([found.elsewhere], cut, "other", _whose(found.elsewhere))
    if found.joined is not None:
        widgets.facts([("Joined at", _joined(found.joined))], "why")
    _bridges(why.bridges(view, tree, 2), face, len(tree), name, set_aside)


def _verdict(card: FaceCard, found: Why, name: str) -> str:
    """One sentence: what put the face here."""
    if card.is_confirmed:
        return f"Somebody said that this is {name}: no clustering moves it."
    if found.reason:
        return f"A second look at the clusters put it here: {found.reason}."
    if card.strength is None:
        return "No clustering put it here: it is kept from before, or it was moved here."
    if found.joined is None:
        return f"It is the only face of {name}."
    return f"Clustering put it here: a chain of faces leads from it to the others of {name}."


def _whose(near: Near) -> str:
    known = session.view().card_of.get(near.person) if near.person is not None else None
    return widgets.called(known.name) if known is not None else "Nobody"


def _head(text: str, cut: float | None) -> None:
    with st.container(horizontal=True, key=f"fc-section-why-{abs(hash(text))}", vertical_alignment="bottom"):
        st.text(text, width="content")
        if cut is not None:
            widgets.small(f"the mark is where it joined, at {cut:.2f}", "why-cut")


def _likeness(some: Sequence[Near], cut: float | None, key: str, name: str) -> None:
    crops = pictures.of_faces([near.face for near in some], _SIZE)
    rows = [
        {
            "picture": picture,
            "label": f"Face of {name}",
            "cosine": near.cosine,
            "said": widgets.alike(near.distance, near.cosine),
        }
        for near, picture in zip(some, crops, strict=True)
    ]
    _bars(key=f"fc-likeness-{key}", data={"rows": rows, "cut": cut})


def quality(card: FaceCard) -> str:
    """How sharp a face is, in words."""
    if card.blur_score is None:
        return "unknown"
    least = session.view().live_blur_threshold
    kind = "blurred" if card.blur_score < least else "nearly blurred" if card.blur_score < 1.5 * least else "sharp"
    return f"{card.blur_score:,.0f}, {kind}; below {least:,.0f} a face is left out"


def _joined(joined: Joined) -> str:
    text = widgets.alike(joined.weight, cosine(joined.weight))
    if joined.weight > joined.distance:
        text += f"; its nearest face in that chain is at {cosine(joined.distance):.2f}, where faces lie less dense"
    if joined.n_hanging:
        text += f". Without this face, {widgets.faces(joined.n_hanging)} would part from the rest"
    return text


def _bridges(
    found: Sequence[Bridge], face: FaceId, n_faces: int, name: str, set_aside: Callable[[FaceId], None]
) -> None:
    """The pairs that hold two halves of the person together, and the offer to set one face of each aside."""
    if not found:
        return
    _head(f"What holds the halves of {name} together", None)
    for number, bridge in enumerate(found):
        is_this = face in (bridge.face, bridge.other)
        crops = pictures.of_faces([bridge.face, bridge.other], _SIZE)
        with st.container(horizontal=True, key=f"fc-bridge-{number}", vertical_alignment="center"):
            for picture, side in zip(crops, ("smaller", "larger"), strict=True):
                st.image(picture, width=56, alt=f"The face at the end of the {side} half")
            pair = "This face and another" if is_this else "These two"
            halves = f"{bridge.n_smaller:,} and {n_faces - bridge.n_smaller:,} faces"
            at = widgets.alike(bridge.weight, cosine(bridge.weight))
            widgets.small(f"{pair} hold {halves} together, at {at}. {_without(bridge, name)}", f"bridge-{number}")
            st.button(
                "Set the first aside", key=f"bridge-aside-{number}", on_click=set_aside, args=(bridge.face,),
                help="It is ignored from now on; Noise can take it back. Nobody else moves before the next run.",
            )  # fmt: skip


def _without(bridge: Bridge, name: str) -> str:
    """What the first face of a bridge does for the person."""
    if not bridge.n_hanging:
        return f"Without the first, nobody else would part from {name}."
    return f"Without the first, {widgets.faces(bridge.n_hanging)} would part from {name}."
