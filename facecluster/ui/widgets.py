"""Pieces that several pages share: page head, face grid, action bar, news, empty states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Literal

import streamlit as st

from facecluster.model import FaceId, PersonId
from facecluster.ui import session
from facecluster.view import PersonCard

PAGE = 60

_CSS = files("facecluster.ui").joinpath("style.css").read_text("utf-8")
# isolate_styles=False: the sheet is for Streamlit's own widgets. The script says which mode is on, for the few values
# that the theme has no name for.
_style = st.components.v2.component(
    "facecluster_style",
    css=_CSS,
    js="""
export default function (component) {
  const root = document.documentElement;
  const paper = getComputedStyle(component.parentElement).getPropertyValue("--st-background-color").trim();
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = paper || "#fff";
  const value = parseInt(probe.fillStyle.slice(1), 16);
  const light = ((value >> 16) & 255) + ((value >> 8) & 255) + (value & 255);
  root.classList.toggle("fc-dark", light < 384);
}
""",
    isolate_styles=False,
)


def plural(n: int, one: str, many: str) -> str:
    """A count with its word: "1 face", "1,204 faces"."""
    return f"{n:,} {one if n == 1 else many}"


def faces(n: int) -> str:
    """A count of faces."""
    return plural(n, "face", "faces")


def alike(distance: float, cosine: float) -> str:
    """A distance, always with its cosine."""
    return f"cosine {cosine:.2f} · distance {distance:.2f}"


def called(name: str) -> str:
    """A name, or what stands for one."""
    return name or "Unnamed"


def page_head(title: str, line: str = "") -> None:
    """Title and one grey line; whatever a callback could not do, and what was just done, stand below."""
    with st.container(key="fc-style"):
        _style(key="fc-style-sheet")
    with st.container(horizontal=True, key="fc-head", vertical_alignment="bottom"):
        st.title(title, anchor=False, width="content")
        if line:
            st.text(line, width="content")
    text = session.pending_problem()
    if text:
        session.problem(text)
    _news()


def _news() -> None:
    said = session.news()
    if said is None:
        return
    with st.container(horizontal=True, key="fc-news", vertical_alignment="center"):
        st.text(said.text, width="stretch")
        if said.confirm is not None:
            card = session.view().card_of.get(said.confirm)
            if card is not None and card.n_confirmed < card.n_faces:
                st.button(
                    f"Confirm all {faces(card.n_faces)}",
                    key="fc-news-confirm",
                    on_click=session.act,
                    args=(lambda: session.service().confirm(card.id),),
                    help="Pins these faces: no later clustering moves them.",
                )
        if said.revision is not None:
            st.button("Undo", key="fc-news-undo", on_click=session.undo, args=(said.revision,))
        st.button("Close", key="fc-news-close", type="tertiary", on_click=session.dismiss_news)


def empty(title: str, text: str, page: str = "", label: str = "") -> None:
    """Say why there is nothing to see, and lead on."""
    st.space("medium")
    st.subheader(title, anchor=False)
    st.text(text)
    if page:
        st.page_link(page, label=label)


def face_tile(
    face: FaceId | None,
    key: str,
    label: str,
    *,
    scope: str | None = None,
    item: str = "",
    on_open: Callable[..., None] | None = None,
    args: tuple[object, ...] = (),
    below: Callable[[], None] | None = None,
) -> None:
    """One face: the picture opens it, the corner selects it, `below` writes under it."""
    with st.container(key=f"fc-tile-{key}"):
        st.image(session.picture(face), width="stretch", alt=label)
        if on_open is not None:
            st.button(label, key=f"fc-open-{key}", on_click=on_open, args=args)
        if scope is not None:
            turn = session.generation(scope)
            st.checkbox(
                f"Select {label}",
                value=item in session.selected(scope),
                key=session.checkbox_key(scope, item, turn),
                label_visibility="collapsed",
                on_change=session.toggle,
                args=(scope, item, turn),
            )
        if below is not None:
            below()


def small(text: str, key: str) -> None:
    """A grey line under a face."""
    with st.container(key=f"fc-small-{key}"):
        st.text(text)


def grid(n: int, draw: Callable[[int], None], key: str, size: Literal["large", "medium", "thumb"] = "large") -> None:
    """Draw items 0 to n - 1 side by side, as many to a row as fit: six large ones at 1400 pixels, two on a phone."""
    with st.container(horizontal=True, key=f"fc-grid-{size}-{key}"):
        for at in range(n):
            draw(at)


def paged(n: int, key: str) -> range:
    """Choose a page of `n` items; the items on it."""
    n_pages = -(-n // PAGE)
    number = st.pagination(n_pages, key=f"page-{key}") if n_pages > 1 else 1
    number = min(number, max(n_pages, 1))
    return range((number - 1) * PAGE, min(number * PAGE, n))


def action_bar(scope: str, noun: str, draw: Callable[[list[str]], None]) -> None:
    """The ink bar at the foot of the page, only while something is selected."""
    chosen = session.selected(scope)
    if not chosen:
        return
    with st.bottom, st.container(horizontal=True, key="fc-bar", vertical_alignment="center"):
        st.text(f"{len(chosen):,} {noun if len(chosen) == 1 else noun_plural(noun)} selected", width="content")
        draw(chosen)
        st.button("Clear", key=f"clear-{scope}", on_click=session.clear_selection, args=(scope,))


def noun_plural(noun: str) -> str:
    """The two nouns that are ever selected."""
    return {"face": "faces", "person": "people"}[noun]


def choose_person(label: str, key: str, but: Sequence[PersonId] = (), named_first: bool = True) -> PersonCard | None:
    """A box in which a person is found by typing."""
    cards = [card for card in session.view().people(show_hidden=True) if card.id not in but]
    if named_first:
        cards.sort(key=lambda card: (not card.name, card.name.casefold(), -card.n_faces))
    by_id = {card.id: card for card in cards}
    chosen = st.selectbox(
        label,
        list(by_id),
        index=None,
        key=key,
        format_func=lambda p: f"{called(by_id[p].name)} · {faces(by_id[p].n_faces)}",
        placeholder="Type a name",
    )
    return by_id.get(chosen) if chosen is not None else None


def wait_for(use_case: str, title: str, **args: object) -> None:
    """Start long work unless it runs already; show how far it is, with Cancel, and rerun the page when it is done."""
    job = session.jobs().start_once(use_case, **args)

    @st.fragment(run_every=0.4)
    def watch() -> None:
        state = session.jobs().state(job)
        if state.status == "running":
            left = state.seconds_left
            st.progress(min(state.fraction, 1.0), text=state.message)
            if left is not None and left >= 2:
                st.text(f"About {left:,.0f} seconds left")
            st.button(f"Cancel: {title.lower()}", key=f"cancel-{job}", on_click=session.jobs().cancel, args=(job,))
            return
        if state.status == "done":
            session.jobs().forget(job)
            st.rerun()
        session.problem(state.message)
        st.button("Start again", key=f"again-{job}", on_click=session.jobs().forget, args=(job,))

    watch()
