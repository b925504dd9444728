"""Noise: the faces that are nobody's, each with the nearest person."""

from collections import Counter
from itertools import groupby

import streamlit as st

from facecluster.ui import giving, photo, session, widgets

TABS = {"nobody": "In nobody", "blurred": "Too blurred", "aside": "Set aside"}
ORDERS = {"person": "By nearest person", "best": "Best first"}
LEAST = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)
MARKS = {"ignored": "Ignored", "not_a_face": "Not a face"}


def main() -> None:
    view = session.view()
    n = len(view.noise)
    if not len(view.faces) or view.snapshot.run is None:
        widgets.page_head("Noise")
        nothing_yet(view)
        return
    widgets.page_head("Noise", f"{widgets.faces(n)} that {'belongs' if n == 1 else 'belong'} to nobody yet")
    if view.n_new:
        st.text(f"{widgets.faces(view.n_new)} came after the last run; Tune sorts them in.")
    counts = {"nobody": n, "blurred": len(view.too_blurred), "aside": len(view.set_aside)}
    with st.container(horizontal=True, vertical_alignment="center", key="fc-noise-tools"):
        tab = st.segmented_control(
            "Which faces", list(TABS), format_func=lambda t: f"{TABS[t]} {counts[t]:,}", default="nobody",
            required=True, key="noise-tab", label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        st.space("stretch")
        with st.container(horizontal=True, width="content"):
            order, least = arranged() if tab != "aside" and counts[tab] else ("", 0.0)
    if tab == "aside":
        set_aside(view)
    else:
        loose(view, view.too_blurred if tab == "blurred" else view.noise, tab, order, least)
    face = photo.shown()
    if face is not None:
        photo.dialog(face)


def arranged():
    order = st.selectbox(
        "Order of the faces", list(ORDERS), format_func=ORDERS.get, key="noise-order", label_visibility="collapsed",
        width=180, persist_state="session",
    )  # fmt: skip
    least = st.selectbox(
        "How alike at least", LEAST, format_func=lambda c: f"Cosine {c:.2f} or more" if c else "However alike",
        key="noise-least", label_visibility="collapsed", width=180, persist_state="session",
    )  # fmt: skip
    return order, least


def nothing_yet(view) -> None:
    if len(view.faces):
        widgets.empty(
            "Nobody found yet",
            f"{widgets.faces(len(view.faces))} wait to be sorted into people; what is left over comes here.",
            "pages/tune.py",
            "Find people on Tune",
        )
    else:
        widgets.no_faces("and this page shows those that belong to nobody.")


def loose(view, faces, tab, order, least) -> None:
    """Faces that are nobody's, nearest first: person by person, or all in one row."""
    scope = f"noise-{tab}"
    near = {one.face: one.person for one in faces}
    session.keep_selected(scope, near)
    shown = [one for one in faces if one.cosine >= least] if least else list(faces)
    if not faces:
        text = "No face was left out as too blurred." if tab == "blurred" else "Every face has its person."
        widgets.empty("Nothing to do here", text, "pages/people.py", "See everybody on People")
        return
    if not shown:
        widgets.empty("None so alike", f"Of {widgets.faces(len(faces))} none reaches cosine {least:.2f}.")
        return
    if len(shown) < len(faces):
        st.text(f"{len(shown):,} of {widgets.faces(len(faces))} reach cosine {least:.2f}.")
    if order == "best":
        on_page = widgets.paged(len(shown), f"{scope}-best-{least}")
        widgets.grid(len(on_page), lambda at: tile(shown[on_page[at]], scope, True), f"{scope}-best", "medium")
    else:
        by_person(view, shown, scope, f"{scope}-person-{least}")
    widgets.action_bar(scope, "face", lambda chosen: about_selected(view, chosen, near, scope))
    chosen = session.selected(scope)
    giving.dialog(scope, "Assign", chosen, lambda to: done(scope, lambda: session.service().move(chosen, to)))


def by_person(view, shown, scope, key) -> None:
    """Sections that are whole where they fit on a page, so that "all" means what is seen."""
    rank = {}
    for one in shown:
        rank.setdefault(one.person, len(rank))
    size = Counter(one.person for one in shown)
    together = sorted(shown, key=lambda one: (rank[one.person], one.distance, one.face))
    pages = [[]]
    for person, some in groupby(together, key=lambda one: one.person):
        own = list(some)
        for start in range(0, len(own), widgets.PAGE):
            part = own[start : start + widgets.PAGE]
            if pages[-1] and sum(len(p) for _, p in pages[-1]) + len(part) > widgets.PAGE:
                pages.append([])
            pages[-1].append((person, part))
    number = st.pagination(len(pages), key=f"page-{key}") if len(pages) > 1 else 1
    for at, (person, part) in enumerate(pages[min(number, len(pages)) - 1]):
        section(view, at, person, part, size[person], scope)


def section(view, number, person, part, n, scope) -> None:
    card = view.card_of.get(person) if person else None
    likely = [one.face for one in part if one.cosine >= view.usual_cosine]
    with st.container(horizontal=True, key=f"fc-near-{number}", vertical_alignment="center"):
        if card:
            st.image(session.picture(card.cover), width=44, alt=f"Cover of {widgets.called(card.name)}")
        with st.container(gap=None, width="stretch", key=f"fc-who-{number}"):
            st.text(f"Nearest to {name_of(card)}" if card else "Nobody to compare with")
            some = f"{len(part):,} of {widgets.faces(n)}" if len(part) < n else widgets.faces(n)
            widgets.small(f"{some}, {len(likely) or 'none'} likely" if card else some, f"near-{number}")
        if card:
            with st.container(horizontal=True, width="content", vertical_alignment="center"):
                st.page_link("pages/person.py", label="See this person", query_params={"id": person}, width="content")
                assign(person, card, likely, part, n, scope)
    widgets.grid(len(part), lambda at: tile(part[at], scope, False), f"{scope}-{number}", "medium")


def assign(person, card, likely, part, n, scope) -> None:
    """What the section can do at once: the likely faces, and all that are seen."""
    service, everyone = session.service(), [one.face for one in part]
    to = widgets.whom(card.name)
    if 0 < len(likely) < len(part):
        st.button(
            f"Assign {len(likely):,} likely to {to}", key=f"likely-{person}-{part[0].face}",
            on_click=done, args=(scope, lambda: service.move(likely, person)),
            help=f"Those at cosine {session.view().usual_cosine:.2f} or more: so alike is a face in a person to its "
            "nearest in 19 of 20 cases.",
        )  # fmt: skip
    what = "Assign it" if n == 1 else f"Assign these {len(part):,}" if len(part) < n else f"Assign all {n:,}"
    st.button(
        f"{what} to {to}", key=f"assign-{person}-{part[0].face}", on_click=done,
        type="secondary" if len(likely) == len(part) else "tertiary",
        args=(scope, lambda: service.move(everyone, person)),
    )  # fmt: skip


def name_of(card) -> str:
    return card.name or f"an unnamed person of {widgets.faces(card.n_faces)}"


def tile(one, scope, says_who) -> None:
    card = session.view().card_of.get(one.person) if one.person else None
    name = name_of(card) if card else "nobody"
    likeness = widgets.alike(one.distance, one.cosine) if card else "nobody to compare with"
    who = f"{widgets.called(card.name)}\n" if says_who and card else ""
    widgets.face_tile(
        one.face, f"{scope}-{one.face}", f"Face nearest to {name}, {likeness}", scope=scope, item=one.face,
        on_open=photo.open_it, args=(one.face,),
        below=lambda: widgets.small(who + likeness.replace(" · ", "\n"), f"near-{one.face}"),
    )  # fmt: skip


def about_selected(view, chosen, near, scope) -> None:
    service, n = session.service(), len(chosen)
    people = {near[face] for face in chosen}
    if len(people) == 1 and None not in people:
        (person,) = people
        name = widgets.whom(view.card_of[person].name, "the nearest person")
        st.button(
            f"Assign {n:,} to {name}", key="noise-assign", type="primary", shortcut="A",
            on_click=done, args=(scope, lambda: service.move(chosen, person)),
        )  # fmt: skip
    st.button(f"Assign {n:,} to…", key="noise-move", shortcut="M", on_click=giving.ask, args=(scope,))
    st.button(
        f"New person from {n:,}", key="noise-new", shortcut="P", on_click=done,
        args=(scope, lambda: service.new_person(chosen)),
    )  # fmt: skip
    st.button(
        f"Ignore {n:,}", key="noise-ignore", shortcut="I", on_click=done,
        args=(scope, lambda: service.mark(chosen, "ignored")),
    )  # fmt: skip
    st.button(
        f"Not a face: {n:,}", key="noise-no-face", shortcut="X", on_click=done,
        args=(scope, lambda: service.mark(chosen, "not_a_face")),
    )  # fmt: skip


def set_aside(view) -> None:
    faces = view.set_aside
    if not faces:
        widgets.empty("Nothing set aside", "Faces that you ignore, or say are none, wait here and can be taken back.")
        return
    scope = "noise-aside"
    on_page = widgets.paged(len(faces), scope)
    widgets.grid(len(on_page), lambda at: aside_tile(*faces[on_page[at]], scope), scope, "medium")
    session.keep_selected(scope, dict(faces))
    widgets.action_bar(scope, "face", lambda chosen: take_back(chosen, scope))


def aside_tile(face, mark, scope) -> None:
    widgets.face_tile(
        face, f"{scope}-{face}", f"{MARKS[mark]}, {face}", scope=scope, item=face, on_open=photo.open_it, args=(face,),
        below=lambda: widgets.small(MARKS[mark], f"aside-{face}"),
    )  # fmt: skip


def take_back(chosen, scope) -> None:
    st.button(
        f"Take back {len(chosen):,}", key="noise-back", type="primary", on_click=done,
        args=(scope, lambda: session.service().mark(chosen, None)),
    )  # fmt: skip


def done(scope, do) -> None:
    giving.close()
    session.act(do)
    if session.is_done():
        session.clear_selection(scope)


main()
