"""People: everybody with a face, named in place."""

import streamlit as st

from facecluster.ui import face_grid, fetching, people_rows, pictures, session, uploading, widgets

SCOPE = "people"
MOST_APART = 8  # people told apart at once: each of them from each
SORTS = {"most faces": "Most faces", "fewest faces": "Fewest faces", "name": "Name", "unnamed first": "Unnamed first"}


def main() -> None:
    view = session.view()
    everybody = people_rows.everybody()
    n_people = widgets.plural(len(everybody.cards), "person", "people")
    widgets.page_head("People", f"{n_people}, {widgets.faces(everybody.n_faces)}")
    if not len(view.faces):
        uploading.no_faces("and this page shows who is on your photos.")
        return
    fetching.news()
    uploading.reports()
    if not everybody.cards:
        widgets.nobody_found()
        return
    without_faces()
    without_pictures(card.cover for card in everybody.cards[: widgets.PAGE])
    cards, asked = filtered(everybody.n_hidden, everybody.n_unnamed)
    draw(everybody, cards, asked)
    if not cards:
        widgets.empty("Nobody of that name", "Clear the search, or show hidden people.")
        return
    widgets.action_bar(SCOPE, "person", actions)
    widgets.same_name()


def draw(everybody, cards, asked: str) -> None:
    session.keep_selected(SCOPE, session.view().card_of)
    deeds = face_grid.Deeds(open=session.open_person, rename=session.name_or_ask, drop=merge)
    shown = None if cards == everybody.cards else [card.id for card in cards]
    face_grid.show(SCOPE, everybody.rows, shown, deeds, label="People", spec=asked)


def merge(people, onto) -> None:
    """Make those who were dropped on somebody one with them."""
    others = [person for person in people if session.view().survivor(person) != onto]
    if others:  # an act that was broken off and comes again finds them one
        done(lambda: session.service().merge(onto, others))


def filtered(n_hidden: int, n_unnamed: int) -> tuple[list, str]:
    """Who is shown, and what was asked for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search names", key="people-search", placeholder="Search names", label_visibility="collapsed",
            type="search", live="200ms", width=260, bind="query-params",
        )  # fmt: skip
        sort = st.selectbox(
            "Sort by", list(SORTS), format_func=SORTS.get, key="people-sort", label_visibility="collapsed", width=170,
            persist_state="session",
        )  # fmt: skip
        unnamed = st.toggle(f"{n_unnamed:,} without a name", key="people-unnamed", persist_state="session")
        hidden = st.toggle(f"Show {n_hidden:,} hidden", key="people-hidden") if n_hidden else False
    cards = session.view().people(search or "", sort, hidden)
    return [card for card in cards if not unnamed or not card.name], f"{search} {sort} {unnamed} {hidden}"


def actions(chosen: list[str]) -> None:
    cards = [card for card in (session.view().card_of.get(person) for person in chosen) if card is not None]
    if len(cards) > 1:
        into, *others = sorted(cards, key=lambda card: (not card.name, -card.n_faces, card.id))
        total = sum(card.n_faces for card in cards)
        st.button(
            f"Merge into {widgets.whom(into.name, 'the largest')} ({widgets.faces(total)})",
            key="merge-selected", shortcut="M", on_click=done,
            args=(lambda: session.service().merge(into.id, [other.id for other in others]),),
        )  # fmt: skip
        if len(cards) <= MOST_APART:
            st.button(
                f"{len(cards):,} different people", key="apart-selected", shortcut="D", on_click=done,
                args=(lambda: session.service().tell_apart([card.id for card in cards]),),
                help="They are neither asked about nor joined any more, by no later clustering.",
            )  # fmt: skip
    everyone_hidden = all(card.is_hidden for card in cards)
    st.button(
        f"Show {len(cards):,} again" if everyone_hidden else f"Hide {len(cards):,}",
        key="hide-selected", shortcut="H", on_click=done,
        args=(lambda: session.service().hide([card.id for card in cards], not everyone_hidden),),
    )  # fmt: skip


def done(do) -> None:
    session.act(do)
    if session.is_done():
        session.clear_selection(SCOPE)


def without_pictures(covers) -> None:
    """Why faces are drawn heads: their pictures lie on hosts that are not allowed."""
    faces = session.view().faces
    without = (face for face in covers if face is not None and not faces.picture_marks[faces.row[face]])
    hosts = pictures.placeholders(without)
    if hosts:
        with st.container(horizontal=True, key="fc-quiet-hosts", vertical_alignment="center"):
            st.text(
                f"Not shown yet: pictures of {widgets.faces(hosts.total())} on {', '.join(list(hosts)[:3])}",
                width="content",
            )
            st.page_link("pages/status.py", label="See the setting on Status", width="content")


def without_faces() -> None:
    """Names whose faces are gone at present: shown, because a name is never lost."""
    lost = session.view().without_faces
    if lost:
        with st.expander(f"Needs attention: {widgets.plural(len(lost), 'name has', 'names have')} no faces at present"):
            for card in lost:
                st.text(card.name)


main()
