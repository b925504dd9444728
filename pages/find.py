"""Find: whom a face, a person or a vector looks like, and which photos people are in."""

import streamlit as st

from facecluster.ui import (
    blended,
    face_grid,
    finding,
    found_rows,
    found_table,
    giving,
    photo,
    pictures,
    session,
    uploading,
    widgets,
)

SCOPE = finding.SCOPE
TITLES = {
    "alike": "Who looks like this?",
    "photos": "Photos by who is in them",
    "vector": "Who has a vector like this?",
}


def main() -> None:
    view = session.view()
    if not len(view.faces):
        widgets.page_head("Find")
        uploading.no_faces("and this page finds look-alikes.")
        return
    if session.view().state.is_masked.all():
        widgets.page_head("Find")
        widgets.nobody_found()
        return
    asked = finding.query()
    widgets.page_head("Find", TITLES[asked.mode])
    if asked.unknown:
        session.problem(
            f"There is nobody and no face called {', '.join(asked.unknown)} in this library any more. Choose again."
        )
    asked = choose(asked)
    if asked.is_empty:
        suggestions(asked)
    else:
        who(asked)
        results(asked)
    shown = photo.shown()
    if shown is not None:
        photo.dialog(shown)


def choose(asked):
    """In which way is searched, and by what."""
    key = finding.key_of("by", asked.mode)
    with st.container(horizontal=True, key="fc-find", vertical_alignment="center"):
        st.segmented_control(
            "What to search by", list(finding.MODES), format_func=finding.MODES.get, default=asked.mode, required=True,
            key=key, label_visibility="collapsed", on_change=finding.by, args=(key,),
        )  # fmt: skip
        if asked.mode == "alike":
            choose_person(asked.asked.person)
    if asked.mode == "photos":
        choose_people(asked.asked)
    return finding.upload(asked) if asked.mode == "vector" else asked


def choose_person(person) -> None:
    with st.container(width=340):
        chosen = widgets.choose_person(
            "Search by a person", f"find-person-{person}", placeholder="Type a name to search by",
            label_visibility="collapsed",
        )  # fmt: skip
    if chosen is not None and chosen.id != person:
        finding.search_by(person=chosen.id)
        st.rerun()


def choose_people(asked) -> None:
    labels = {
        "all": ("All of them", asked.all_of),
        "any": ("Any of them", asked.any_of),
        "without": ("Without", asked.without),
    }
    with st.container(horizontal=True, key="fc-find-people"):
        for name, (label, chosen) in labels.items():
            cards = {card.id: card for card in finding.to_choose_from(chosen)}
            key = finding.key_of(name, list(chosen))
            st.multiselect(
                label, list(cards), list(chosen), key=key, placeholder="Type a name", wrap=True,
                format_func=lambda p, cards=cards: f"{widgets.called(cards[p].name)} · {cards[p].n_faces:,}",
                on_change=finding.set_param, args=(name, key, []),
            )  # fmt: skip


def suggestions(asked) -> None:
    """What to begin with, where nothing is asked for yet."""
    people, loose = session.view().people(), finding.loose_faces()
    if asked.mode == "vector":
        st.text("A vector is compared with every face here. The file stays in this session and is stored nowhere.")
        return
    if not people and asked.mode == "photos":
        text = "Photos are found by the people in them, and nobody was found yet."
        widgets.empty("Nobody to ask for", text, "pages/tune.py", "Find people on Tune")
    if people:
        is_alike = asked.mode == "alike"
        st.subheader("Or by somebody from People" if is_alike else "Or begin with somebody from People", anchor=False)
        face_grid.show(
            "find-known", [known(card) for card in people[: finding.OFFERED]], None,
            face_grid.Deeds(open=lambda one: finding.search_by(person=one) if is_alike else finding.search_photos(one)),
            label="People to search by",
        )  # fmt: skip
    if loose and asked.mode == "alike":
        st.subheader("Or by a face that is nobody's", anchor=False)
        face_grid.show(
            "find-loose", [face_grid.Row(face, "", "", face) for face in loose], None,
            face_grid.Deeds(open=finding.search_by), label="Faces to search by", kind="faces",
        )  # fmt: skip


def known(card):
    return face_grid.Row(card.id, card.name, card.name or widgets.faces(card.n_faces), card.cover, card.n_faces)


def who(asked) -> None:
    """Who or what is searched by, and whether they look like two people."""
    one = asked.asked
    if asked.mode == "alike":
        card = session.view().card_of.get(next(iter(asked.people), None))
        name = widgets.called(card.name) if card else "Nobody's face"
        with st.container(horizontal=True, key="fc-who", vertical_alignment="center"):
            st.image(pictures.of_face(one.face or card.cover), width=92, alt=name)
            with st.container(gap="xsmall"):
                st.subheader(widgets.escaped(f"One face of {name}" if one.face and card else name), anchor=False)
                if one.person:
                    reach = widgets.alike(*session.view().spread(one.person))
                    widgets.small(f"Nine of ten of their own faces lie within {reach} of their centre.", "own")
                if card:
                    ways(card, name)
    for person in asked.people:
        blended.warn(person)


