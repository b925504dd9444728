"""Map: all faces in the plane, alike ones together; what is drawn around is shown, checked, and put right in place."""

from collections import Counter
from itertools import groupby

import streamlit as st

from facecluster.ui import face_grid, face_map, giving, photo, pictures, session, uploading, widgets

SCOPE = face_map.SCOPE
FEWEST = 15
ON_CARD = 20  # faces shown on the card over the map: three rows of seven, less one for the words
OUT_ON_CARD = 7
MOST_LISTED = 3000


def main() -> None:
    view = session.view()
    if len(view.faces) < FEWEST or view.snapshot.run is None or view.state.is_masked.all():
        widgets.page_head("Map")
        nothing_yet(view)
        return
    if not session.service().has_map():
        widgets.page_head("Map", f"Placing {widgets.faces(len(view.faces))}; this is done once for the same faces")
        widgets.wait_for("map", "Drawing the map")
        return
    n, n_drawn = len(face_map.points()), face_map.n_drawn()
    some = f"{n_drawn:,} of {widgets.faces(n)} drawn, all can be selected"
    widgets.page_head("Map", some if n_drawn < n else f"{widgets.faces(n)}, alike ones together · grey: in nobody")
    # What the page around the map shows: the map, which is drawn anew on its own, sees by it when that is out of date.
    session.remember("map-around", around())
    with st.container(key="fc-map"):
        the_map()
        workbench()
        with st.container(key="fc-map-hover"):
            face_map.card()
    chosen = session.selected(SCOPE)
    giving.dialog(SCOPE, "Move", chosen, lambda to: done(lambda: session.service().move(chosen, to)))
    widgets.same_name()
    face = photo.shown()
    if face is not None:
        photo.dialog(face)


def around() -> object:
    return session.news(), session.recall("asked"), session.same_name(), photo.shown()


def nothing_yet(view) -> None:
    if not len(view.faces):
        uploading.no_faces("and this page shows which of them are alike.")
    elif len(view.faces) < FEWEST:
        widgets.empty(
            "Too few faces for a map",
            f"A map needs {FEWEST} faces; here are {len(view.faces)}.",
            "pages/people.py",
            "See them on People",
        )
    else:
        widgets.nobody_found("; the map shows who is alike")


@st.fragment
def the_map() -> None:
    with session.errors(), session.service().held():
        face_map.show(find())


@st.fragment
def workbench() -> None:
    """What was drawn on the map: a fragment, so that a lasso redraws no more than this."""
    if face_map.leaves() or not session.is_done() or session.recall("map-around") != around():
        st.rerun()
    with session.errors(), session.service().held() as view:
        found = session.recall(f"drawn-{SCOPE}")
        faces = [face for face in found or [] if face in view.faces.row]
        with st.container(key="fc-map-acts"):
            face_map.hear()
        if found is not None:
            with st.container(key="fc-map-act"):
                card(view, faces)
        if faces and session.recall("map-list"):
            with st.container(key="fc-map-list"):
                listed(view, faces)


def find():
    with st.container(key="fc-map-find"):
        card = widgets.choose_person("Find a person on the map", "map-person", placeholder="Find a person on the map")
        if card is not None and not face_map.is_on_map(card.id):
            st.text(f"{widgets.called(card.name)} is not on the map: all their faces are too blurred or came after it.")
            return None
    return card.id if card is not None else None


# --- the card over the map -----------------------------------------------------------------------------------------


def card(view, faces) -> None:
    """What was drawn around: whom the faces are like by their whole vectors, and what can be done with them."""
    with st.container(horizontal=True, key="fc-map-act-head"):
        st.subheader(widgets.faces(len(faces)), anchor=False, width="stretch")
        st.button("Close", key="map-close", type="tertiary", on_click=face_map.close)
    if not faces:
        st.text("No face in what you drew.")
        return
    chosen = session.selected(SCOPE)
    near = face_map.whom(faces)
    if near is None:
        strip(faces, "these")
        if len(faces) <= face_map.MOST_COMPARED:
            st.button("Whom are they like?", key="map-compare", on_click=session.remember, args=("map-compare", True))
        else:
            widgets.small(f"More than {face_map.MOST_COMPARED:,} are not compared with everybody.", "map-many")
    elif near.person is None:
        strip(faces, "these")
    else:
        compared(view, faces, near, chosen)
    with st.container(key="fc-map-with"):
        widgets.small(f"With the {widgets.faces(len(chosen))}" if chosen else "No face is selected", "map-with")
        if chosen:
            name_them(view, chosen)
            acts(view, chosen, near.person if near else None)
    is_listed = bool(session.recall("map-list"))
    st.button(
        "Close the list" if is_listed else f"List {'it' if len(faces) == 1 else f'all {len(faces):,}'} below",
        key="map-all", type="tertiary", on_click=session.remember, args=("map-list", not is_listed),
    )  # fmt: skip


def compared(view, faces, near, chosen) -> None:
    """The map is flat and may mislead; the vectors themselves have the last word."""
    n = len(near.faces)
    widgets.small(f"{n:,} nearest to {called(view, near.person)}", "map-near")
    strip(near.faces, "these")
    if not near.others:
        return
    said = [f"{len(some):,} nearer to {called(view, person)}" for person, some in near.others[:2]]
    rest = sum(len(some) for _, some in near.others[2:])
    with st.container(key="fc-map-apart"):
        st.text(", ".join([*said, *([f"{rest:,} to others"] if rest else [])]) + ". Leave them out?")
    apart = [face for _, some in near.others for face in some]
    strip(apart, "others", OUT_ON_CARD)
    is_out = not set(apart) & set(chosen)
    with st.container(key="fc-map-out"):
        st.button(
            f"Leave out {len(apart):,}", key="map-leave-out", type="secondary" if is_out else "primary",
            disabled=is_out, on_click=session.select, args=(SCOPE, [f for f in faces if f not in set(apart)]),
        )  # fmt: skip
        st.button(
            f"Keep all {len(faces):,}", key="map-keep", disabled=len(chosen) == len(faces),
            on_click=session.select, args=(SCOPE, faces),
        )  # fmt: skip


