"""Map: all faces in the plane, alike ones together; what is drawn around is listed and can be put right."""

from collections import Counter
from itertools import groupby

import streamlit as st

from facecluster.ui import charts, giving, photo, session, widgets

SCOPE = "map"
FEWEST = 15
MOST_COMPARED = 3000  # faces whose nearest person is looked up while the curator waits


def main() -> None:
    view = session.view()
    if len(view.faces) < FEWEST or view.snapshot.run is None:
        widgets.page_head("Map")
        nothing_yet(view)
        return
    if not session.service().has_map():
        widgets.page_head("Map", f"Placing {widgets.faces(len(view.faces))}; this is done once for the same faces")
        widgets.wait_for("map", "Drawing the map")
        return
    points = charts.FaceMap.of(view, *session.service().map())
    n_drawn = min(len(points), charts.MOST_DRAWN)
    some = f"{n_drawn:,} of {widgets.faces(len(points))} drawn, all can be selected"
    widgets.page_head("Map", some if n_drawn < len(points) else f"{widgets.faces(len(points))}, alike ones together")
    person = find(view)
    draw(view, points, person)
    found = session.recall(f"drawn-{SCOPE}")
    faces = [face for face in found or [] if face in view.faces.row]
    if found == []:
        st.text("No face in what you drew.")
    if faces:
        inside(view, faces)
        widgets.action_bar(SCOPE, "face", about_selected)
        chosen = session.selected(SCOPE)
        giving.dialog(SCOPE, "Move", chosen, lambda to: done(lambda: session.service().move(chosen, to)))
    face = photo.shown()
    if face is not None:
        photo.dialog(face)


def nothing_yet(view) -> None:
    if not len(view.faces):
        widgets.no_faces("and this page shows which of them are alike.")
    elif len(view.faces) < FEWEST:
        widgets.empty(
            "Too few faces for a map",
            f"A map needs {FEWEST} faces; here are {len(view.faces)}.",
            "pages/people.py",
            "See them on People",
        )
    else:
        widgets.empty(
            "Nobody found yet",
            "The map shows people. Find them on Tune first.",
            "pages/tune.py",
            "Find people on Tune",
        )


def find(view):
    with st.container(horizontal=True, vertical_alignment="center", key="fc-map-tools"):
        with st.container(width=320):
            card = widgets.choose_person("Find a person on the map", "map-person", placeholder="Find a person")
        widgets.small(
            "Draw around faces to list them; to list one, choose the cross and click it. Grey: in nobody.", "map-how"
        )
    if card is not None and not charts.is_on_map(view, session.service().map()[0], card.id):
        st.text(f"{widgets.called(card.name)} is not on the map: all their faces are too blurred or came after it.")
        return None
    return card.id if card is not None else None


def draw(view, points, person) -> None:
    figure = charts.people_map(
        view, points, f"{view.faces.fingerprint}/{view.version}", st.context.theme.type == "dark", person
    )
    key = f"map-{session.recall('map-turn') or 0}"
    with st.container(key="fc-map"):
        st.plotly_chart(
            figure, theme=None, config=charts.CONFIG, key=key, selection_mode=("points", "box", "lasso"),
            on_select=lambda: charts.take_drawn(key, SCOPE),
            alt=f"Map of {widgets.faces(len(points))}: alike faces lie together",
        )  # fmt: skip


def inside(view, faces) -> None:
    """What was drawn around, whose it is at present and whose it looks like."""
    owners = {face: view.owner(face) for face in faces}
    size = Counter(owners.values())
    order = sorted(faces, key=lambda face: (-size[owners[face]], owners[face] or "", face))
    with st.container(horizontal=True, vertical_alignment="center", key="fc-map-inside"):
        st.subheader(f"{widgets.faces(len(faces))} in what you drew", anchor=False, width="content")
        st.space("stretch")
        if len(session.selected(SCOPE)) < len(faces):
            st.button(f"Select all {len(faces):,}", key="map-all", on_click=session.select, args=(SCOPE, faces))
        st.button("Close this list", key="map-close", type="tertiary", on_click=close)
    compare(view, faces)
    on_page = widgets.paged(len(order), f"map-{hash(tuple(faces))}")
    for number, (owner, some) in enumerate(groupby((order[at] for at in on_page), key=owners.get)):
        section = list(some)
        card = view.card_of.get(owner) if owner else None
        with st.container(horizontal=True, key=f"fc-section-{number}", vertical_alignment="bottom"):
            st.text(widgets.called(card.name) if card else "In nobody", width="content")
            of = f" of {card.n_faces:,}" if card else ""
            st.text(f"{size[owner]:,}{of} {'face' if size[owner] == 1 and not of else 'faces'}", width="content")
        widgets.grid(len(section), lambda at, own=section, card=card: tile(own[at], card), f"map-{number}", "medium")


def compare(view, faces) -> None:
    """The map is flat and may mislead; the vectors themselves have the last word."""
    if len(faces) > MOST_COMPARED:
        return
    near = view.nearest(faces)
    count = Counter(one.person for one in near if one.person is not None)
    if not count:
        return
    (most, n_most), *others = count.most_common()
    if not others:
        whose = f"All {len(faces):,} are" if len(faces) > 1 else "It is"
        st.text(f"{whose} nearest to {name(view, most)}, measured by the whole vectors.")
        return
    apart = [one.face for one in near if one.person != most]
    said = ", ".join(f"{n:,} nearer to {name(view, person)}" for person, n in others[:3])
    more = f" and {sum(n for _, n in others[3:]):,} to others" if len(others) > 3 else ""
    mostly = f"{n_most:,} of {len(faces):,} are nearest to {name(view, most)}"
    with st.container(horizontal=True, vertical_alignment="center", key="fc-map-compare"):
        st.text(f"{mostly}, measured by the whole vectors; {said}{more}.", width="content")
        st.button(
            f"Leave out the {len(apart):,}", key="map-leave-out", on_click=session.select,
            args=(SCOPE, [face for face in faces if face not in set(apart)]),
        )  # fmt: skip


def name(view, person) -> str:
    card = view.card_of[person]
    return card.name or f"an unnamed person of {widgets.faces(card.n_faces)}"


def tile(face, card) -> None:
    whose = widgets.called(card.name) if card else "nobody"
    widgets.face_tile(
        face, f"map-{face}", f"Face of {whose}, {face}", scope=SCOPE, item=face, on_open=photo.open_it, args=(face,)
    )


def about_selected(chosen: list[str]) -> None:
    service, n = session.service(), len(chosen)
    st.button(f"Move {n:,} to…", key="map-move", shortcut="M", on_click=giving.ask, args=(SCOPE,))
    st.button(
        f"New person from {n:,}", key="map-new", shortcut="P", on_click=done,
        args=(lambda: service.new_person(chosen),),
    )  # fmt: skip
    st.button(
        f"Ignore {n:,}", key="map-ignore", shortcut="I", on_click=done, args=(lambda: service.mark(chosen, "ignored"),)
    )
    st.button(
        f"Not a face: {n:,}", key="map-no-face", shortcut="X", on_click=done,
        args=(lambda: service.mark(chosen, "not_a_face"),),
    )  # fmt: skip


def done(do) -> None:
    giving.close()
    session.act(do)
    if session.is_done():
        close()


def close() -> None:
    """Forget the list and what was drawn: a chart with another key starts without."""
    session.forget(f"drawn-{SCOPE}")
    session.clear_selection(SCOPE)
    session.remember("map-turn", (session.recall("map-turn") or 0) + 1)


main()