def ways(card, name) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        every = widgets.faces(card.n_faces)
        st.page_link("pages/person.py", label=f"See all {every}", query_params={"id": card.id}, width="content")
        with widgets.opened("Search by one of these faces", f"faces-of-{card.id}") as is_open:
            if is_open:
                cards = session.view().faces_of(card.id)[:40]
                widgets.grid(len(cards), lambda at: pick(cards[at].id, name), "own", "thumb")


def pick(face, whose) -> None:
    widgets.face_tile(face, f"pick-{face}", f"Search by this face, {whose}", on_open=finding.search_by, args=(face, ""))


def results(asked) -> None:
    answered = finding.found(asked)
    shows_table = narrow(asked)
    if not answered.faces:
        nothing(asked)
        return
    st.text(finding.in_words(asked, answered))
    if shows_table:
        found_table.draw(asked, answered)
        return
    by_photo = asked.asked.is_for_photos
    rows, sections = found_rows.by_photo(answered) if by_photo else found_rows.by_person(asked, answered)
    session.keep_selected(SCOPE, {row.id for row in rows})
    deeds = face_grid.Deeds(
        open=photo.open_it,
        drop=lambda some, to: done(lambda: session.service().move(some, to)),
        section=open_photo if by_photo else about_person,
        keys={"o": photo.open_it, "w": photo.open_why, "f": finding.search_by},
    )
    face_grid.show(
        SCOPE, rows, None, deeds, label="Faces found", kind="faces", sections=sections,
        spec=" ".join(st.query_params.get_all("face") + list(asked.people)),
        targets=found_rows.targets(asked, answered),
    )  # fmt: skip
    widgets.action_bar(SCOPE, "face", lambda chosen: give(next(iter(asked.people), None), chosen))
    chosen = session.selected(SCOPE)
    giving.dialog(SCOPE, "Give", chosen, lambda to: done(lambda: session.service().move(chosen, to)))


def narrow(asked) -> bool:
    """The slider and what goes with it; whether a table is wanted."""
    least = max(asked.asked.least, 0.0)
    with st.container(horizontal=True, key="fc-find-tools", vertical_alignment="bottom"):
        key = finding.key_of("least", least)
        st.slider(
            f"At least {finding.reach(least)}" if least else "However alike", 0.0, 1.0, least, 0.01, key=key, width=220,
            on_change=finding.set_param, args=("least", key, 0.0),
        )  # fmt: skip
        st.space("stretch")
        with st.popover("More or fewer"):
            how_many(asked)
        shows = "table" if st.query_params.get("as") == "table" else "faces"
        key = finding.key_of("as", shows)
        st.segmented_control(
            "Show the answer as", ["faces", "table"], format_func=str.capitalize, default=shows, required=True,
            key=key, label_visibility="collapsed", on_change=finding.set_param, args=("as", key, "faces"),
        )  # fmt: skip
    return shows == "table"


def how_many(asked) -> None:
    usual, noun = session.service().settings.search_top_k, "photos" if asked.asked.is_for_photos else "nearest faces"
    numbers = [usual, *(n for n in finding.MORE if n != usual)]
    key = finding.key_of("most", asked.asked.most)
    st.selectbox(
        "At most", numbers, numbers.index(asked.asked.most), format_func=lambda n: f"{n:,} {noun}", key=key,
        on_change=finding.set_param, args=("most", key, usual),
    )  # fmt: skip
    key = finding.key_of("suggested", asked.is_suggested)
    st.toggle(
        "With whom may be the same", asked.is_suggested, key=key, on_change=finding.set_param,
        args=("suggested", key, False),
        help="Adds the faces of those whom Review holds for the same person, before anybody has said so.",
    )  # fmt: skip


def nothing(asked) -> None:
    if asked.asked.least > 0:
        widgets.empty("Nobody so alike", "Move the slider to the left: less alike faces are shown again.")
    elif asked.asked.is_for_photos:
        widgets.empty("No such photo", "Take a name away, or ask for any of them and not for all.")
    else:
        widgets.empty("Nothing else to compare with", "This library has no other face.")


def about_person(section, deed) -> None:
    if deed == "all":
        finding.show_all(section)
    else:
        session.open_person(section)


def open_photo(section, _) -> None:
    photo.open_it(section.removeprefix("photo-"))


def give(person, chosen: list[str]) -> None:
    card = session.view().card_of.get(person) if person else None
    if card is not None:
        st.button(
            f"Give {widgets.faces(len(chosen))} to {widgets.whom(card.name)}", key="give",
            on_click=done, args=(lambda: session.service().move(chosen, card.id),),
        )  # fmt: skip
    st.button(f"Give {len(chosen):,} to…", key="give-them", shortcut="M", on_click=giving.ask, args=(SCOPE,))
    st.button(
        f"New person from {len(chosen):,}", key="new-person", shortcut="P", on_click=done,
        args=(lambda: session.service().new_person(chosen),),
    )  # fmt: skip
    if len(chosen) == 1:
        st.button("Search by this face", key="by-this", shortcut="F", on_click=finding.search_by, args=(chosen[0],))


def done(do) -> None:
    giving.close()
    session.act(do)
    if session.is_done():
        session.clear_selection(SCOPE)


main()