def strip(faces, key, most=ON_CARD) -> None:
    some = list(faces)[:most]
    with st.container(key=f"fc-map-strip-{key}"):
        st.image(pictures.of_faces(some, 64), width=38, alt=[f"Face {face}" for face in some])
        if len(faces) > len(some):
            widgets.small(f"and {len(faces) - len(some):,} more", f"map-more-{key}")


def called(view, person) -> str:
    card = view.card_of[person]
    return card.name or f"an unnamed person of {widgets.faces(card.n_faces)}"


def name_them(view, chosen) -> None:
    st.text_input(
        f"Name {'this face' if len(chosen) == 1 else f'these {len(chosen):,} faces'}", key="map-name",
        placeholder="Name", label_visibility="collapsed", on_change=face_map.name_selected,
    )  # fmt: skip
    asked = face_map.name_asked()
    if asked is None:
        return
    name, others = asked
    st.text(f"“{name}” is there already.")
    for number, person in enumerate(others[:3]):
        n = view.card_of[person].n_faces
        st.button(
            f"Move {len(chosen):,} to {widgets.whom(name)} · {widgets.faces(n)}", key=f"map-name-{number}",
            type="secondary" if number else "primary", on_click=done,
            args=(lambda to=person: session.service().move(chosen, to),),
        )  # fmt: skip
    st.button(
        f"Another {widgets.whom(name)}: new person", key="map-name-new", on_click=done,
        args=(lambda: session.service().new_person(chosen, name),),
    )  # fmt: skip


def acts(view, chosen, nearest) -> None:
    service, n = session.service(), len(chosen)
    count = Counter(owner for face in chosen if (owner := view.owner(face)) is not None)
    with st.container(key="fc-map-does"):
        if nearest is not None:
            name = widgets.whom(view.card_of[nearest].name, "the nearest")
            st.button(
                f"{'Is' if n == 1 else 'Are'} {name}", key="map-yes", shortcut="Y", on_click=done,
                args=(lambda: service.move(chosen, nearest),),
            )  # fmt: skip
        st.button("Move to…", key="map-move", shortcut="M", on_click=giving.ask, args=(SCOPE,))
        st.button("New person", key="map-new", shortcut="P", on_click=done, args=(lambda: service.new_person(chosen),))
        if count:
            (owner, n_theirs), *_ = count.most_common(1)
            theirs = [face for face in chosen if view.owner(face) == owner]
            st.button(
                f"{n_theirs:,} not {widgets.whom(view.card_of[owner].name, 'theirs')}", key="map-reject", shortcut="N",
                on_click=done, args=(lambda: service.reject(theirs, owner),),
                help=f"Says of {widgets.faces(n_theirs)} that they are not {widgets.escaped(called(view, owner))}.",
            )  # fmt: skip
        st.button(
            "Ignore", key="map-ignore", shortcut="I", on_click=done, args=(lambda: service.mark(chosen, "ignored"),)
        )
        st.button(
            "Not a face" if n == 1 else "No faces", key="map-no-face", shortcut="X", on_click=done,
            args=(lambda: service.mark(chosen, "not_a_face"),),
        )  # fmt: skip


def done(do) -> None:
    giving.close()
    session.act(do)
    if session.is_done():
        face_map.close()


# --- the same faces as a list: for keyboard and screen reader, and to choose them one by one -----------------------


def listed(view, faces) -> None:
    owners = {face: view.owner(face) for face in faces}
    size = Counter(owners.values())
    order = sorted(faces, key=lambda face: (-size[owners[face]], owners[face] or "", face))[:MOST_LISTED]
    with st.container(horizontal=True, vertical_alignment="center", key="fc-map-inside"):
        st.subheader(f"{widgets.faces(len(faces))} in what you drew", anchor=False, width="content")
        st.space("stretch")
        n = len(session.selected(SCOPE))
        st.text(f"{n:,} selected", width="content")
        if n < len(faces):
            st.button("Select all", key="map-select-all", on_click=session.select, args=(SCOPE, faces))
        if n:
            st.button("Select none", key="map-select-none", on_click=session.select, args=(SCOPE, []))
    heads = [section(view, owner, len(list(some)), size[owner]) for owner, some in groupby(order, key=owners.get)]
    face_grid.show(
        SCOPE, [face_grid.Row(face, "", "", face) for face in order], None, face_grid.Deeds(open=photo.open_it),
        label="Faces in what you drew", kind="faces", spec=str(hash(tuple(faces))), sections=heads,
    )  # fmt: skip
    if len(order) < len(faces):
        st.text(
            f"Listed are {len(order):,} of {widgets.faces(len(faces))}; what you choose to do is done to all selected."
        )


def section(view, owner, n_listed, n) -> face_grid.Section:
    """Whose some of the faces are."""
    card = view.card_of.get(owner) if owner else None
    of = f" of {card.n_faces:,}" if card else ""
    line = f"{n:,}{of} {'face' if n == 1 and not of else 'faces'}"
    return face_grid.Section(owner or "", widgets.called(card.name) if card else "In nobody", n_listed, line)


main()
