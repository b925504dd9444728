"""Person: one human's faces, the doubtful ones first, and everything that can be put right about them."""

from itertools import groupby

import streamlit as st

from facecluster.ui import (
    blended,
    erasing,
    face_grid,
    finding,
    giving,
    person_facts,
    photo,
    pictures,
    session,
    splitting,
    visits,
    widgets,
)

ORDERS = {"certainty": "Certainty", "photo": "Photo", "folder": "Folder"}
TARGETS = 10  # people in the strip onto whom faces are dragged


def main() -> None:
    asked = st.query_params.get("id", "")
    view = session.view()
    card = view.card_of.get(asked)
    if card is None:
        nobody(asked)
        return
    widgets.page_head(draw=lambda: head(card))
    widgets.same_name()
    if card.n_faces:
        blended.warn(card.id)
    ask(card)
    splitting.dialog(card)
    erasing.dialog(card.id)
    with st.container(horizontal=True, vertical_alignment="center", key="fc-tools"):
        order = st.segmented_control(
            "Order of the faces", list(ORDERS), format_func=ORDERS.get, default="certainty", required=True,
            key="person-order", label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        st.space("stretch")
        about_everything(card)
    if not card.n_faces:
        widgets.empty(
            "No faces at present",
            "The name is kept. Move faces here from another person, or look where they went.",
            "pages/history.py",
            "See what was changed",
        )
        erasing.button(card.id)
        return
    new = visits.came(card.id)
    faces = visits.only_new(card.id, view.faces_of(card.id, order or "certainty"), new)
    draw_faces(card, faces, order or "certainty", new)
    erasing.button(card.id)
    widgets.action_bar(scope(card), "face", lambda chosen: about_selected(card, chosen))
    face = photo.shown()
    if face is not None and session.recall("asked") is None:
        photo.dialog(face, lambda: about_one(card, face))


def nobody(asked) -> None:
    into = session.view().survivor(asked)
    widgets.page_head("Person")
    if not asked:
        text, label = "Choose somebody on the People page to see all their faces.", "Choose a person"
    elif into is not None and into != asked:
        name = widgets.called(session.view().person(into).name)
        widgets.empty("Now one with somebody else", f"This person was merged into {name}. Nothing was lost.")
        st.page_link("pages/person.py", label=widgets.escaped(f"Go to {name}"), query_params={"id": into})
        text = label = ""
    elif into is not None:
        widgets.empty("No faces at present, and no name", "What was said of this person is kept.")
        erasing.button(into)
        erasing.dialog(into)
        text = label = ""
    else:
        text = "There is nobody with this address in this library: it may be from another one, or out of date."
        label = "See everybody"
    if label:
        widgets.empty("Nobody chosen" if not asked else "Nobody here", text, "pages/people.py", label)


def head(card) -> None:
    n_photos = session.view().n_photos(card.id)
    with st.container(horizontal=True, key="fc-who", vertical_alignment="center"):
        st.image(pictures.of_face(card.cover), width=92, alt=f"Cover of {widgets.called(card.name)}")
        with st.container(gap=None):
            key = f"name-{card.id}-{card.name}"
            st.text_input(
                widgets.escaped(f"Name of {widgets.called(card.name)}"), card.name, key=key, placeholder="Add name",
                label_visibility="collapsed", on_change=session.rename, args=(card.id, key, card.name),
            )  # fmt: skip
            photos = f" in {widgets.plural(n_photos, 'photo', 'photos')}" if n_photos else ""
            hidden = ", hidden on People" if card.is_hidden else ""
            confirmed = f", {card.n_confirmed:,} confirmed" if card.n_confirmed else ", none confirmed"
            widgets.small(widgets.faces(card.n_faces) + photos + confirmed + hidden, "who")
        folders(card)


def folders(card) -> None:
    """In how many folders they are, and where most."""
    found = [one for one in person_facts.folders(session.view(), card.id) if one[0]]
    if len(found) > 1:
        words = f"{len(found):,} folders, {found[0][0]} to {found[-1][0]}"
        with st.container(key="fc-folders", width="content", horizontal_alignment="right", gap="xsmall"):
            st.image(person_facts.bars([n for _, n in found]), width="content", alt=words)
            widgets.small(words, "folders")


def about_everything(card) -> None:
    if card.n_confirmed < card.n_faces:
        st.button(
            f"Confirm all {widgets.faces(card.n_faces)}", key="confirm-all", type="primary", on_click=session.act,
            args=(lambda: session.service().confirm(card.id),),
            help="Pins these faces: no later clustering moves them.",
        )  # fmt: skip
    st.button("Merge with…", key="merge", on_click=ask_for, args=("merge", card))
    splitting.button(card)
    with st.popover("More"):
        more(card)


def more(card) -> None:
    service = session.service()
    if card.n_faces:
        st.button(
            "Find similar", key="find-similar", type="tertiary", on_click=session.open_page, args=("find",),
            kwargs={"person": card.id},
        )  # fmt: skip
    st.button(
        "Show on People again" if card.is_hidden else "Hide", key="hide", type="tertiary", on_click=session.act,
        args=(lambda: service.hide([card.id], not card.is_hidden),),
        help=None if card.is_hidden else "Leaves this person out of the People page; nothing is deleted.",
    )  # fmt: skip
    widgets.small(person_facts.cover_rule(session.view(), card.id), "cover-rule")
    if session.view().person(card.id).cover is not None:
        st.button(
            "Choose the cover for me", key="cover-auto", type="tertiary", on_click=session.act,
            args=(lambda: service.set_cover(card.id, None),),
        )  # fmt: skip


def ask(card) -> None:
    """The two questions that need somebody else: who is the same human, and whose faces these are."""
    asked = session.recall("asked")
    if asked not in (("merge", card.id), ("move", card.id)):
        return
    is_merge = asked[0] == "merge"
    title = "Who is the same human?" if is_merge else "Whose faces are these?"

    @widgets.dialog(title, lambda: session.forget("asked"))
    def show() -> None:
        if session.recall("asked") != asked:
            st.rerun()  # answered: a dialog closes only with the whole page
        other = session.view().card_of.get(session.recall("other")) or somebody(card, is_merge)
        if other is None:
            return
        with st.container(horizontal=True):
            for one in (card, other) if is_merge else (other,):
                st.image(pictures.of_face(one.cover), width=112, alt=widgets.called(one.name))
        if is_merge:
            merge_with(card, other)
        else:
            move_to(card, other)

    show()


def somebody(card, is_merge):
    """Let the curator choose: by name, or one of those who look most alike."""
    chosen = widgets.choose_person("Type a name", "other", but=[card.id])
    if chosen is None and card.n_faces:
        face = None if is_merge else next(iter(session.selected(scope(card))), None)
        near = finding.look_alikes(face, None if face else card.id, card.id, 8)
        if near:
            st.text("Or choose one of those who look most alike:")
            widgets.grid(len(near), lambda at: candidate(near[at]), "alike", "medium")
    return chosen


def candidate(card) -> None:
    name = widgets.called(card.name)
    widgets.face_tile(
        card.cover, f"alike-{card.id}", name, on_open=session.remember, args=("other", card.id),
        below=lambda: widgets.small(card.name or widgets.faces(card.n_faces), f"alike-{card.id}"),
    )  # fmt: skip


def ask_for(what, card) -> None:
    session.forget("other")
    session.remember("asked", (what, card.id))


def merge_with(card, other) -> None:
    into, gone = sorted((card, other), key=lambda one: (not one.name, one.id != card.id, -one.n_faces))
    if card.name and other.name and card.name != other.name:
        st.text(f"The name “{gone.name}” goes. Undo brings it back.")
    total = widgets.faces(card.n_faces + other.n_faces)
    st.button(
        f"Make them one: {widgets.whom(into.name, 'unnamed')}, {total}", key="merge-now", type="primary",
        on_click=merge, args=(into.id, gone.id),
    )  # fmt: skip


def merge(into, gone) -> None:
    session.forget("asked")
    session.act(lambda: session.service().merge(into, [gone]))
    if session.is_done():
        session.open_person(into)


def move_to(card, other) -> None:
    chosen = session.selected(scope(card))
    st.button(
        f"Move {widgets.faces(len(chosen))} to {widgets.whom(other.name)}", key="move-now", type="primary",
        on_click=done, args=(card, lambda: session.service().move(giving.still(chosen, card.id), other.id)),
    )  # fmt: skip


def draw_faces(card, faces, order, new) -> None:
    session.keep_selected(scope(card), {face.id for face in faces})
    service, of_all = session.service(), {face.id: face for face in faces}
    deeds = face_grid.Deeds(
        open=photo.open_it,
        drop=lambda some, to: done(card, lambda: service.move(giving.still(some, card.id), to)),
        section=lambda *_: done(
            card,
            lambda: service.confirm(card.id, giving.still([f for f in of_all if not of_all[f].is_confirmed], card.id)),
        ),
        keys={
            "o": photo.open_it,
            "w": photo.open_why,
            "y": lambda face: done(card, lambda: service.confirm(card.id, giving.still([face], card.id))),
            "n": lambda face: done(card, lambda: service.reject(giving.still([face], card.id), card.id)),
        },
        passing="yn",
        hint=f"On a face: Y confirms, N says not {card.name or 'this person'}, O opens the photo, W says why",
    )
    others = [one for one in session.view().people() if one.name and one.id != card.id][:TARGETS]
    face_grid.show(
        scope(card), [row(face, order, face.id in new) for face in faces], None, deeds,
        label=f"Faces of {widgets.called(card.name)}", kind="faces", spec=order, sections=sections(faces, order),
        targets=[face_grid.Target(one.id, one.name, one.cover) for one in others],
    )  # fmt: skip


def row(face, order, is_new) -> face_grid.Row:
    sure = "" if face.is_confirmed and order == "certainty" else widgets.certainty(face.is_confirmed, face.strength)
    said = face.photo or "photo unknown" if order == "photo" else sure
    return face_grid.Row(face.id, "", ", ".join(filter(None, ("new" if is_new else "", said))), face.id)


def sections(faces, order) -> list[face_grid.Section]:
    """Folders, or those who are not confirmed yet over those who are."""
    if order == "folder":
        some = [(folder, len(list(inside))) for folder, inside in groupby(faces, key=lambda face: face.folder)]
        return [
            face_grid.Section(f"folder-{folder}", folder or "Folder unknown", n, widgets.faces(n)) for folder, n in some
        ]
    n = sum(face.is_confirmed for face in faces)
    if order != "certainty" or not n:
        return []
    n_open = len(faces) - n
    confirm = (("confirm", f"Confirm these {n_open:,}" if n_open > 1 else "Confirm this one"),)
    line = f"{widgets.faces(n_open)}, the least certain first"
    return [
        face_grid.Section("open", "Not confirmed", n_open, line, deeds=confirm),
        face_grid.Section("confirmed", "Confirmed", n, f"{widgets.faces(n)}, which no clustering moves"),
    ]


def about_selected(card, chosen: list[str]) -> None:
    service, n = session.service(), len(chosen)

    def theirs():
        return giving.still(chosen, card.id)

    st.button(f"Confirm {n:,}", key="confirm", on_click=done, args=(card, lambda: service.confirm(card.id, theirs())))
    st.button(
        f"Not {widgets.whom(card.name)}: {n:,}", key="reject", shortcut="N", on_click=done,
        args=(card, lambda: service.reject(theirs(), card.id)),
    )  # fmt: skip
    st.button(f"Move {n:,} to…", key="move", shortcut="M", on_click=ask_for, args=("move", card))
    st.button(
        f"New person from {n:,}", key="new-person", shortcut="P", on_click=done,
        args=(card, lambda: service.new_person(theirs())),
    )  # fmt: skip
    if n == 1:
        st.button(
            "Use as cover", key="cover", on_click=done,
            args=(card, lambda: service.set_cover(card.id, chosen[0])),
        )  # fmt: skip
        if photo.shown() is None:  # the dialog has the same two keys
            st.button("Photo", key="photo-of", shortcut="O", on_click=photo.open_it, args=(chosen[0],))
            st.button("Why here?", key="why-of", shortcut="W", on_click=photo.open_why, args=(chosen[0],))


def about_one(card, face) -> None:
    service = session.service()
    if session.view().owner(face) != card.id:
        return
    if not session.view().face(face).is_confirmed:
        st.button(
            "Confirm this face", key="one-confirm", on_click=done,
            args=(card, lambda: service.confirm(card.id, giving.still([face], card.id))),
        )  # fmt: skip
    st.button(
        f"Not {widgets.whom(card.name)}", key="one-reject", on_click=done,
        args=(card, lambda: service.reject(giving.still([face], card.id), card.id)),
    )  # fmt: skip
    st.button(
        "Use as cover", key="one-cover", on_click=done, args=(card, lambda: service.set_cover(card.id, face))
    )  # fmt: skip


def done(card, do) -> None:
    session.forget("asked")
    photo.close()
    session.act(do)
    if session.is_done():
        session.clear_selection(scope(card))


def scope(card) -> str:
    return f"faces-{card.id}"


main()
