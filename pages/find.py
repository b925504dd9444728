"""Find: whom a face or a person looks like, the nearest first, each with why it is there."""

from itertools import groupby

import streamlit as st

from facecluster.ui import finding, photo, session, widgets

SCOPE = "find"
FEW = 12  # faces of one person before the next one is shown


def main() -> None:
    view = session.view()
    face, person, asked = finding.query()
    if not len(view.faces):
        widgets.page_head("Find")
        widgets.no_faces("and this page finds look-alikes.")
        return
    widgets.page_head("Find", "Whom does this face look like?" if face else "Who looks like this?")
    if asked and not face and not person:
        session.problem(f"There is nobody and no face called {asked} in this library any more. Choose again.")
    choose(person)
    if not face and not person:
        suggestions()
        return
    query(face, person)
    results(face, person)
    widgets.action_bar(SCOPE, "face", lambda chosen: give(person or view.owner(face), chosen))
    shown = photo.shown()
    if shown is not None:
        photo.dialog(shown)


def choose(person) -> None:
    with st.container(width=420):
        chosen = widgets.choose_person(
            "Search by a person", f"find-person-{person}", placeholder="Type a name to search by"
        )
    if chosen is not None and chosen.id != person:
        finding.search_by(person=chosen.id)
        st.rerun()


def suggestions() -> None:
    people, loose = session.view().people(), session.view().noise
    if people:
        st.subheader("Or by somebody from People", anchor=False)
        widgets.grid(min(len(people), 14), lambda at: known(people[at]), "known", "medium")
    if loose:
        st.subheader("Or by a face that is nobody's", anchor=False)
        widgets.grid(min(len(loose), 36), lambda at: pick(loose[at].face, "nobody's"), "loose", "thumb")


def known(card) -> None:
    name = widgets.called(card.name)
    widgets.face_tile(
        card.cover, f"known-{card.id}", f"Search by {name}", on_open=finding.search_by, args=("", card.id),
        below=lambda: widgets.small(card.name or widgets.faces(card.n_faces), f"known-{card.id}"),
    )  # fmt: skip


def pick(face, whose) -> None:
    widgets.face_tile(face, f"pick-{face}", f"Search by this face, {whose}", on_open=finding.search_by, args=(face, ""))


def query(face, person) -> None:
    view = session.view()
    owner = person or view.owner(face)
    card = view.card_of.get(owner) if owner else None
    name = widgets.called(card.name) if card else "Nobody's face"
    with st.container(horizontal=True, key="fc-who", vertical_alignment="center"):
        st.image(session.picture(face or card.cover), width=92, alt=name)
        with st.container(gap="xsmall"):
            st.subheader(widgets.escaped(f"One face of {name}" if face and card else name), anchor=False)
            if person:
                reach = widgets.alike(*view.spread(person))
                widgets.small(f"Nine of ten of their own faces lie within {reach} of their centre.", "own")
            if card:
                with st.container(horizontal=True, vertical_alignment="center"):
                    every = widgets.faces(card.n_faces)
                    st.page_link(
                        "pages/person.py", label=f"See all {every}", query_params={"id": card.id}, width="content"
                    )
                    with widgets.opened("Search by one of these faces", f"faces-of-{card.id}") as is_open:
                        if is_open:
                            cards = view.faces_of(card.id)[:40]
                            widgets.grid(len(cards), lambda at: pick(cards[at].id, name), "own", "thumb")


def results(face, person) -> None:
    hits = finding.found(face, person)
    if not hits:
        widgets.empty("Nothing else to compare with", "This library has no other face.")
        return
    every = st.toggle("Show every face of each person", key="find-every", persist_state="session")
    groups = [(owner, list(inside)) for owner, inside in groupby(hits, key=lambda hit: hit.person)]
    shown = [hit for _, inside in groups for hit in (inside if every else inside[:FEW])]
    on_page = widgets.paged(len(shown), f"find-{face}-{person}-{every}")
    size = {owner: len(inside) for owner, inside in groups}
    first = {owner: inside[0] for owner, inside in groups}
    for number, (owner, some) in enumerate(groupby((shown[at] for at in on_page), key=lambda hit: hit.person)):
        inside = list(some)
        section(number, owner, size[owner], first[owner])
        widgets.grid(len(inside), lambda at, hits=inside: tile(hits[at]), f"found-{number}", "medium")


def give(person, chosen: list[str]) -> None:
    card = session.view().card_of.get(person) if person else None
    if card is not None:
        st.button(
            f"Give {widgets.faces(len(chosen))} to {widgets.whom(card.name)}", key="give",
            on_click=done, args=(lambda: session.service().move(chosen, card.id),),
        )  # fmt: skip
    st.button(
        f"New person from {len(chosen):,}", key="new-person", on_click=done,
        args=(lambda: session.service().new_person(chosen),),
    )  # fmt: skip


def done(do) -> None:
    session.act(do)
    if session.is_done():
        session.clear_selection(SCOPE)


def section(number, owner, n, best) -> None:
    card = session.view().card_of.get(owner) if owner else None
    nearest = widgets.alike(best.distance, best.cosine)
    with st.container(horizontal=True, key=f"fc-section-{number}", vertical_alignment="bottom"):
        st.text(widgets.called(card.name) if card else "Nobody's faces", width="content")
        st.text(f"{widgets.faces(n)}, the nearest at {nearest}", width="content")
        if card:
            st.page_link("pages/person.py", label="See this person", query_params={"id": card.id}, width="content")


def tile(hit) -> None:
    card = session.view().card_of.get(hit.person) if hit.person else None
    likeness = widgets.alike(hit.distance, hit.cosine)
    why = "direct" if hit.is_direct else f"same person, {card.name}" if card and card.name else "same person"

    def below() -> None:
        widgets.small(f"{why}\n{likeness.replace(' · ', chr(10))}", f"why-{hit.face}")

    widgets.face_tile(
        hit.face, f"found-{hit.face}", f"Photo of this face, {why}, {likeness}", scope=SCOPE, item=hit.face,
        on_open=photo.open_it, args=(hit.face,), below=below,
    )  # fmt: skip


main()
